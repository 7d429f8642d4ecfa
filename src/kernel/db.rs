//! Two doors to PostgreSQL. [`Db::tenant`] opens a transaction inside a workspace and takes the proof of admission as its argument;
//! [`Db::unscoped`] is for what happens before a workspace is known, and only the kernel can name it. [`Db::ask`] is the first door for
//! a single question.

mod address;
mod alone;
mod ask;
mod opening;
mod pool;
mod work;

pub use address::{address, told};
pub use ask::{ById, Context};
pub use pool::{impatient, knock};

use std::{sync::Arc, time::Instant};

use chrono::{DateTime, Utc};
use diesel::{
    PgConnection, RunQueryDsl,
    connection::{AnsiTransactionManager, TransactionManager},
    dsl::sql,
    sql_types::Text,
};

use self::{opening::opening, pool::Pool};
use crate::kernel::{
    access::{Call, Scope},
    clock::Clock,
    error::{DATABASE_UNAVAILABLE, DEADLINE_EXCEEDED, Error, Outcome, Problem, Result, is_read_only},
    gate::Gate,
    id::WorkspaceId,
    secret::Secret,
    wake::{Rings, Signal, Wakes},
};

/// How many connections each door has.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Connections as `app_tenant`.
    pub tenant: usize,
    /// Connections as `app_kernel`.
    pub kernel: usize,
}

/// The database, behind its admission gate. Copies share everything.
#[derive(Clone)]
pub struct Db {
    tenant: Pool,
    kernel: Pool,
    gate: Arc<Gate>,
    clock: Clock,
    wakes: Arc<Wakes>,
    kernel_url: Secret<String>,
}

impl Db {
    /// Opens both pools. Connections are made when they are first wanted, so an unreachable database is no error here.
    pub fn open(tenant_url: Secret<String>, kernel_url: Secret<String>, sizes: Sizes, clock: Clock) -> Db {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let (tenant_url, kernel_url) = (pool::of_door(tenant_url), pool::of_door(kernel_url));
        Db {
            tenant: Pool::new(tenant_url, sizes.tenant),
            kernel: Pool::new(kernel_url.clone(), sizes.kernel),
            gate: Arc::new(Gate::new(sizes.tenant, sizes.kernel, cores)),
            clock,
            wakes: Arc::default(),
            kernel_url,
        }
    }

    /// Runs `work` in one transaction inside the scope's workspace, on a blocking thread; commits on `Ok`. It runs once: a deadlock or
    /// a serialization failure is 503 `overloaded`, and the caller's `Idempotency-Key` makes the retry safe.
    ///
    /// # Errors
    /// Whatever `work` refuses, and 503 with an `outcome` when the database or the deadline fails.
    pub async fn tenant<T: Send + 'static>(
        &self,
        scope: impl Into<Scope>,
        work: impl FnOnce(&mut Tenant<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let scope = scope.into();
        let call = scope.call().clone();
        let (own, clock) = (scope.clone(), self.clock.clone());
        self.transaction(
            &self.tenant,
            Some(scope.workspace()),
            call,
            move |call| opening(call, Some(&own), &clock),
            move |conn, rings| {
                work(&mut Tenant {
                    conn,
                    scope: &scope,
                    now: None,
                    rings,
                })
            },
        )
        .await
    }

    /// Runs `work` in one transaction outside of any workspace.
    ///
    /// # Errors
    /// As [`Db::tenant`].
    pub(in crate::kernel) async fn unscoped<T: Send + 'static>(
        &self,
        call: &Call,
        work: impl FnOnce(&mut Kernel<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let clock = self.clock.clone();
        self.transaction(
            &self.kernel,
            None,
            Arc::new(call.clone()),
            move |call| opening(call, None, &clock),
            move |conn, rings| work(&mut Kernel { conn, now: None, rings }),
        )
        .await
    }

    async fn transaction<T: Send + 'static>(
        &self,
        pool: &Pool,
        workspace: Option<WorkspaceId>,
        call: Arc<Call>,
        opening: impl FnOnce(&Call) -> String + Send + 'static,
        work: impl FnOnce(&mut PgConnection, &mut Rings) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = self.gate.enter(&call, workspace).await?;
        let (class, read_only) = (call.class, call.read_only);
        let pool = pool.clone();
        let wakes = self.wakes.clone();
        let work = permit.work(move || {
            let mut link = pool.get()?;
            let mut rings = Rings::default();
            // Said now, when the wait in line and for the connection is over: a statement has what is left of the call's time.
            let opening = opening(&call);
            let answer = run(&mut link.conn, &opening, &call, |conn| work(conn, &mut rings));
            link.used = Instant::now();
            if answer.is_ok() {
                wakes.ring(rings);
            }
            answer
        });
        work::answer(work, class, read_only).await
    }

    /// Who is woken by commits.
    pub fn wakes(&self) -> &Arc<Wakes> {
        &self.wakes
    }

    /// A connection as `app_kernel` outside of the pools, for the thread that keeps leases alive: it must not wait behind anybody.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub(in crate::kernel) fn lifeline(&self) -> diesel::ConnectionResult<PgConnection> {
        pool::open(&self.kernel_url)
    }

    /// The clock that the doors hand to the database.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The admission gate.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// True if both doors open within a second. For readiness.
    pub async fn answers(&self) -> bool {
        let (tenant, kernel) = (self.tenant.clone(), self.kernel.clone());
        tokio::task::spawn_blocking(move || tenant.get().is_ok() && kernel.get().is_ok())
            .await
            .unwrap_or(false)
    }

    /// What each door really opens.
    ///
    /// # Errors
    /// 503 if the database cannot be reached.
    pub(in crate::kernel) async fn entries(&self) -> Result<[Entry; 2]> {
        let doors = [("app_tenant", self.tenant.clone()), ("app_kernel", self.kernel.clone())];
        let asked = tokio::task::spawn_blocking(move || {
            let who = sql::<Text>("concat_ws(' as ', session_user, nullif(current_user, session_user))");
            let ask = |(role, pool): &(&'static str, Pool), patience: &Patience| -> Result<Entry> {
                let found = diesel::select((who.clone(), sql::<Text>(&begins_with(patience))))
                    .get_result(&mut pool.get()?.conn)?;
                let (login, begins_with) = found;
                Ok(Entry {
                    role,
                    login,
                    begins_with,
                })
            };
            Ok([ask(&doors[0], &OF_TENANT)?, ask(&doors[1], &OF_KERNEL)?])
        });
        asked.await.unwrap_or_else(|_| Err(DATABASE_UNAVAILABLE.into()))
    }

    /// Whether both doors open one database.
    ///
    /// # Errors
    /// 503 if it cannot be reached.
    pub(in crate::kernel) async fn is_one(&self) -> Result<bool> {
        let (tenant, kernel) = (self.tenant.clone(), self.kernel.clone());
        let asked =
            tokio::task::spawn_blocking(move || Ok(alone::are_one(&mut kernel.get()?.conn, &mut tenant.get()?.conn)?));
        asked.await.unwrap_or_else(|_| Err(DATABASE_UNAVAILABLE.into()))
    }

    /// Connections that exist and that are idle: tenant door, kernel door.
    pub fn connections(&self) -> [(&'static str, u32, u32); 2] {
        [("tenant", &self.tenant), ("kernel", &self.kernel)].map(|(name, pool)| {
            let state = pool.state();
            (name, state.connections, state.idle_connections)
        })
    }
}

/// What a door really opens.
pub(in crate::kernel) struct Entry {
    /// The role that it is for.
    pub(in crate::kernel) role: &'static str,
    /// As whom its connections came in.
    pub(in crate::kernel) login: String,
    /// Settings that its connections must not begin with, and do; empty if there are none.
    pub(in crate::kernel) begins_with: String,
}

/// For how long a statement and a lock are waited for by connections of a role, where a transaction does not say otherwise: settings, and what
/// they are. `roles.sql` sets them, and no process serves through a door that begins with others.
pub(in crate::kernel) type Patience = [(&'static str, &'static str); 2];
/// What reads a row in one statement has these, for it cannot say how long it may take: as long as the narrowest class of transactions.
pub(in crate::kernel) const OF_TENANT: Patience = [("statement_timeout", "1500ms"), ("lock_timeout", "1s")];
/// The lifeline has these.
pub(in crate::kernel) const OF_KERNEL: Patience = [("statement_timeout", "5s"), ("lock_timeout", "2s")];

/// Another patience than the role's, and [`BEGINS_WITH`].
fn begins_with(patience: &Patience) -> String {
    let [statement, lock] =
        patience.map(|(setting, value)| format!("'{setting}=' || nullif(current_setting('{setting}'), '{value}')"));
    format!("concat_ws(', ', {statement}, {lock}, {BEGINS_WITH})")
}

/// A context that nobody gave, and what switches row-level security, foreign keys or triggers off: an address (`options=`) or `PGOPTIONS` may
/// set them, too.
const BEGINS_WITH: &str = "'row_security=' || nullif(current_setting('row_security'), 'on'), \
     'session_replication_role=' || substring(current_setting('session_replication_role') FROM 'replica'), \
     'app.workspace=' || nullif(current_setting('app.workspace', true), ''), \
     'app.actor=' || nullif(current_setting('app.actor', true), ''), \
     'app.reseller=' || nullif(current_setting('app.reseller', true), ''), \
     'app.customer=' || nullif(current_setting('app.customer', true), ''), \
     'app.clock_offset=' || nullif(current_setting('app.clock_offset', true), '')";

/// Begins, works, commits. A panic in `work` discards the connection: nothing persists.
fn run<T>(
    conn: &mut PgConnection,
    opening: &str,
    call: &Call,
    work: impl FnOnce(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    if call.time_left().is_zero() {
        return Err(Problem::from(DEADLINE_EXCEEDED).outcome(Outcome::None).into());
    }
    AnsiTransactionManager::begin_transaction_sql(conn, opening)
        .map_err(|error| with_outcome(error.into(), Outcome::None))?;
    let lost = if call.read_only {
        Outcome::None
    } else {
        Outcome::Unknown
    };
    match work(conn) {
        Ok(answer) => match AnsiTransactionManager::commit_transaction(conn) {
            Ok(()) => Ok(answer),
            Err(error) => Err(with_outcome(error.into(), lost)),
        },
        Err(error) => {
            // A connection that cannot even roll back is broken, and the pool discards it.
            if let Err(rollback) = AnsiTransactionManager::rollback_transaction(conn) {
                tracing::warn!(%rollback, "a transaction could not be rolled back; its connection is dropped");
            }
            match !call.read_only && is_read_only(&error) {
                true => Err(Problem::from(DATABASE_UNAVAILABLE).outcome(Outcome::None).into()),
                false => Err(with_outcome(error, lost)),
            }
        }
    }
}

/// Completes the 503 answers that trouble with the database earns.
fn with_outcome(error: Error, outcome: Outcome) -> Error {
    match error {
        Error::Refused(problem) if problem.kind().status == 503 && !problem.case().members.contains_key("outcome") => {
            Error::Refused(Box::new(problem.outcome(outcome)))
        }
        other => other,
    }
}

diesel::define_sql_function! {
    /// The transaction's instant: `transaction_timestamp()`, shifted in tests.
    fn app_now() -> diesel::sql_types::Timestamptz;
}

/// A transaction inside a workspace. Row-level security sees to it that no statement reaches beyond; there are no savepoints.
pub struct Tenant<'c> {
    conn: &'c mut PgConnection,
    scope: &'c Scope,
    now: Option<DateTime<Utc>>,
    rings: &'c mut Rings,
}

impl Tenant<'_> {
    /// The connection, for a `queries.rs`.
    pub fn conn(&mut self) -> &mut PgConnection {
        self.conn
    }

    /// Who acts, where, and how far they reach.
    pub fn scope(&self) -> &Scope {
        self.scope
    }

    /// The tenant.
    pub fn workspace(&self) -> WorkspaceId {
        self.scope.workspace()
    }

    /// The transaction's instant, the same as `app_now()` in SQL. The first call asks the database.
    ///
    /// # Errors
    /// 503 if the connection is lost.
    pub fn now(&mut self) -> Result<DateTime<Utc>> {
        instant(self.conn, &mut self.now)
    }

    /// Wakes whoever waits for this, once the transaction has committed.
    pub(in crate::kernel) fn wake(&mut self, signal: Signal) {
        self.rings.add(signal);
    }
}

/// A transaction outside of any workspace, as `app_kernel`.
pub struct Kernel<'c> {
    conn: &'c mut PgConnection,
    now: Option<DateTime<Utc>>,
    rings: &'c mut Rings,
}

impl Kernel<'_> {
    /// The connection, for a `queries.rs`.
    pub fn conn(&mut self) -> &mut PgConnection {
        self.conn
    }

    /// As [`Tenant::now`].
    ///
    /// # Errors
    /// 503 if the connection is lost.
    pub fn now(&mut self) -> Result<DateTime<Utc>> {
        instant(self.conn, &mut self.now)
    }

    /// Waits until no other transaction goes on under this number, and keeps others from it until the commit.
    ///
    /// # Errors
    /// 503 `overloaded` if that takes longer than a lock is waited for.
    pub(in crate::kernel) fn alone(&mut self, number: i64) -> Result<()> {
        Ok(alone::alone(self.conn, number)?)
    }

    /// As [`Tenant::wake`].
    pub(in crate::kernel) fn wake(&mut self, signal: Signal) {
        self.rings.add(signal);
    }
}

fn instant(conn: &mut PgConnection, known: &mut Option<DateTime<Utc>>) -> Result<DateTime<Utc>> {
    match known {
        Some(now) => Ok(*now),
        None => Ok(*known.insert(diesel::select(app_now()).get_result(conn)?)),
    }
}
