//! Browsers, whose tokens travel in cookies.

use serde_json::json;

use super::{OTHER, PASSWORD, Someone, mailed_token, sign_in::from_anywhere, someone};
use crate::world::{Answer, Caller, World};

/// The value that an answer gives a cookie.
pub(super) fn cookie_of(answer: &Answer, name: &str) -> String {
    set_cookie(answer, name)
        .split(['=', ';'])
        .nth(1)
        .expect("a value")
        .to_owned()
}

fn set_cookie(answer: &Answer, name: &str) -> String {
    let mut all = answer
        .headers
        .get_all("set-cookie")
        .iter()
        .filter_map(|value| value.to_str().ok());
    all.rfind(|value| value.starts_with(&format!("{name}=")))
        .unwrap_or_else(|| panic!("no cookie {name}"))
        .to_owned()
}

/// Somebody signs in on our own page and wants to be remembered: who, their browser, and what it was answered.
async fn sign_in(world: &World) -> (Someone, Caller, Answer) {
    let person = someone(world).await;
    let browser = world.anonymous().with("origin", &world.base);
    let body = json!({ "identifier": person.email, "password": PASSWORD, "remember": true, "transport": "cookie" });
    let answer = browser.post("/auth/login", body).await.ok();
    (person, browser, answer)
}

/// Whoever signs in after somebody else, in the browser that they share.
#[actix_web::test]
async fn a_browser_may_be_several_peoples() {
    let world = World::new().await;
    let (ann, bob) = (someone(&world).await, someone(&world).await);
    let browser = world.anonymous().with("origin", &world.base);
    let mut cookies = String::new();
    for person in [&ann, &bob, &ann, &bob] {
        let body = json!({ "identifier": person.email, "password": PASSWORD, "transport": "cookie" });
        let answer = browser.with("cookie", &cookies).post("/auth/login", body).await.ok();
        if cookies.is_empty() {
            cookies = format!("__Host-gld_dv={}", cookie_of(&answer, "__Host-gld_dv"));
        }
    }
    assert_eq!(world.count("SELECT count(*) FROM user_devices"), 2);
}

/// Somebody who has used a browser with somebody else guesses there what the other one's password is.
#[actix_web::test]
async fn whoever_shared_a_browser_once_locks_nobody_out_of_another_one() {
    let world = World::new().await;
    let (ann, bob) = (someone(&world).await, someone(&world).await);
    let try_in = async |device: &str, who: &Someone, password: &str| {
        let body = json!({ "identifier": who.email, "password": password, "transport": "cookie" });
        let browser = from_anywhere(&world).with("origin", &world.base);
        browser.with("cookie", device).post("/auth/login", body).await
    };
    let device = |answer: &Answer| format!("__Host-gld_dv={}", cookie_of(answer, "__Host-gld_dv"));
    let anns = device(&try_in("", &ann, PASSWORD).await.ok());
    let bobs = device(&try_in("", &bob, PASSWORD).await.ok());
    assert_eq!(device(&try_in(&anns, &bob, PASSWORD).await.ok()), anns);
    for _ in 0..10 {
        try_in(&anns, &bob, OTHER).await.refused("invalid-credentials");
    }
    try_in(&anns, &bob, PASSWORD).await.refused("too-many-attempts");
    try_in(&bobs, &bob, PASSWORD).await.ok();
    let forgot = json!({ "email": bob.email });
    world.anonymous().post("/auth/password/forgot", forgot).await.accepted();
    let token = mailed_token(&world, &bob.email, "password_reset");
    let new = json!({ "token": token, "password": "a third one for good measure" });
    world.anonymous().post("/auth/password/reset", new).await.gone();
    try_in(&anns, &bob, "a third one for good measure").await.ok();
    // What nobody was given is no device.
    let made_up = try_in("__Host-gld_dv=a", &ann, PASSWORD).await.ok();
    assert_eq!(cookie_of(&made_up, "__Host-gld_dv").len(), 32);
}

#[actix_web::test]
async fn a_browsers_tokens_travel_in_cookies_and_nowhere_else() {
    let world = World::new().await;
    let (person, browser, answer) = sign_in(&world).await;
    assert!(answer.body["access_token"].is_null() && answer.body["refresh_token"].is_null());
    assert!(!answer.text.contains("eyJ") && !answer.text.contains("_rt_"));
    let access = set_cookie(&answer, "__Host-gld_at");
    for part in ["Path=/;", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=600"] {
        assert!(access.contains(part), "{access}");
    }
    let refresh = set_cookie(&answer, "__Secure-gld_rt");
    for part in [
        "Path=/api/v1/auth;",
        "Secure",
        "HttpOnly",
        "SameSite=Strict",
        "Max-Age=12",
    ] {
        assert!(refresh.contains(part), "{refresh}");
    }
    let access = format!("__Host-gld_at={}", cookie_of(&answer, "__Host-gld_at"));
    let refresh = format!("__Secure-gld_rt={}", cookie_of(&answer, "__Secure-gld_rt"));

    let mine = world.anonymous().with("cookie", &access).get("/me").await.ok();
    assert_eq!(mine.text_at("/email"), person.email);
    let two = world.owner().with("cookie", &access).get("/me").await;
    two.refused("ambiguous-credentials");

    let next = browser.with("cookie", &refresh).act("/auth/refresh").await.ok();
    assert!(next.body["access_token"].is_null() && next.body["refresh_token"].is_null());
    let fresh = format!("__Host-gld_at={}", cookie_of(&next, "__Host-gld_at"));
    assert_ne!(
        cookie_of(&next, "__Secure-gld_rt"),
        cookie_of(&answer, "__Secure-gld_rt")
    );

    let renewed = format!("__Secure-gld_rt={}", cookie_of(&next, "__Secure-gld_rt"));
    let foreign = world.anonymous().with("origin", "https://evil.example");
    foreign
        .with("cookie", &renewed)
        .act("/auth/logout")
        .await
        .refused("csrf-failed");
    let gone = browser.with("cookie", &fresh).act("/auth/logout").await.gone();
    assert!(set_cookie(&gone, "__Host-gld_at").contains("Max-Age=0"));
    world
        .anonymous()
        .with("cookie", &fresh)
        .get("/me")
        .await
        .refused("session-revoked");
}

#[actix_web::test]
async fn a_browser_whose_access_token_has_expired_can_sign_out() {
    let world = World::new().await;
    let (_, browser, answer) = sign_in(&world).await;
    // What a browser sends after ten minutes: the access cookie is gone.
    let refresh = format!("__Secure-gld_rt={}", cookie_of(&answer, "__Secure-gld_rt"));
    let browser = browser.with("cookie", &refresh);
    let gone = browser.act("/auth/logout").await.gone();
    for cookie in ["__Host-gld_at", "__Secure-gld_rt"] {
        assert!(set_cookie(&gone, cookie).contains("Max-Age=0"), "{cookie}");
    }
    browser.act("/auth/refresh").await.refused("session-revoked");
    // Nobody's cookie is still one to be rid of.
    let nobodys = world
        .anonymous()
        .with("origin", &world.base)
        .with("cookie", "__Secure-gld_rt=nonsense");
    assert!(set_cookie(&nobodys.act("/auth/logout").await.gone(), "__Secure-gld_rt").contains("Max-Age=0"));
    world.anonymous().act("/auth/logout").await.refused("unauthenticated");
}

#[actix_web::test]
async fn cookies_are_used_by_our_own_pages_only() {
    let world = World::with(&[("CORS__ORIGINS", "https://app.example.com")]).await;
    let person = someone(&world).await;
    let body = json!({ "identifier": person.email, "password": PASSWORD, "transport": "cookie" });
    for (header, value) in [
        ("origin", "https://evil.example"),
        ("origin", "https://app.example.com.evil.example"),
        ("origin", "https://evilapp.example.com"),
        ("origin", "http://app.example.com"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "none"),
        ("accept", "*/*"),
    ] {
        world
            .anonymous()
            .with(header, value)
            .post("/auth/login", body.clone())
            .await
            .refused("csrf-failed");
    }
    let base = world.base.clone();
    for (header, value) in [
        ("origin", "https://app.example.com"),
        ("origin", base.as_str()),
        ("sec-fetch-site", "same-origin"),
    ] {
        world
            .anonymous()
            .with(header, value)
            .post("/auth/login", body.clone())
            .await
            .ok();
    }
    let answer = world
        .anonymous()
        .with("origin", &base)
        .post("/auth/login", body)
        .await
        .ok();
    let refresh = format!("__Secure-gld_rt={}", cookie_of(&answer, "__Secure-gld_rt"));
    let evil = world
        .anonymous()
        .with("cookie", &refresh)
        .with("origin", "https://evil.example");
    evil.act("/auth/refresh").await.refused("csrf-failed");
    world
        .anonymous()
        .with("cookie", &refresh)
        .act("/auth/refresh")
        .await
        .refused("csrf-failed");
    world
        .anonymous()
        .with("cookie", &refresh)
        .with("origin", &base)
        .act("/auth/refresh")
        .await
        .ok();
}
