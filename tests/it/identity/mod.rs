//! Signing up, in and out; sessions, tokens, passwords.

mod browsers;
mod keys;
mod me;
mod passwords;
mod refresh;
mod sessions;
mod sign_in;
mod sign_up;
mod trouble;

use std::time::{Duration, Instant};

use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl};
use guildhall::kernel::{
    crypto::{Aad, Sealed},
    id::UserId,
    secret::Secret,
    workspaces::PLATFORM,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{Answer, Caller, World, patience::until};

pub const PASSWORD: &str = "seven green lamps hum";
pub const OTHER: &str = "eight red lamps flicker";

/// A person with a proven address and a password.
pub struct Someone {
    pub email: String,
    pub user: UserId,
}

/// Whatever is asked later than a second from now is refused: what ends elsewhere is over here by then.
pub async fn is_over_within_a_second(caller: &Caller) {
    let begun = Instant::now();
    until("the session is over", async || {
        let asked = begun.elapsed();
        let answer = caller.get("/me").await;
        assert!(
            answer.status == 401 || asked < Duration::from_millis(1_050),
            "let in after {asked:?}"
        );
        answer.status == 401
    })
    .await;
    caller.get("/me").await.refused("session-revoked");
}

/// Somebody new with [`PASSWORD`].
pub async fn someone(world: &World) -> Someone {
    let email = world.email(&Uuid::new_v4().simple().to_string());
    let password = Some(Secret::new(PASSWORD.to_owned()));
    let found = world.deployment.identity.found(&email, "Somebody", password).await;
    Someone {
        user: found.expect("a new person"),
        email,
    }
}

/// A session.
pub struct Signed {
    pub caller: Caller,
    pub access: String,
    pub refresh: String,
    pub session: String,
}

impl Signed {
    pub fn of(world: &World, answer: &Answer) -> Signed {
        let access = answer.text_at("/access_token");
        Signed {
            caller: world.anonymous().bearer(&access),
            access,
            refresh: answer.text_at("/refresh_token"),
            session: answer.text_at("/session_id"),
        }
    }
}

/// Tries to sign in.
pub async fn try_login(world: &World, identifier: &str, password: &str) -> Answer {
    let body = json!({ "identifier": identifier, "password": password, "remember": true });
    world.anonymous().post("/auth/login", body).await
}

pub async fn login(world: &World, person: &Someone) -> Signed {
    let answer = try_login(world, &person.email, PASSWORD).await.ok();
    Signed::of(world, &answer)
}

/// Tries to go on.
pub async fn renew(world: &World, token: &str) -> Answer {
    world
        .anonymous()
        .post("/auth/refresh", json!({ "refresh_token": token }))
        .await
}

/// What was mailed to an address, oldest first: the template and its data.
pub fn mails(world: &World, to: &str) -> Vec<(String, Value)> {
    diesel::table! {
        guildhall.mails (id) {
            id -> Uuid,
            template -> Text,
            recipient -> Text,
            data_sealed -> Nullable<Binary>,
        }
    }
    let rows: Vec<(Uuid, String, Option<Sealed>)> = mails::table
        .filter(mails::recipient.eq(to))
        .order(mails::id)
        .select((mails::id, mails::template, mails::data_sealed))
        .load(&mut world.superuser())
        .expect("the mails");
    let open = |id: Uuid, sealed: Option<Sealed>| {
        let place = Aad::new(Some(PLATFORM.uuid()), "mails", "data_sealed", id);
        let data = sealed.map(|sealed| world.deployment.keyring.open(&place, &sealed).expect("it opens"));
        data.map_or(Value::Null, |data| serde_json::from_slice(data.expose()).expect("JSON"))
    };
    rows.into_iter()
        .map(|(id, template, sealed)| (template, open(id, sealed)))
        .collect()
}

/// The token of the last mail of this template.
pub fn mailed_token(world: &World, to: &str, template: &str) -> String {
    let all = mails(world, to);
    let last = all.iter().rev().find(|(name, _)| name == template);
    let link = last.expect("such a mail").1["link"]
        .as_str()
        .expect("a link")
        .to_owned();
    link.split_once('#').expect("a token in the fragment").1.to_owned()
}

/// How often something was noted for a person.
pub fn noted(world: &World, user: UserId, kind: &str) -> i64 {
    diesel::table! {
        guildhall.security_events (id) {
            id -> Uuid,
            user_id -> Uuid,
            kind -> Text,
        }
    }
    security_events::table
        .filter(security_events::user_id.eq(user.uuid()))
        .filter(security_events::kind.eq(kind))
        .count()
        .get_result(&mut world.superuser())
        .expect("a count")
}

/// Runs so many futures at once, on the test's own thread.
pub async fn together<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    futures_util::future::join_all(futures).await
}

/// A body without what differs in every answer.
pub fn plain(answer: &Answer) -> Value {
    let mut body = answer.body.clone();
    if let Some(members) = body.as_object_mut() {
        members.remove("request_id");
        members.remove("client_token");
        members.remove("expires_at");
    }
    body
}
