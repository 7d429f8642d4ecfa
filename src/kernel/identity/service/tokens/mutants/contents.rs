//! What a token says, and what it should not.

use serde_json::json;

use super::*;

/// Every claim missing, null, of every other type, and twice.
pub(super) fn wrong_claims(signer: &Signer) -> Vec<Case> {
    let (head, claims) = (text(&head(signer)), claims());
    let mut cases = Vec::new();
    let others = [
        json!(null),
        json!("1795000000"),
        json!(1.5),
        json!(-1),
        json!(true),
        json!([]),
        json!({}),
        json!([1]),
    ];
    for (name, value) in &claims {
        let twin = || signed(&head, &text(&with(&claims, name, value.clone())), signer);
        let mut mutate = |what: String, mutant: &str| cases.push(case(what, signed(&head, mutant, signer), twin()));
        mutate(format!("{name} missing"), &text(&without(&claims, name)));
        mutate(format!("{name} twice"), &twice(&claims, name));
        let same_kind = |other: &Value| match value {
            Value::String(_) => other.is_string() && matches!(name.as_str(), "jti" | "scope" | "client_id"),
            Value::Number(_) => other.is_i64() && matches!(name.as_str(), "auth_time"),
            _ => false,
        };
        for other in others.iter().filter(|other| !same_kind(other)) {
            mutate(format!("{name} = {other}"), &text(&with(&claims, name, other.clone())));
        }
    }
    cases
}

/// Instants just too far off, and just near enough.
pub(super) fn wrong_times(signer: &Signer) -> Vec<Case> {
    let head = text(&head(signer));
    let token = |edits: &[(&str, i64)]| {
        let claims = edits
            .iter()
            .fold(claims(), |claims, (name, value)| with(&claims, name, json!(value)));
        signed(&head, &text(&claims), signer)
    };
    let old = |exp| {
        token(&[
            ("iat", NOW - 900),
            ("nbf", NOW - 900),
            ("auth_time", NOW - 900),
            ("exp", exp),
        ])
    };
    vec![
        case("expired", old(NOW - 30), old(NOW - 29)),
        case(
            "issued in the future",
            token(&[("iat", NOW + 31), ("nbf", NOW + 31)]),
            token(&[("iat", NOW + 30), ("nbf", NOW + 30)]),
        ),
        case(
            "not yet valid",
            token(&[("nbf", NOW + 31)]),
            token(&[("nbf", NOW + 30)]),
        ),
        case(
            "valid before it was issued",
            token(&[("nbf", NOW - 31)]),
            token(&[("nbf", NOW - 30)]),
        ),
        case(
            "over before it began",
            token(&[("exp", NOW)]),
            token(&[("exp", NOW + 1)]),
        ),
        case(
            "lives too long",
            token(&[("exp", NOW + LONGEST + 1)]),
            token(&[("exp", NOW + LONGEST)]),
        ),
        case(
            "the largest number",
            token(&[("exp", i64::MAX)]),
            token(&[("exp", NOW + 60)]),
        ),
        case(
            "before all time",
            token(&[("iat", i64::MIN), ("nbf", i64::MIN)]),
            token(&[("iat", NOW - 1), ("nbf", NOW - 1)]),
        ),
        case(
            "proved in the future",
            token(&[("auth_time", NOW + 31)]),
            token(&[("auth_time", NOW + 30)]),
        ),
        case(
            "milliseconds",
            token(&[("exp", (NOW + 600) * 1_000)]),
            token(&[("exp", NOW + 600)]),
        ),
    ]
}

/// Values of the right type that are not ours.
pub(super) fn wrong_values(signer: &Signer) -> Vec<Case> {
    let (head, claims) = (text(&head(signer)), claims());
    let twin = || signed(&head, &text(&claims), signer);
    [
        ("iss", json!("https://api.example.com/")),
        ("iss", json!("http://api.example.com")),
        ("iss", json!("https://api.example.com.evil.io")),
        ("iss", json!("")),
        ("iss", json!(["https://api.example.com"])),
        ("aud", json!("https://api.example.com")),
        ("aud", json!("*")),
        ("aud", json!(["https://api.example.com/api/v1"])),
        ("aud", json!(["https://api.example.com/api/v1", "https://evil.io"])),
        ("sub", json!("usr_")),
        ("sub", claims["sid"].clone()),
        ("sid", claims["sub"].clone()),
        ("sid", json!("ses_01jd8qv4x2fkr9s3m5n7p0t1w")),
        ("jti", json!("")),
        ("client_id", json!("")),
        ("aal", json!(0)),
        ("aal", json!(4)),
        ("aal", json!(256)),
        ("amr", json!([])),
        ("amr", json!(["pwd", 1])),
        ("gen", json!(4_294_967_296_i64)),
        ("act", json!("usr_01jd8qv4x2fkr9s3m5n7p0t1wz")),
        ("act", json!({ "sub": claims["sub"], "act": {} })),
        ("act", json!({})),
    ]
    .into_iter()
    .map(|(name, value)| {
        let what = format!("{name} = {value}");
        case(what, signed(&head, &text(&with(&claims, name, value)), signer), twin())
    })
    .collect()
}

/// Heads that say something else than the key's record does.
pub(super) fn wrong_heads(world: &World, signer: &Signer) -> Vec<Case> {
    let (head, claims) = (head(signer), text(&claims()));
    let twin = || signed(&text(&head), &claims, signer);
    let mut cases: Vec<Case> = [
        ("typ", json!("JWT")),
        ("typ", json!("jwt")),
        ("typ", json!("at+jwt ")),
        ("typ", json!("id+jwt")),
        ("typ", json!("logout+jwt")),
        ("typ", json!(null)),
        ("typ", json!(["at+jwt"])),
        ("alg", json!("none")),
        ("alg", json!("None")),
        ("alg", json!("NONE")),
        ("alg", json!("")),
        ("alg", json!(null)),
        ("alg", json!("HS256")),
        ("alg", json!("RS384")),
        ("alg", json!("RS512")),
        ("alg", json!("PS256")),
        ("alg", json!("ES256")),
        ("alg", json!("rs256")),
        ("alg", json!("eddsa")),
        ("alg", json!("RSA-OAEP")),
        ("kid", json!("")),
        ("kid", json!(null)),
        ("kid", json!(1)),
        ("kid", json!([signer.kid()])),
        ("kid", json!("../../../../dev/null")),
        ("kid", json!("/proc/self/environ")),
        ("kid", json!("x' UNION SELECT 'key")),
        ("kid", json!("'; DROP TABLE signing_keys; --")),
        ("kid", json!("https://evil.io/jwks.json")),
        ("kid", json!("$(id)")),
        ("kid", json!(format!("{} ", signer.kid()))),
        ("kid", json!(format!("{}\u{0}", signer.kid()))),
        ("kid", json!(signer.kid().to_lowercase())),
        ("kid", json!(world.foreign.kid())),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
    ]
    .into_iter()
    .map(|(name, value)| {
        let what = format!("head: {name} = {value}");
        case(what, signed(&text(&with(&head, name, value)), &claims, signer), twin())
    })
    .collect();
    for name in ["typ", "alg", "kid"] {
        cases.push(case(
            format!("head: {name} missing"),
            signed(&text(&without(&head, name)), &claims, signer),
            twin(),
        ));
        cases.push(case(
            format!("head: {name} twice"),
            signed(&twice(&head, name), &claims, signer),
            twin(),
        ));
    }
    // A token that brings its own key is signed with it; the twin brings one too, and nobody looks at it.
    let own = serde_json::to_value(world.foreign.jwk()).unwrap();
    for (name, value) in [
        ("jwk", own),
        ("jku", json!("https://evil.io/jwks.json")),
        ("x5u", json!("https://evil.io/cert.pem")),
        ("x5t", json!("abc")),
    ] {
        let bringing = text(&with(&head, name, value));
        cases.push(case(
            format!("head: {name}"),
            signed(&bringing, &claims, &world.foreign),
            signed(&bringing, &claims, signer),
        ));
    }
    cases
}
