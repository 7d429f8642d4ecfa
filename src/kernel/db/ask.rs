//! One question in one round trip.

use std::time::Instant;

use diesel::{PgConnection, RunQueryDsl, query_dsl::LoadQuery};

use super::Db;
use crate::kernel::{
    access::Scope,
    clock::Clock,
    error::{DEADLINE_EXCEEDED, Error, Outcome, Problem, Result},
};

/// What the SQL function `enter(text[])` makes a transaction's context of: workspace, actor, reseller, customer, and how far a fake
/// clock is ahead. Made of a scope only.
pub struct Context(Vec<Option<String>>);

impl Context {
    fn of(scope: &Scope, clock: &Clock) -> Context {
        let (actor, reach) = (scope.actor(), scope.reach());
        let id = |id: Option<uuid::Uuid>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        let offset = clock.offset().num_milliseconds();
        Context(vec![
            Some(scope.workspace().uuid().to_string()),
            Some(format!(
                "{}:{}",
                actor.kind(),
                actor.uuid().map(|id| id.to_string()).unwrap_or_default()
            )),
            Some(id(reach.reseller.map(|id| id.uuid()))),
            Some(id(reach.customer.map(|id| id.uuid()))),
            (offset != 0).then(|| format!("{offset} milliseconds")),
        ])
    }

    /// For the function's first argument.
    pub fn into_array(self) -> Vec<Option<String>> {
        self.0
    }
}

impl Db {
    /// Asks one question inside the scope's workspace, in one round trip instead of three. The question is the call of a SQL function that
    /// passes the context on to `enter(text[])` before it looks at any table: `LANGUAGE plpgsql`, invoker's rights, under the same policies
    /// as every other statement. One that does not enter reads nothing but an error, because row-level security knows no workspace
    /// then; and none can write.
    ///
    /// # Errors
    /// 503 with `outcome: none` when the database or the deadline fails.
    pub async fn ask<T, Q>(
        &self,
        scope: impl Into<Scope>,
        question: impl FnOnce(Context) -> Q + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        Q: for<'q> LoadQuery<'q, PgConnection, T> + RunQueryDsl<PgConnection>,
    {
        let scope = scope.into();
        let call = scope.call().clone();
        let context = Context::of(&scope, &self.clock);
        let permit = self.gate.enter(&call, Some(scope.workspace())).await?;
        let pool = self.tenant.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _held = permit;
            if call.time_left().is_zero() {
                return Err(Problem::from(DEADLINE_EXCEEDED).outcome(Outcome::None).into());
            }
            let mut link = pool.get()?;
            let answer = question(context).get_result(&mut link.conn);
            link.used = Instant::now();
            answer.map_err(|error| super::with_outcome(Error::from(error), Outcome::None))
        });
        match task.await {
            Ok(answer) => answer,
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Problem::from(DEADLINE_EXCEEDED).outcome(Outcome::None).into()),
            },
        }
    }
}
