//! A column in which sealed records stand: how its rows are gone through, moved and counted. Whoever owns a column describes it with
//! [`sealed_column!`](crate::sealed_column), beside the function that says where its records stand.

use std::{fmt::Debug, future::Future, pin::Pin};

use diesel::{PgConnection, QueryResult};

use super::rewrap::{Work, pass};
use crate::kernel::{
    crypto::{Aad, Keyring, Sealed, Unreadable},
    error::Result,
    id::WorkspaceId,
};

diesel::define_sql_function! {
    /// The id of the KEK that wraps a sealed record; empty for what is none.
    fn kek_of(sealed: diesel::sql_types::Nullable<diesel::sql_types::Binary>) -> diesel::sql_types::Nullable<diesel::sql_types::Text>;
}

/// How many records are under each KEK.
pub type Counted = Vec<(String, i64)>;

/// What a row holds in such a column.
pub trait Record: Sized + Send + 'static {
    /// The same under the current KEK; `None` if it already is.
    ///
    /// # Errors
    /// It does not open where it stands.
    fn rewrapped(&self, keyring: &Keyring, place: &Aad) -> Result<Option<Self>, Unreadable>;
}

impl Record for Sealed {
    fn rewrapped(&self, keyring: &Keyring, place: &Aad) -> Result<Option<Sealed>, Unreadable> {
        keyring.rewrap(place, self)
    }
}

/// Several in one row, all of the same place.
impl Record for Vec<Sealed> {
    fn rewrapped(&self, keyring: &Keyring, place: &Aad) -> Result<Option<Vec<Sealed>>, Unreadable> {
        let moved = self.iter().map(|one| keyring.rewrap(place, one));
        let moved: Vec<Option<Sealed>> = moved.collect::<Result<_, _>>()?;
        if moved.iter().all(Option::is_none) {
            return Ok(None);
        }
        let all = moved.into_iter().zip(self);
        Ok(Some(
            all.map(|(moved, one)| moved.unwrap_or_else(|| one.clone())).collect(),
        ))
    }
}

/// A column of sealed records.
pub trait Column: 'static {
    /// Its table.
    const TABLE: &'static str;
    /// Its name.
    const COLUMN: &'static str;
    /// Whether its rows are a workspace's, behind row-level security.
    const OF_WORKSPACES: bool;
    /// What finds a row, and what else says where its record stands.
    type Key: Clone + Debug + Send + 'static;
    /// What a row holds.
    type Record: Record;

    /// Some rows that are not under `current`, in the order of their keys, from behind one of them; held until the transaction ends. Those
    /// that somebody else holds are passed over: nobody waits for whom, so nobody is in anybody's way.
    fn others(
        conn: &mut PgConnection,
        current: &str,
        after: Option<&Self::Key>,
        most: i64,
    ) -> QueryResult<Vec<(Self::Key, Self::Record)>>;

    /// Puts a record in the place of the one that was read. Anything else that stands there meanwhile stays.
    fn put(conn: &mut PgConnection, key: &Self::Key, old: &Self::Record, new: &Self::Record) -> QueryResult<usize>;

    /// Where the record of a row stands.
    fn place(key: &Self::Key) -> Aad;

    /// How many records are under each KEK.
    fn count(conn: &mut PgConnection) -> QueryResult<Counted>;
}

type Passing = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// A column of sealed records, whichever it is.
#[derive(Clone, Copy)]
pub struct Part {
    /// Its table.
    pub table: &'static str,
    /// Its name.
    pub column: &'static str,
    /// Whether its rows are a workspace's.
    pub of_workspaces: bool,
    pub(super) pass: fn(Work, Option<WorkspaceId>) -> Passing,
    count: fn(&mut PgConnection) -> QueryResult<Counted>,
}

impl Part {
    /// This column.
    pub const fn of<C: Column>() -> Part {
        Part {
            table: C::TABLE,
            column: C::COLUMN,
            of_workspaces: C::OF_WORKSPACES,
            pass: |work, workspace| Box::pin(pass::<C>(work, workspace)),
            count: C::count,
        }
    }

    /// As operators know it: `sessions.refresh_key_sealed`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.table, self.column)
    }
}

/// KEK, column and number of records, as far as the connection sees.
pub(super) fn count(conn: &mut PgConnection, parts: &[Part]) -> Result<Vec<(String, String, i64)>> {
    let mut counted = Vec::new();
    for part in parts {
        for (kek, rows) in (part.count)(conn)? {
            counted.push((kek, part.name(), rows));
        }
    }
    Ok(counted)
}

/// Describes a column of sealed records: whose it is (`kernel`, or `tenant` for rows of workspaces), table and column (and the one that
/// names the KEK once more), the columns that find a row, those that are needed beside them to say where its record stands, and the place itself.
///
/// ```text
/// sealed_column!(Secrets, tenant, webhook_secrets.secret_sealed, (endpoint_id: EndpointId, kid: Uuid), (workspace_id: WorkspaceId),
///                |(_, kid), (workspace,)| secret_place(*workspace, *kid));
/// ```
#[macro_export]
macro_rules! sealed_column {
    ($name:ident, $door:ident, $table:ident.$column:ident $(and $kek:ident)?, ($($key:ident: $kind:ty),+), ($($more:ident: $other:ty),*),
     |$keys:pat_param, $mores:pat_param| $place:expr) => {
        struct $name;

        impl $crate::kernel::keks::Column for $name {
            const TABLE: &'static str = stringify!($table);
            const COLUMN: &'static str = stringify!($column);
            const OF_WORKSPACES: bool = $crate::of_workspaces!($door);
            type Key = (($($kind,)+), ($($other,)*));
            type Record = $crate::kernel::crypto::Sealed;

            fn others(
                conn: &mut diesel::PgConnection,
                current: &str,
                after: Option<&Self::Key>,
                most: i64,
            ) -> diesel::QueryResult<Vec<(Self::Key, Self::Record)>> {
                use diesel::{ExpressionMethods as _, NullableExpressionMethods as _, QueryDsl as _, RunQueryDsl as _};
                let rows = $table::table
                    .filter($crate::kernel::keks::kek_of($table::$column.nullable()).ne(current))
                    .order(($($table::$key,)+))
                    .limit(most)
                    .select(($($table::$key,)+ $($table::$more,)* $table::$column.nullable()))
                    .for_no_key_update()
                    .skip_locked();
                type Row = ($($kind,)+ $($other,)* Option<$crate::kernel::crypto::Sealed>);
                let found: Vec<Row> = match after {
                    None => rows.load(conn)?,
                    Some((($($key,)+), _)) => rows.filter($crate::beyond!($table, $($key),+)).load(conn)?,
                };
                let row = |($($key,)+ $($more,)* sealed): Row| sealed.map(|sealed| ((($($key,)+), ($($more,)*)), sealed));
                Ok(found.into_iter().filter_map(row).collect())
            }

            fn put(
                conn: &mut diesel::PgConnection,
                (($($key,)+), _): &Self::Key,
                old: &Self::Record,
                new: &Self::Record,
            ) -> diesel::QueryResult<usize> {
                use diesel::{ExpressionMethods as _, QueryDsl as _, RunQueryDsl as _};
                let row = $table::table$(.filter($table::$key.eq($key)))+.filter($table::$column.eq(old));
                diesel::update(row)
                    .set(($table::$column.eq(new), $($table::$kek.eq(new.kek().unwrap_or_default()),)?))
                    .execute(conn)
            }

            fn place(($keys, $mores): &Self::Key) -> $crate::kernel::crypto::Aad {
                $place
            }

            fn count(conn: &mut diesel::PgConnection) -> diesel::QueryResult<Vec<(String, i64)>> {
                use diesel::{ExpressionMethods as _, NullableExpressionMethods as _, QueryDsl as _, RunQueryDsl as _};
                let kek = || $crate::kernel::keks::kek_of($table::$column.nullable());
                let keks: Vec<Option<String>> = $table::table.select(kek()).distinct().load(conn)?;
                let count = |id: String| {
                    let rows = $table::table.filter(kek().eq(&id)).count().get_result(conn)?;
                    Ok((id, rows))
                };
                keks.into_iter().flatten().map(count).collect()
            }
        }
    };
}

/// Whether a column's rows are a workspace's.
#[macro_export]
macro_rules! of_workspaces {
    (kernel) => {
        false
    };
    (tenant) => {
        true
    };
}

/// Rows behind one, in the order of these columns: each compared with the variable of its name.
#[macro_export]
macro_rules! beyond {
    ($table:ident, $last:ident) => {
        $table::$last.gt($last)
    };
    ($table:ident, $first:ident, $($rest:ident),+) => {{
        use diesel::BoolExpressionMethods as _;
        $table::$first
            .ge($first)
            .and($table::$first.gt($first).or($crate::beyond!($table, $($rest),+)))
    }};
}
