//! Tokens that must not be believed, each beside a twin that must: the same token without what is wrong with it.

mod contents;
mod forms;

use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value, json};

use super::*;
use crate::kernel::{
    clock::Clock,
    crypto::{self, Keyring},
    id::{SessionId, UserId},
    identity::model::Use,
};

const NOW: i64 = 1_795_000_000;

/// Our own keys, one of each algorithm, and somebody else's.
struct World {
    rsa: Arc<Signer>,
    ed: Arc<Signer>,
    foreign: Arc<Signer>,
    issuer: Issuer,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let keys = Keyring::random();
    let make = |purpose| Arc::new(Signer::generate(None, purpose, &keys, Clock::system().now()).unwrap().0);
    World {
        rsa: make(Use::Access),
        ed: make(Use::Audit),
        foreign: make(Use::Access),
        issuer: Issuer::at("https://api.example.com/"),
    }
});

impl World {
    fn judge(&self, token: &str) -> Result<Claims> {
        let unproven = read(token)?;
        let known = [&self.rsa, &self.ed]
            .into_iter()
            .find(|signer| signer.kid() == unproven.kid());
        let verifier = Verifier::of(known.ok_or(TOKEN_INVALID)?.jwk()).unwrap();
        unproven.prove(&verifier, &self.issuer, NOW)
    }
}

fn claims() -> Map<String, Value> {
    let now = Clock::system().now();
    let claims = Claims {
        iss: "https://api.example.com".into(),
        aud: "https://api.example.com/api/v1".into(),
        sub: UserId::new(now),
        exp: NOW + 600,
        iat: NOW,
        nbf: NOW,
        jti: "01".into(),
        sid: SessionId::new(now),
        generation: 0,
        amr: vec!["pwd".into()],
        aal: 1,
        auth_time: NOW,
        client_id: "guildhall".into(),
        scope: String::new(),
        act: None,
    };
    match serde_json::to_value(claims).unwrap() {
        Value::Object(members) => members,
        _ => unreachable!("a struct is an object"),
    }
}

fn head(signer: &Signer) -> Map<String, Value> {
    Map::from_iter([
        ("typ".to_owned(), json!("at+jwt")),
        ("alg".to_owned(), json!(signer.algorithm())),
        ("kid".to_owned(), json!(signer.kid())),
    ])
}

fn text(members: &Map<String, Value>) -> String {
    Value::Object(members.clone()).to_string()
}

/// Signs whatever stands there.
fn signed(head: &str, claims: &str, signer: &Signer) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(signer.sign(message.as_bytes()).unwrap());
    format!("{message}.{signature}")
}

/// A mutant, its twin, and what the mutant is.
struct Case {
    name: String,
    mutant: String,
    twin: String,
}

fn case(name: impl Into<String>, mutant: String, twin: String) -> Case {
    Case {
        name: name.into(),
        mutant,
        twin,
    }
}

fn with(members: &Map<String, Value>, name: &str, value: Value) -> Map<String, Value> {
    let mut members = members.clone();
    members.insert(name.to_owned(), value);
    members
}

fn without(members: &Map<String, Value>, name: &str) -> Map<String, Value> {
    let mut members = members.clone();
    members.remove(name);
    members
}

/// The members with one of them standing there a second time.
fn twice(members: &Map<String, Value>, name: &str) -> String {
    let text = text(members);
    format!("{},{}:{}}}", &text[..text.len() - 1], json!(name), members[name])
}

#[test]
fn no_mutant_is_believed_and_every_twin_is() {
    let world = &*WORLD;
    let mut seen = 0;
    for signer in [&world.rsa, &world.ed] {
        let cases = [
            contents::wrong_claims(signer),
            contents::wrong_times(signer),
            contents::wrong_values(signer),
            contents::wrong_heads(world, signer),
            forms::wrong_signatures(world, signer),
            forms::wrong_shapes(signer),
        ];
        for case in cases.into_iter().flatten() {
            let name = format!("{} ({})", case.name, signer.algorithm());
            assert!(world.judge(&case.twin).is_ok(), "the twin of: {name}");
            let error = world
                .judge(&case.mutant)
                .err()
                .unwrap_or_else(|| panic!("believed: {name}"));
            let expected = if case.name == "expired" {
                TOKEN_EXPIRED
            } else {
                TOKEN_INVALID
            };
            assert!(error.is(expected), "{name}: {error}");
            seen += 1;
        }
    }
    assert!(seen >= 250, "{seen} mutants");
}

#[test]
fn what_we_write_we_read() {
    let world = &*WORLD;
    let claims: Claims = serde_json::from_value(claims().into()).unwrap();
    for signer in [&world.rsa, &world.ed] {
        assert_eq!(world.judge(&write(&claims, signer).unwrap()).unwrap(), claims);
    }
}
