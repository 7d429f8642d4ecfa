//! Access tokens and the keys that sign them.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use guildhall::{
    app::boot::Deployment,
    kernel::{
        access::Call,
        crypto,
        identity::{Keys, Use},
    },
};
use serde_json::{Value, json};

use super::{login, renew, someone, together};
use crate::{
    degraded::serving,
    world::{World, patience::within},
};

fn part(token: &str, place: usize) -> Value {
    let part = token.split('.').nth(place).expect("a part");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

#[actix_web::test]
async fn an_access_token_says_who_and_not_what_they_may() {
    let world = World::new().await;
    let person = someone(&world).await;
    world.join(world.home(), person.user, "owner");
    let session = login(&world, &person).await;
    let (head, claims) = (part(&session.access, 0), part(&session.access, 1));
    assert_eq!((&head["typ"], &head["alg"]), (&json!("at+jwt"), &json!("RS256")));
    let names: Vec<&String> = claims.as_object().expect("claims").keys().collect();
    let expected = [
        "aal",
        "amr",
        "aud",
        "auth_time",
        "client_id",
        "exp",
        "gen",
        "iat",
        "iss",
        "jti",
        "nbf",
        "scope",
        "sid",
        "sub",
    ];
    assert_eq!(names, expected);
    assert_eq!(claims["sub"], json!(person.user.to_string()));
    assert_eq!(
        claims["exp"]
            .as_i64()
            .zip(claims["iat"].as_i64())
            .map(|(exp, iat)| exp - iat),
        Some(600)
    );

    let jwks = world.anonymous().get("/.well-known/jwks.json").await.ok();
    assert_eq!(jwks.header("cache-control"), "public, max-age=600");
    let published = jwks.body["keys"].as_array().expect("keys");
    assert!(published.iter().any(|key| key["kid"] == head["kid"]), "{}", jwks.text);
    assert!(!jwks.text.contains("\"d\""), "public halves only");

    world.clock.advance(chrono::Duration::seconds(620));
    session.caller.get("/me").await.ok();
    world.clock.advance(chrono::Duration::seconds(10));
    let expired = session.caller.get("/me").await.refused("token-expired");
    assert_eq!(expired.status, 401);
}

#[actix_web::test]
async fn the_scheme_is_read_without_regard_to_case_and_nonsense_is_refused() {
    let world = World::new().await;
    let session = login(&world, &someone(&world).await).await;
    let with = |value: String| world.anonymous().with("authorization", &value);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        with(format!("{scheme} {}", session.access)).get("/me").await.ok();
    }
    for value in [
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer a.b.c",
        "Basic YTpi",
        "Token abc",
        "eyJ0eXAi",
    ] {
        with(value.to_owned()).get("/me").await.refused("token-invalid");
    }
    let (message, _) = session.access.rsplit_once('.').expect("three parts");
    with(format!("Bearer {message}."))
        .get("/me")
        .await
        .refused("token-invalid");
}

#[actix_web::test]
async fn a_rotation_refuses_nobody() {
    let world = World::new().await;
    let session = login(&world, &someone(&world).await).await;
    let before = part(&session.access, 0)["kid"].clone();
    let keys = &world.deployment.keys;
    let too_soon = keys.rotate(Use::Access).await.expect_err("nobody knows the spare yet");
    assert!(too_soon.is(guildhall::kernel::error::STATE_CONFLICT));
    let _published = keys.rotate(Use::Access).await;
    world.clock.advance(chrono::Duration::minutes(9));
    let session = super::Signed::of(&world, &renew(&world, &session.refresh).await.ok());
    world.clock.advance(chrono::Duration::minutes(6));
    let rotating = async { keys.rotate(Use::Access).await.expect("a rotation") };
    let asking = together((0..4).map(|_| async {
        for _ in 0..25 {
            session.caller.get("/me").await.ok();
        }
    }));
    let renewing = async {
        let renewed = renew(&world, &session.refresh).await.ok().text_at("/access_token");
        world.anonymous().bearer(&renewed).get("/me").await.ok();
        renewed
    };
    let ((), _, renewed) = futures_util::join!(rotating, asking, renewing);
    session.caller.get("/me").await.ok();
    world.anonymous().bearer(&renewed).get("/me").await.ok();
    let next = renew(&world, &session.refresh).await.ok().text_at("/access_token");
    assert_ne!(part(&next, 0)["kid"], before);
    world.anonymous().bearer(&next).get("/me").await.ok();
    let jwks = world.anonymous().get("/.well-known/jwks.json").await.ok();
    let kids: Vec<&Value> = jwks.body["keys"]
        .as_array()
        .expect("keys")
        .iter()
        .map(|key| &key["kid"])
        .collect();
    assert!(kids.contains(&&before), "what it signed is still shown");
}

#[actix_web::test]
async fn a_withdrawn_key_takes_its_tokens_with_it_and_the_spare_signs() {
    let world = World::new().await;
    let session = login(&world, &someone(&world).await).await;
    session.caller.get("/me").await.ok();
    let kid = part(&session.access, 0)["kid"].as_str().expect("a kid").to_owned();
    world.deployment.keys.revoke(kid.clone()).await.expect("withdrawn");
    session.caller.get("/me").await.refused("token-invalid");
    let jwks = world.anonymous().get("/.well-known/jwks.json").await.ok();
    assert!(!jwks.text.contains(&kid));
    // Sessions live on: only what the key signed is gone.
    let next = renew(&world, &session.refresh).await.ok().text_at("/access_token");
    world.anonymous().bearer(&next).get("/me").await.ok();
}

#[actix_web::test]
async fn another_process_learns_at_once_of_a_key_that_was_withdrawn() {
    let world = World::new().await;
    let session = login(&world, &someone(&world).await).await;
    session.caller.get("/me").await.ok();
    let kid = part(&session.access, 0)["kid"].as_str().expect("a kid").to_owned();
    let deployment = &world.deployment;
    let operator = Keys::new(deployment.db.clone(), deployment.keyring.clone(), 600);
    operator.revoke(kid.clone()).await.expect("withdrawn");
    within(
        Duration::from_secs(20),
        "the server refuses what it signed",
        async || session.caller.get("/me").await.body["code"] == "token-invalid",
    )
    .await;
    let next = renew(&world, &session.refresh).await.ok().text_at("/access_token");
    assert_ne!(part(&next, 0)["kid"], kid, "and signs with it no more");
}

#[actix_web::test]
async fn a_key_that_a_process_does_not_know_is_looked_for_once_in_ten_seconds() {
    let world = World::new().await;
    let session = login(&world, &someone(&world).await).await;
    let deployment = Deployment::new(world.deployment.config.clone(), world.clock.clone()).expect("sound");
    deployment.readiness.booted();
    // It has read no key yet, and nothing in it reads them now and then.
    let there = serving(Arc::new(deployment));
    there.bearer(&session.access).get("/me").await.ok();
    let mut parts: Vec<String> = session.access.split('.').map(str::to_owned).collect();
    let mut head = part(&session.access, 0);
    head["kid"] = json!("nobody");
    parts[0] = URL_SAFE_NO_PAD.encode(head.to_string());
    let stranger = there.bearer(&parts.join("."));
    let _unreadable = world.meanwhile(
        "REVOKE SELECT ON guildhall.signing_keys FROM app_kernel",
        "GRANT SELECT ON guildhall.signing_keys TO app_kernel",
    );
    for _ in 0..3 {
        stranger.get("/me").await.refused("token-invalid");
    }
    let deployment = Deployment::new(world.deployment.config.clone(), world.clock.clone()).expect("sound");
    deployment.readiness.booted();
    let blind = serving(Arc::new(deployment));
    let answer = blind.bearer(&session.access).get("/me").await;
    assert_eq!(answer.status.as_u16(), 500, "where it is looked for, it cannot be read");
}

#[actix_web::test]
async fn the_first_keys_are_made_once_however_many_begin_together() {
    let world = World::new().await;
    world.admin("DELETE FROM guildhall.signing_keys");
    let deployment = &world.deployment;
    let processes: Vec<Keys> = (0..4)
        .map(|_| Keys::new(deployment.db.clone(), deployment.keyring.clone(), 600))
        .collect();
    for booted in together(processes.iter().map(Keys::ready)).await {
        booted.expect("it boots");
    }
    let active = world.count("SELECT count(*) FROM guildhall.signing_keys WHERE state = 'active' AND use = 'access'");
    assert_eq!(active, 1);
}

#[actix_web::test]
async fn a_workspace_signs_with_a_key_of_its_own() {
    let world = World::new().await;
    let call = Arc::new(Call::internal("test", "test".into()));
    let keys = &world.deployment.keys;
    let (home, elsewhere) = (world.home(), world.elsewhere());
    let signers = together((0..6).map(|_| keys.signer(&call, home, Use::License))).await;
    let signers: Vec<_> = signers.into_iter().map(|signer| signer.expect("a key")).collect();
    assert!(
        signers.iter().all(|signer| signer.kid() == signers[0].kid()),
        "made once"
    );
    let other = keys.signer(&call, elsewhere, Use::License).await.expect("a key");
    assert_ne!(other.kid(), signers[0].kid());

    let jwks = keys.jwks_of(&call, home, Use::License).await.expect("its keys");
    assert_eq!(jwks.keys.len(), 1);
    let public = URL_SAFE_NO_PAD
        .decode(jwks.keys[0].x.as_ref().expect("an Ed25519 key"))
        .expect("base64url");
    let public: [u8; 32] = public.try_into().expect("32 bytes");
    let signature = signers[3].sign(b"a licence").expect("signed");
    assert!(crypto::verify(&public, b"a licence", &signature));
    assert!(
        !world
            .anonymous()
            .get("/.well-known/jwks.json")
            .await
            .ok()
            .text
            .contains(signers[0].kid()),
        "it signs no access tokens"
    );
}

#[actix_web::test]
async fn who_knows_the_issuer_finds_the_keys() {
    let world = World::new().await;
    let session = login(&world, &someone(&world).await).await;
    let issuer = part(&session.access, 1)["iss"].as_str().expect("an issuer").to_owned();
    for name in ["openid-configuration", "oauth-authorization-server"] {
        let found = world.anonymous().get(&format!("/.well-known/{name}")).await.ok();
        assert_eq!(found.body["issuer"], issuer);
        let keys = found.text_at("/jwks_uri").replace(&issuer, "");
        let listed = world.anonymous().get(&keys).await.ok();
        assert_eq!(
            found.body["id_token_signing_alg_values_supported"]
                .as_array()
                .map(|all| all.contains(&listed.body["keys"][0]["alg"])),
            Some(true)
        );
        assert_eq!(found.header("cache-control"), "public, max-age=600");
        assert_eq!(found.header("access-control-allow-origin"), "*");
    }
}
