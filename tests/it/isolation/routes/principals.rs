//! Who calls: a line of `registry/principals.toml` each. One that waits for a slice is switched on when the slice's routes are there.

use std::collections::{BTreeMap, BTreeSet};

use guildhall::kernel::{
    access::SystemRole,
    config::KeyMode,
    id::{RoleId, UserId, WorkspaceId},
    secret::{Token, TokenKind},
    workspaces::PLATFORM,
};
use serde::Deserialize;

use super::operations;
use crate::{
    identity::{Someone, login, someone},
    rules::none,
    world::{Caller, World},
};

#[derive(Deserialize)]
struct Registry {
    on: BTreeMap<String, String>,
    waiting: BTreeMap<String, Waiting>,
}

/// A principal whose slice is not there yet.
#[derive(Deserialize)]
struct Waiting {
    slice: String,
    /// How the paths of its routes begin.
    routes: Vec<String>,
}

fn registry() -> Registry {
    toml::from_str(include_str!("../../registry/principals.toml")).expect("a registry that can be read")
}

/// Somebody who is let into the home workspace, and what they may do there.
pub struct Insider {
    pub name: String,
    pub caller: Caller,
    pub may: Box<dyn Fn(&str) -> bool>,
    /// What they read who may not: a key says that it was given less than its owner.
    pub refusal: &'static str,
}

/// Somebody who is not let in, and how the front door tells them.
pub struct Outsider {
    pub name: &'static str,
    pub caller: Caller,
    pub status: u16,
    pub code: &'static str,
}

/// The six system roles, and a custom role that holds nothing.
pub fn members(world: &World) -> Vec<Insider> {
    let insider = |role: &str, caller, may| Insider {
        name: role.to_owned(),
        caller,
        may,
        refusal: "forbidden",
    };
    let mut members: Vec<Insider> = SystemRole::ALL
        .into_iter()
        .map(|role| {
            let granted = role.permissions(false);
            let may = move |wanted: &str| granted.iter().any(|permission| permission.name() == wanted);
            let caller = match role {
                SystemRole::Reseller => reseller(world),
                _ => world.member(role.key()),
            };
            insider(role.key(), caller, Box::new(may))
        })
        .collect();
    members.push(insider("custom role", custom(world), Box::new(|_| false)));
    members
}

fn reseller(world: &World) -> Caller {
    let (workspace, user, reseller) = (world.home().uuid(), world.person(), uuid::Uuid::now_v7());
    world.admin(&format!(
        "INSERT INTO guildhall.resellers (workspace_id, id, code, name) \
         VALUES ('{workspace}', '{reseller}', 'r{}', 'Reseller'); \
         INSERT INTO guildhall.memberships (workspace_id, id, user_id, display_name, role, reseller_id) \
         VALUES ('{workspace}', gen_random_uuid(), '{}', 'Somebody', 'reseller', '{reseller}')",
        reseller.simple(),
        user.uuid(),
    ));
    world.caller_with_key(world.home(), user, None)
}

/// The routes of custom roles are not there yet: the row is put in by hand.
fn custom(world: &World) -> Caller {
    let (workspace, user, role) = (
        world.home().uuid(),
        world.person(),
        RoleId::new(world.clock.now()).uuid(),
    );
    world.admin(&format!(
        "INSERT INTO guildhall.roles (workspace_id, id, key, name, permissions, created_by_type, created_by_id) \
         VALUES ('{workspace}', '{role}', 'r{}', 'Nothing', '{{}}', 'system', NULL); \
         INSERT INTO guildhall.memberships (workspace_id, id, user_id, display_name, role, custom_role_id) \
         VALUES ('{workspace}', gen_random_uuid(), '{}', 'Somebody', 'custom', '{role}')",
        role.simple(),
        user.uuid(),
    ));
    world.caller_with_key(world.home(), user, None)
}

/// An owner's keys: one with this permission alone, one with every other.
pub fn keys(world: &World, permission: &str) -> [Insider; 2] {
    let owner = world.person();
    world.join(world.home(), owner, "owner");
    let wanted = permission.to_owned();
    let others: Vec<&str> = SystemRole::Owner
        .permissions(false)
        .iter()
        .map(|one| one.name())
        .filter(|one| *one != permission)
        .collect();
    let insider = |name: &str, permissions: &[&str], may: Box<dyn Fn(&str) -> bool>| Insider {
        name: format!("{name} {permission}"),
        caller: world.caller_with_key(world.home(), owner, Some(permissions)),
        may,
        refusal: "scope-missing",
    };
    let twin = wanted.clone();
    [
        insider("a key with only", &[permission], Box::new(move |asked| asked == wanted)),
        insider("a key without", &others, Box::new(move |asked| asked != twin)),
    ]
}

/// A member of that workspace by a session that was just begun.
pub async fn signed_in(world: &World, workspace: WorkspaceId, role: &str) -> (Caller, Someone) {
    let person = someone(world).await;
    world.join(workspace, person.user, role);
    let session = login(world, &person).await;
    (session.caller, person)
}

fn key_of(world: &World, user: UserId, change: &str) -> Caller {
    let caller = world.caller_with_key(world.home(), user, None);
    let hash = hex::encode(Token::parse(caller.credential()).expect("a token").digest());
    world.admin(&format!(
        "UPDATE guildhall.api_keys SET {change} WHERE hash = '\\x{hash}'"
    ));
    caller
}

/// Everybody who is turned away from the home workspace, whatever they ask there.
pub async fn outsiders(world: &World) -> Vec<Outsider> {
    let home = world.home().to_string();
    let named = |caller: &Caller| caller.with("guildhall-workspace", &home);
    let owner = world.person();
    world.join(world.home(), owner, "owner");
    let left = world.person();
    let gone = world.join(world.home(), left, "owner");
    let former = world.caller_with_key(world.home(), left, None);
    world.admin(&format!(
        "UPDATE guildhall.memberships SET state = 'removed' WHERE id = '{}'",
        gone.uuid()
    ));
    let revoked = key_of(world, owner, "revoked_at = now(), revoke_reason = 'deleted'");
    let expired = key_of(world, owner, "expires_at = now() - interval '1 day'");
    let made_up = Token::mint(TokenKind::PersonalKey, KeyMode::Test).expose().to_owned();
    let (foreign, _) = signed_in(world, world.elsewhere(), "owner").await;
    let (staff, _) = signed_in(world, PLATFORM, "owner").await;
    let outsider = |name, caller, status, code| Outsider {
        name,
        caller,
        status,
        code,
    };
    vec![
        outsider("anonymous", world.anonymous(), 401, "unauthenticated"),
        outsider(
            "made-up key",
            world.anonymous().bearer(&made_up),
            401,
            "invalid-api-key",
        ),
        outsider("expired key", expired, 401, "api-key-expired"),
        outsider("revoked key", revoked, 401, "api-key-revoked"),
        outsider("ex-member", former, 401, "api-key-revoked"),
        outsider("stranger naming the workspace", named(&foreign), 404, "not-found"),
        outsider(
            "stranger's key naming the workspace",
            named(&world.stranger()),
            400,
            "workspace-mismatch",
        ),
        outsider("platform administrator", named(&staff), 404, "not-found"),
    ]
}

#[test]
fn a_principal_that_waits_is_switched_on_when_its_slice_arrives() {
    let mut broken = Vec::new();
    for (name, waiting) in registry().waiting {
        assert!(!waiting.routes.is_empty(), "{name} waits for nothing");
        for operation in operations::all() {
            if waiting.routes.iter().any(|start| operation.path.starts_with(start)) {
                broken.push(format!(
                    "{name}: {} {} of slice {} is here; bring the principal to life",
                    operation.method, operation.path, waiting.slice
                ));
            }
        }
    }
    none("principals that need not wait any more", broken);
}

#[actix_web::test]
async fn the_registry_knows_everybody_who_calls() {
    let world = World::new().await;
    let mut known: BTreeSet<String> = members(&world).into_iter().map(|member| member.name).collect();
    known.extend(
        outsiders(&world)
            .await
            .into_iter()
            .map(|outsider| outsider.name.to_owned()),
    );
    known.extend(["key of one permission", "key of all others", "stranger"].map(str::to_owned));
    let listed: BTreeSet<String> = registry().on.into_keys().collect();
    assert_eq!(known, listed);
}
