//! Everything of every kind, from one key to the other and back, while it is used.

use diesel::{ExpressionMethods, QueryDsl, RunQueryDsl};
use guildhall::{
    app::{keks, worker},
    kernel::{
        crypto::{Aad, Sealed},
        error::STATE_CONFLICT,
        id::{Id, UserId},
        identity::Use,
        inbox::ConnectionId,
    },
};
use serde_json::{Value, json};

use super::{BOTH, House, ONE, SWAPPED, TWO, ring};
use crate::{
    identity::{Signed, Someone, login, renew, someone},
    webhooks::{receiver::Receiver, verifies},
    world::{Caller, Process, World},
};

diesel::table! {
    guildhall.stripe_connections (id) {
        workspace_id -> Uuid,
        id -> Uuid,
        mode -> Text,
        state -> Text,
        key_sealed -> Nullable<Binary>,
        webhook_secrets_sealed -> Array<Binary>,
        version -> BigInt,
    }
}

diesel::table! {
    guildhall.user_idempotency_keys (user_id, route, key_hash) {
        user_id -> Uuid,
        route -> Text,
        key_hash -> Binary,
        fingerprint -> Binary,
        state -> Text,
        body_sealed -> Nullable<Binary>,
        expires_at -> Timestamptz,
    }
}

/// One of every kind of what is sealed, and what shows that it still opens.
struct Made {
    owner: Caller,
    person: Someone,
    session: Signed,
    receiver: Receiver,
    endpoint: String,
    secret: String,
    tag: String,
    license: String,
    key: String,
    connection: ConnectionId,
}

const IDEMPOTENT: &str = "made-under-another-key";

fn endpoint(url: &str) -> Value {
    json!({ "url": url, "events": ["workspace.*"], "headers": { "x-token": "of the receiver" } })
}

impl Made {
    async fn everything(house: &House) -> Made {
        let world = &house.world;
        let (owner, receiver, person) = (world.owner(), Receiver::new(), someone(world).await);
        let session = login(world, &person).await;
        let forgot = json!({ "email": person.email });
        world.anonymous().post("/auth/password/forgot", forgot).await.accepted();
        let hook = owner
            .post("/webhook-endpoints", endpoint(&receiver.url))
            .header("idempotency-key", IDEMPOTENT)
            .await
            .created();
        let product = json!({ "code": "scribe", "name": "Scribe" });
        let product = owner.post("/products", product).await.created().id();
        let policy = json!({ "product_id": product, "code": "pro", "name": "Pro", "max_machines": 3 });
        let policy = owner.post("/policies", policy).await.created().id();
        let license = owner.post("/licenses", json!({ "policy_id": policy })).await.created();
        let machine = json!({ "license_id": license.id(), "fingerprint": "one machine" });
        owner.post("/licenses/activate", machine).await.created();
        let made = Made {
            tag: owner.get(&hook.path()).await.ok().header("etag").to_owned(),
            endpoint: hook.path(),
            secret: hook.text_at("/secret"),
            license: license.id(),
            key: license.text_at("/key"),
            connection: Id::new(world.clock.now()),
            owner,
            person,
            session,
            receiver,
        };
        made.connect(world);
        made.answer(world, made.person.user);
        // Every key has its spare from now on, so that none is made meanwhile.
        made.validates(&world.base, world).await;
        made
    }

    /// A connection of the home workspace, which no operation makes yet.
    fn connect(&self, world: &World) {
        let seal = |(column, text): (&str, &str)| ring(SWAPPED).seal(&self.place(world, column), text.as_bytes());
        let row = (
            stripe_connections::workspace_id.eq(world.home().uuid()),
            stripe_connections::id.eq(self.connection.uuid()),
            stripe_connections::mode.eq("test"),
            stripe_connections::state.eq("active"),
            stripe_connections::key_sealed.eq(seal(("key_sealed", "rk_test_one"))),
            stripe_connections::webhook_secrets_sealed.eq(vec![
                seal(("webhook_secrets_sealed", "whsec_one")),
                seal(("webhook_secrets_sealed", "whsec_two")),
            ]),
        );
        diesel::insert_into(stripe_connections::table)
            .values(row)
            .execute(&mut world.superuser())
            .expect("a connection");
    }

    fn place(&self, world: &World, column: &str) -> Aad {
        Aad::new(
            Some(world.home().uuid()),
            "stripe_connections",
            column,
            self.connection.uuid(),
        )
    }

    /// What the connection's secrets are under the second key alone, and how often it changed.
    fn connected(&self, world: &World) -> (Vec<String>, i64) {
        let (key, secrets, version): (Option<Sealed>, Vec<Sealed>, i64) = stripe_connections::table
            .find(self.connection.uuid())
            .select((
                stripe_connections::key_sealed,
                stripe_connections::webhook_secrets_sealed,
                stripe_connections::version,
            ))
            .first(&mut world.superuser())
            .expect("the connection");
        let open = |column: &str, sealed: &Sealed| {
            let opened = ring(TWO).open(&self.place(world, column), sealed).expect("it opens");
            String::from_utf8(opened.expose().clone()).expect("a text")
        };
        let key = key.iter().map(|key| open("key_sealed", key));
        let secrets = secrets.iter().map(|secret| open("webhook_secrets_sealed", secret));
        (key.chain(secrets).collect(), version)
    }

    /// A stored answer of a person that holds a secret, which no operation gives yet.
    fn answer(&self, world: &World, user: UserId) {
        let row = [user.uuid().as_bytes(), &b"POST /somewhere\0key"[..]].concat();
        let place = Aad::new(None, "user_idempotency_keys", "body_sealed", row);
        let row = (
            user_idempotency_keys::user_id.eq(user.uuid()),
            user_idempotency_keys::route.eq("POST /somewhere"),
            user_idempotency_keys::key_hash.eq(&b"key"[..]),
            user_idempotency_keys::fingerprint.eq(&b""[..]),
            user_idempotency_keys::state.eq("done"),
            user_idempotency_keys::body_sealed.eq(ring(SWAPPED).seal(&place, b"{}")),
            user_idempotency_keys::expires_at.eq(world.clock.now() + chrono::Duration::days(1)),
        );
        diesel::insert_into(user_idempotency_keys::table)
            .values(row)
            .execute(&mut world.superuser())
            .expect("an answer");
    }

    async fn validates(&self, base: &str, world: &World) {
        let software = world
            .anonymous()
            .at(base)
            .with("authorization", &format!("License {}", self.key));
        let scope = json!({ "scope": { "fingerprint": "one machine" }, "nonce": "0123456789abcdef" });
        let verdict = software.post("/licenses/validate", scope).await.ok();
        assert_eq!(verdict.body["valid"], true, "{}", verdict.text);
        assert!(!verdict.text_at("/signed").is_empty());
        let other = json!({ "scope": { "fingerprint": "another machine" } });
        let verdict = software.post("/licenses/validate", other).await.ok();
        assert_eq!(verdict.body["valid"], false, "{}: {}", self.license, verdict.text);
    }

    /// Under the second key alone, all of it opens.
    async fn opens(self, house: &House) {
        let world = &house.world;
        let (deployment, base) = house.serve(TWO).await;
        let there = world.anonymous().at(&base);
        let renewed = json!({ "refresh_token": self.session.refresh });
        let renewed = there.post("/auth/refresh", renewed).await.ok();
        let access = renewed.text_at("/access_token");
        there.bearer(&access).get("/me").await.ok();

        let owner = self.owner.at(&base);
        let again = owner
            .post("/webhook-endpoints", endpoint(&self.receiver.url))
            .header("idempotency-key", IDEMPOTENT)
            .await
            .created();
        assert_eq!(again.text_at("/secret"), self.secret, "the answer that was kept");
        owner.patch("/workspace", json!({ "name": "Renamed" })).await.ok();
        let runner = worker::runner(&deployment);
        while runner.turn().await.expect("the queue can be worked") > 0 {}
        let got = self.receiver.got();
        let last = got.last().expect("a delivery");
        assert!(verifies(last, &self.secret) && last.header("x-token") == "of the receiver");
        self.validates(&base, world).await;

        let secrets = ["rk_test_one", "whsec_one", "whsec_two"].map(str::to_owned);
        assert_eq!(self.connected(world), (secrets.to_vec(), 1), "and nobody changed it");
        let mails = format!(
            "SELECT count(*) FROM guildhall.mails WHERE recipient = '{}'",
            self.person.email
        );
        assert_eq!(world.count(&format!("{mails} AND state = 'sent'")), 1);
    }
}

/// What tenants do all day, once.
async fn use_it(made: &Made, world: &World, refresh: &mut String, nr: usize) {
    // More often in a row, nobody may.
    if nr <= 25 {
        let renewed = renew(world, refresh).await.ok();
        *refresh = renewed.text_at("/refresh_token");
    }
    if nr <= 3 {
        login(world, &made.person).await;
    }
    let tag = made.owner.get(&made.endpoint).await.ok().header("etag").to_owned();
    let headers = json!({ "headers": { "x-token": format!("number {nr}") } });
    let changed = made.owner.patch(&made.endpoint, headers).header("if-match", &tag);
    assert_ne!(changed.await.ok().header("etag"), tag);
    let rotated = made.owner.post(
        &format!("{}/secret/rotate", made.endpoint),
        json!({ "grace_seconds": 0 }),
    );
    rotated.await.ok();
    let forgot = json!({ "email": made.person.email });
    world.anonymous().post("/auth/password/forgot", forgot).await.accepted();
    made.validates(&world.base, world).await;
}

#[actix_web::test]
async fn everything_moves_to_another_key_and_back_and_still_opens() {
    let house = House::with(SWAPPED).await;
    let world = &house.world;
    let made = Made::everything(&house).await;
    // No key lacks its spare any more: none is made while we count.
    let too_soon = world.deployment.keys.rotate(Use::Access).await;
    assert!(too_soon.is_err_and(|refused| refused.is(STATE_CONFLICT)));
    let kinds: Vec<String> = keks::parts().iter().map(|part| part.name()).collect();
    let there = house.under("k2");
    assert_eq!(
        there.keys().collect::<Vec<_>>().len(),
        kinds.len(),
        "{there:?} of {kinds:?}"
    );

    // The server of this world goes on sealing under the second key, and says so.
    let said = house.rewrap(BOTH).await.refused();
    assert!(said.contains("k2 must stay: a process still seals under it"), "{said}");
    assert_eq!((house.under("k1"), house.under("k2").len()), (there, 0));
    assert_eq!(house.entered(), "k1,k2");
    let at_first = house
        .world
        .count("SELECT count(*) FROM guildhall.signing_keys WHERE kek_id = 'k1'");
    assert!(at_first > 0 && world.count("SELECT count(*) FROM guildhall.workspace_peppers WHERE kek_id = 'k1'") == 1);

    let said = house.rewrap(SWAPPED).await.well();
    assert!(
        said.contains("Nothing is sealed under k1 any more: it can be taken out"),
        "{said}"
    );
    assert_eq!((house.under("k1").len(), house.entered().as_str()), (0, "k2"));
    assert_eq!(
        world.count("SELECT count(*) FROM guildhall.signing_keys WHERE kek_id <> 'k2'"),
        0
    );
    let retired = "SELECT count(*) FROM guildhall.audit_log WHERE action = 'kek.retired' AND actor_type = 'system'";
    assert_eq!(world.count(retired), 1);
    let tag = made.owner.get(&made.endpoint).await.ok().header("etag").to_owned();
    assert_eq!(tag, made.tag, "another key is no other version");
    made.opens(&house).await;
    let refused = house.says(ONE, &["admin", "keys", "rotate", "access"]).await.refused();
    assert!(refused.contains("key-encryption key k2"), "{refused}");
}

#[actix_web::test]
async fn a_key_that_two_take_out_at_once_is_told_of_once() {
    let house = House::with(SWAPPED).await;
    let world = &house.world;
    let somebody = someone(world).await;
    login(world, &somebody).await;
    house.rewrap(BOTH).await.refused();
    super::many_sessions(world, somebody.user, 300);
    let two = (house.rewrap(SWAPPED), house.rewrap(SWAPPED));
    let (first, second) = futures_util::future::join(two.0, two.1).await;
    // Who comes when it is out already has nothing to say of it.
    let said = first.well() + &second.well();
    assert!(said.contains("Nothing is sealed under k1 any more"), "{said}");
    assert_eq!((house.under("k1").len(), house.entered().as_str()), (0, "k2"));
    let retired = "SELECT count(*) FROM guildhall.audit_log WHERE action = 'kek.retired'";
    assert_eq!(world.count(retired), 1);
}

#[actix_web::test]
async fn nobody_notices_that_everything_moves() {
    let house = House::with(SWAPPED).await;
    let world = &house.world;
    let made = Made::everything(&house).await;
    house.rewrap(BOTH).await.refused();
    super::many_sessions(world, made.person.user, 3_000);
    assert!(house.under("k1").values().sum::<i64>() > 3_000);

    let mut moving = Process::of(house.command(SWAPPED, &["admin", "keks", "rewrap"]));
    let (mut refresh, mut times) = (made.session.refresh.clone(), 0);
    while !moving.is_over() {
        times += 1;
        use_it(&made, world, &mut refresh, times).await;
    }
    let (said, well) = moving.said();
    assert!(well, "{said}");
    assert!(
        said.contains("Nothing is sealed under k1 any more") && times > 1,
        "{times} times; {said}"
    );
    assert_eq!(house.under("k1").len(), 0);
    let (_deployment, base) = house.serve(TWO).await;
    let there = world.anonymous().at(&base);
    there
        .post("/auth/refresh", json!({ "refresh_token": refresh }))
        .await
        .ok();
}
