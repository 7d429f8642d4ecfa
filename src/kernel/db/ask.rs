//! One question in one round trip.

use std::time::Instant;

use diesel::{
    PgConnection, QueryResult, RunQueryDsl,
    dsl::{AsSelect, Find, Select},
    pg::Pg,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    query_dsl::LoadQuery,
    sql_types::{Array, Nullable, Text},
};

use super::{Db, opening::in_force};
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
            Some(in_force(scope).to_string()),
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

/// A statement that reads a row by its key.
pub type ById<Table, T> = Select<Find<Table, uuid::Uuid>, AsSelect<T, Pg>>;

/// A statement that reads a row by its key, and enters the context itself: by its `LIMIT`, which PostgreSQL computes before it asks for the
/// first row (`recompute_limits` in `nodeLimit.c`). Row-level security looks at the context when that row is asked for. Were it ever the
/// other way round, there would be no workspace yet, and the statement would fail: it cannot read anybody else's.
#[derive(QueryId)]
pub struct Entered<Q> {
    row: Q,
    context: Context,
}

impl<Q: Query> Query for Entered<Q> {
    type SqlType = Q::SqlType;
}

impl<Q> RunQueryDsl<PgConnection> for Entered<Q> {}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Entered<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.row.walk_ast(out.reborrow())?;
        out.push_sql(" LIMIT enter(");
        out.push_bind_param::<Array<Nullable<Text>>, _>(&self.context.0)?;
        out.push_sql(")");
        Ok(())
    }
}

impl Db {
    /// Reads one row inside the scope's workspace, in one round trip instead of three. The statement finds it by its key and has no limit of
    /// its own.
    ///
    /// # Errors
    /// 404, and 503 with `outcome: none` when the database or the deadline fails.
    pub async fn one<T, Q>(&self, scope: impl Into<Scope>, row: Q) -> Result<T>
    where
        T: Send + 'static,
        Q: Send + 'static,
        Entered<Q>: for<'q> LoadQuery<'q, PgConnection, T> + RunQueryDsl<PgConnection>,
    {
        self.ask(scope, move |context| Entered { row, context }).await
    }

    /// Asks one question inside the scope's workspace, in one round trip instead of three. The question is an [`Entered`] statement, or
    /// the call of a SQL function that passes the context on to `enter(text[])` before it looks at any table: `LANGUAGE plpgsql`, invoker's
    /// rights, under the same policies as every other statement. One that does not enter reads nothing but an error, because row-level
    /// security knows no workspace then. What begins after `enter` can only read, and the statement that enters is a SELECT.
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
        let class = call.class;
        let pool = self.tenant.clone();
        let work = permit.work(move || {
            if call.time_left().is_zero() {
                return Err(Problem::from(DEADLINE_EXCEEDED).outcome(Outcome::None).into());
            }
            let mut link = pool.get()?;
            let answer = question(context).get_result(&mut link.conn);
            link.used = Instant::now();
            answer.map_err(|error| super::with_outcome(Error::from(error), Outcome::None))
        });
        super::work::answer(work, class, true).await
    }
}
