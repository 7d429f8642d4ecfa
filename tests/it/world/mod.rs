//! A world of its own for each test: a server on a port of its own, a database that nobody else uses meanwhile, a clock that the test moves,
//! and people to call from.

mod callers;
pub mod gate;
pub mod patience;
pub mod process;
mod raw;
mod stack;
mod unheard;

use std::{
    collections::HashMap,
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix_web::dev::ServerHandle;
use diesel::{Connection, PgConnection, QueryDsl, QueryResult, RunQueryDsl, connection::SimpleConnection};
use guildhall::{
    app::{api, boot::Deployment},
    kernel::{
        clock::Clock,
        config::{Config, Environment, KeyMode},
        id::{ApiKeyId, Id, MembershipId, UserId, WorkspaceId},
        secret::{Token, TokenKind},
    },
};

pub use callers::{Answer, Caller};
pub use process::Process;
pub use raw::Wire;
use stack::Borrowed;

use crate::database::Database;

/// One test's own Guildhall.
pub struct World {
    pub deployment: Arc<Deployment>,
    pub clock: Clock,
    pub base: String,
    /// Where everybody in it calls from, unless a test says otherwise.
    pub address: String,
    domain: String,
    database: Borrowed,
    server: ServerHandle,
    variables: HashMap<String, String>,
    /// The workspace of [`World::owner`] and their colleagues.
    home: WorkspaceId,
    /// The workspace of [`World::stranger`].
    elsewhere: WorkspaceId,
    client: reqwest::Client,
    /// A superuser's connection, while nobody uses it.
    kept: Mutex<Option<PgConnection>>,
}

impl World {
    /// A new world.
    pub async fn new() -> World {
        World::with(&[]).await
    }

    /// A new world with settings of its own: pairs of `SECTION__KEY` and value.
    pub async fn with(settings: &[(&str, &str)]) -> World {
        World::in_database(stack::borrow(), settings).await
    }

    /// A world in a database that is nobody else's, before or after.
    pub async fn apart(database: Database) -> World {
        World::apart_with(database, &[]).await
    }

    /// The same with settings of its own.
    pub async fn apart_with(database: Database, settings: &[(&str, &str)]) -> World {
        World::in_database(Borrowed::apart(database), settings).await
    }

    async fn in_database(database: Borrowed, settings: &[(&str, &str)]) -> World {
        let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let base = format!("http://{}", socket.local_addr().expect("a bound socket"));
        let clock = Clock::fake();
        let [a, b, c] = guildhall::kernel::crypto::random::<3>();
        let address = format!("10.{a}.{b}.{c}");
        forget_other_clocks(&database);
        let variables = variables(&database, &base, settings);
        let config =
            Config::from_variables(Environment::Development, variables.clone()).expect("a sound configuration");
        let deployment = Arc::new(Deployment::new(config, clock.clone()).expect("a sound configuration"));
        let server = api::serve(deployment.clone(), socket).expect("a server");
        let handle = server.handle();
        deployment.readiness.booted();
        actix_web::rt::spawn(server);
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Less than the server keeps one for: a request on a connection that is being closed is lost.
            .pool_idle_timeout(Duration::from_secs(30))
            // It speaks plain HTTP: reading the machine's certificates would take longer than many a test.
            .tls_certs_only([])
            .default_headers([("x-forwarded-for", &address)].into_iter().map(header).collect())
            .build()
            .expect("a client");
        let mut world = World {
            deployment,
            clock,
            base,
            domain: format!("w{}.example", &uuid::Uuid::new_v4().simple().to_string()[..12]),
            address,
            database,
            server: handle,
            variables,
            home: Id::nil(),
            elsewhere: Id::nil(),
            client,
            kept: Mutex::new(None),
        };
        world.home = world.workspace("home");
        world.elsewhere = world.workspace("elsewhere");
        world
    }

    /// Somebody without a credential.
    pub fn anonymous(&self) -> Caller {
        Caller::new(self.client.clone(), &self.base, None)
    }

    /// The owner of the home workspace.
    pub fn owner(&self) -> Caller {
        self.member("owner")
    }

    /// Looks on in the home workspace.
    pub fn viewer(&self) -> Caller {
        self.member("viewer")
    }

    /// The owner of another workspace.
    pub fn stranger(&self) -> Caller {
        self.member_of(self.elsewhere, "owner")
    }

    /// Somebody new with this role in the home workspace.
    pub fn member(&self, role: &str) -> Caller {
        self.member_of(self.home, role)
    }

    /// Somebody new with this role there, who calls with a key that may do whatever they may.
    pub fn member_of(&self, workspace: WorkspaceId, role: &str) -> Caller {
        let user = self.person();
        self.join(workspace, user, role);
        self.caller_with_key(workspace, user, None)
    }

    /// The owner of the home workspace, by a key with these permissions alone.
    pub fn api_key<const N: usize>(&self, permissions: [&str; N]) -> Caller {
        let user = self.person();
        self.join(self.home, user, "owner");
        self.caller_with_key(self.home, user, Some(&permissions))
    }

    /// The environment of another process of this deployment.
    pub fn variables(&self) -> &HashMap<String, String> {
        &self.variables
    }

    /// An address that nobody has in another world.
    pub fn email(&self, name: &str) -> String {
        format!("{name}@{}", self.domain)
    }

    /// The home workspace.
    pub fn home(&self) -> WorkspaceId {
        self.home
    }

    /// The stranger's workspace.
    pub fn elsewhere(&self) -> WorkspaceId {
        self.elsewhere
    }

    /// A new person with a proven address and no password.
    pub fn person(&self) -> UserId {
        let id = UserId::new(self.clock.now());
        self.admin(&format!(
            "INSERT INTO guildhall.users (id, email, email_verified_at, display_name) \
             VALUES ('{0}', '{0}@people.example', now(), 'Somebody')",
            id.uuid()
        ));
        id
    }

    /// A new empty workspace on the free plan.
    pub fn workspace(&self, name: &str) -> WorkspaceId {
        let id = WorkspaceId::new(self.clock.now());
        let slug = format!("w-{}", &id.uuid().simple().to_string()[12..]);
        let entitlements =
            serde_json::to_string(&guildhall::kernel::entitlements::Plan::free().entitlements).expect("a plan");
        self.admin(&format!(
            "INSERT INTO guildhall.workspaces (id, slug, name, seats_used) VALUES ('{0}', '{slug}', '{name}', 1); \
             INSERT INTO guildhall.workspace_plans (workspace_id, plan, entitlements, seats) \
             VALUES ('{0}', 'free', '{entitlements}', ('{entitlements}'::jsonb ->> 'seats')::integer)",
            id.uuid()
        ));
        id
    }

    /// Makes a person a member.
    pub fn join(&self, workspace: WorkspaceId, user: UserId, role: &str) -> MembershipId {
        let id = MembershipId::new(self.clock.now());
        self.admin(&format!(
            "INSERT INTO guildhall.memberships (workspace_id, id, user_id, display_name, email, role) \
             VALUES ('{}', '{}', '{2}', 'Somebody', '{2}@people.example', '{role}')",
            workspace.uuid(),
            id.uuid(),
            user.uuid()
        ));
        id
    }

    /// A caller with a personal key of this member.
    pub fn caller_with_key(&self, workspace: WorkspaceId, user: UserId, permissions: Option<&[&str]>) -> Caller {
        let token = Token::mint(TokenKind::PersonalKey, KeyMode::Test);
        let id = ApiKeyId::new(self.clock.now());
        let permissions = permissions.map_or("NULL".into(), |names| format!("'{{{}}}'", names.join(",")));
        self.admin(&format!(
            "INSERT INTO guildhall.api_keys (workspace_id, id, owner_type, owner_id, name, hash, start, permissions, api_version, expires_at, created_by_type, created_by_id) \
             VALUES ('{}', '{}', 'user', '{}', 'test', '\\x{}', '{}', {permissions}, '2026-11-01', now() + interval '100 years', 'system', NULL)",
            workspace.uuid(),
            id.uuid(),
            user.uuid(),
            hex::encode(token.digest()),
            token.start(),
        ));
        Caller::new(self.client.clone(), &self.base, Some(token.expose().to_owned()))
    }

    /// Statements of a superuser: for what no role of the product may do.
    pub fn admin(&self, sql: &str) {
        self.as_superuser(|superuser| superuser.batch_execute(sql))
            .unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    /// What a superuser counts: `SELECT count(*) …`.
    pub fn count(&self, sql: &str) -> i64 {
        #[derive(diesel::QueryableByName)]
        struct Counted {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            count: i64,
        }
        #[expect(clippy::disallowed_methods, reason = "tests look behind the doors")]
        let counted = self.as_superuser(|superuser| diesel::sql_query(sql).get_result::<Counted>(superuser));
        counted.unwrap_or_else(|error| panic!("{error}: {sql}")).count
    }

    /// Does something with the superuser's connection that is kept for it. One that failed is not used again.
    fn as_superuser<T>(&self, work: impl FnOnce(&mut PgConnection) -> QueryResult<T>) -> QueryResult<T> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut superuser = kept.unwrap_or_else(|| self.superuser());
        let done = work(&mut superuser)?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(superuser);
        Ok(done)
    }

    /// A superuser's connection of its own to this world's database.
    pub fn superuser(&self) -> PgConnection {
        #[expect(clippy::disallowed_methods, reason = "tests look behind the doors")]
        let mut superuser = PgConnection::establish(&self.database.admin_url()).expect("the test's database");
        superuser
            .batch_execute("SET search_path = guildhall, public")
            .expect("our schema");
        superuser
    }

    /// What the audit log of the home workspace says, oldest first: `agent.created by api_key`.
    pub fn audit(&self) -> Vec<String> {
        diesel::table! {
            guildhall.audit_log (id) {
                id -> Uuid,
                workspace_id -> Uuid,
                action -> Text,
                actor_type -> Text,
            }
        }
        use diesel::ExpressionMethods;
        let rows: Vec<(String, String)> = audit_log::table
            .filter(audit_log::workspace_id.eq(self.home.uuid()))
            .order(audit_log::id)
            .select((audit_log::action, audit_log::actor_type))
            .load(&mut self.superuser())
            .expect("the audit log");
        rows.into_iter()
            .map(|(action, actor)| format!("{action} by {actor}"))
            .collect()
    }
}

impl World {
    /// Relays events and does jobs until there is nothing left to do at this moment.
    pub async fn run_jobs(&self) {
        let runner = guildhall::app::worker::runner(&self.deployment);
        while runner.turn().await.expect("the queue can be worked") > 0 {}
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The server ends by itself; its connections end with it.
        drop(self.server.stop(false));
    }
}

/// Waits until something is so that takes no waiting to see.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    patience::until(what, async || so()).await;
}

fn header((name, value): (&'static str, &String)) -> (reqwest::header::HeaderName, reqwest::header::HeaderValue) {
    let name = reqwest::header::HeaderName::from_static(name);
    (name, value.parse().expect("a header"))
}

/// The database was another world's before, whose clock may have been years ahead: its keys would not move on for as long.
fn forget_other_clocks(database: &Borrowed) {
    #[expect(clippy::disallowed_methods, reason = "tests look behind the doors")]
    let mut admin = PgConnection::establish(&database.admin_url()).expect("the test's database");
    admin
        .batch_execute("DELETE FROM guildhall.signing_keys WHERE greatest(created_at, publish_at, activate_at) > now()")
        .expect("a clean start");
}

/// The environment of a process in this world.
fn variables(database: &Borrowed, base: &str, settings: &[(&str, &str)]) -> HashMap<String, String> {
    let mut variables: HashMap<String, String> = [
        ("DATABASE_TENANT_URL", database.urls.tenant.expose().as_str()),
        ("DATABASE_KERNEL_URL", database.urls.kernel.expose()),
        ("GUILDHALL__SERVER__PUBLIC_URL", base),
        ("GUILDHALL__SERVER__WORKERS", "1"),
        ("GUILDHALL__WORKER__ADMIN_PORT", "0"),
        ("GUILDHALL__SERVER__TRUSTED_PROXIES", "127.0.0.0/8"),
        (
            "GUILDHALL__SECRETS__SIGNING",
            "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        ),
        (
            "GUILDHALL__SECRETS__KEKS",
            "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        ),
        ("GUILDHALL__LOG__LEVEL", "warn"),
        // Of a busy machine. Those about a Redis that hangs set it back.
        ("GUILDHALL__REDIS__TIMEOUT_MS", "250"),
        // A test asks more in a second than a person in an hour. Those about limits set it back.
        ("GUILDHALL__LIMITS__FACTOR", "100"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    if let Some(redis) = stack::redis_url() {
        variables.insert("REDIS_URL".into(), redis);
        variables.insert(
            "GUILDHALL__REDIS__PREFIX".into(),
            format!("w{}", uuid::Uuid::new_v4().simple()),
        );
    }
    for (key, value) in settings {
        if *key == "REDIS__URL" {
            variables.insert("REDIS_URL".into(), (*value).to_owned());
        }
        variables.insert(format!("GUILDHALL__{key}"), (*value).to_owned());
    }
    variables
}
