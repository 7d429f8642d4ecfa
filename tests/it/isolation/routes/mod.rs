//! L2: every operation of the document, everybody who calls, every position that an id can stand in. A route that arrives is covered the
//! day it is mounted; a new kind of id fails until `things` knows how to make one.

pub mod foreign;
mod holes;
pub mod operations;
pub mod principals;
pub mod things;

use std::collections::BTreeSet;

use serde_json::json;

use crate::{
    rules::{none, sources},
    world::{Answer, Caller, World},
};
use operations::{Operation, nobodys};
use principals::Insider;

/// What the suite says when it falls into a hole.
const FOUND: &str = "what may not be";

/// Asks an operation about a thing that nobody has. Whether somebody may ask is judged before that.
async fn ask(caller: &Caller, operation: &Operation) -> Answer {
    let id = nobodys(operation.subject().unwrap_or("agt"));
    let body = operation.body.as_ref().map(|_| json!({}));
    caller
        .ask(operation.method.clone(), &operation.address(&id), body)
        .await
}

fn code(answer: &Answer) -> &str {
    answer.body["code"].as_str().unwrap_or_default()
}

/// What is wrong with how an operation answered somebody who is let in.
fn misjudged(insider: &Insider, operation: &Operation, answer: &Answer) -> Option<String> {
    let permission = operation.permission.as_deref()?;
    let lacking = answer.status == 403
        && ["forbidden", "scope-missing"].contains(&code(answer))
        && answer.body["required_permission"] == permission;
    let right = match (insider.may)(permission) {
        true if operation.software_only => code(answer) == "license-unknown",
        true => !lacking && answer.status != 401 && !answer.status.is_server_error(),
        false => lacking && code(answer) == insider.refusal,
    };
    (!right).then(|| {
        let may = if (insider.may)(permission) { "may" } else { "may not" };
        format!(
            "{} {may} {} ({permission}): {} {}",
            insider.name, operation.id, answer.status, answer.text
        )
    })
}

#[actix_web::test]
async fn everybody_may_do_what_the_document_says_and_nothing_else() {
    let world = World::new().await;
    let mut broken = Vec::new();
    let scoped: Vec<Operation> = operations::all()
        .into_iter()
        .filter(|one| one.permission.is_some())
        .collect();
    for insider in principals::members(&world) {
        for operation in &scoped {
            let answer = ask(&insider.caller, operation).await;
            broken.extend(misjudged(&insider, operation, &answer));
        }
    }
    let permissions: BTreeSet<&str> = scoped.iter().filter_map(|one| one.permission.as_deref()).collect();
    for permission in permissions {
        let keys = principals::keys(&world, permission);
        let concerned = scoped
            .iter()
            .filter(|one| one.permission.as_deref() == Some(permission));
        for operation in concerned {
            for key in &keys {
                let answer = ask(&key.caller, operation).await;
                broken.extend(misjudged(key, operation, &answer));
            }
        }
    }
    none(FOUND, broken);
}

#[actix_web::test]
async fn nobody_is_let_in_who_has_no_business_here() {
    let world = World::new().await;
    let (owner, outsiders) = (world.owner(), principals::outsiders(&world).await);
    let mut broken = Vec::new();
    for operation in operations::all().iter().filter(|one| one.permission.is_some()) {
        for outsider in &outsiders {
            let answer = ask(&outsider.caller, operation).await;
            if answer.status.as_u16() != outsider.status || code(&answer) != outsider.code {
                broken.push(format!(
                    "{} at {}: {} {}",
                    outsider.name, operation.id, answer.status, answer.text
                ));
            }
        }
        let control = ask(&owner, operation).await;
        if (control.status == 401 && !operation.software_only) || code(&control) == "workspace-mismatch" {
            broken.push(format!("the owner is not let in at {}: {}", operation.id, control.text));
        }
    }
    // What is about a person and no workspace takes a credential all the same.
    let of_people = |one: &&Operation| one.permission.is_none() && !one.public;
    for operation in operations::all().iter().filter(of_people) {
        for outsider in outsiders
            .iter()
            .filter(|one| one.status == 401 && one.name != "ex-member")
        {
            let answer = ask(&outsider.caller, operation).await;
            if code(&answer) != outsider.code {
                broken.push(format!(
                    "{} at {}: {} {}",
                    outsider.name, operation.id, answer.status, answer.text
                ));
            }
        }
    }
    none(FOUND, broken);
}

/// Handlers that are in no document: pages for people, and what only a development stack has.
const PLAIN: &str = include_str!("../../registry/plain_routes.txt");

#[test]
fn every_handler_is_an_operation_or_a_plain_route() {
    let known: BTreeSet<String> = operations::all()
        .iter()
        .map(|one| format!("{} {}", one.method, one.path))
        .collect();
    let mut plain: BTreeSet<&str> = PLAIN
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let mut broken = Vec::new();
    for (file, text) in sources("src") {
        for line in text.lines().map(str::trim) {
            let attribute = ["get", "post", "put", "patch", "delete"]
                .iter()
                .find_map(|method| Some((method, line.strip_prefix(&format!("#[{method}(\""))?)));
            let Some((method, rest)) = attribute else { continue };
            let path = rest.split('"').next().unwrap_or_default();
            let method = method.to_uppercase();
            let mounted = [format!("{method} {path}"), format!("{method} /api/v1{path}")];
            if !mounted.iter().any(|one| known.contains(one)) && !plain.remove(mounted[0].as_str()) {
                broken.push(format!("{file}: {method} {path}"));
            }
        }
    }
    none(
        "handlers that neither the document nor registry/plain_routes.txt knows",
        broken,
    );
    none(
        "lines of registry/plain_routes.txt whose handler is gone",
        plain.into_iter().map(str::to_owned).collect(),
    );
}
