//! The sealed columns of connections.

use std::collections::{BTreeMap, BTreeSet};

use diesel::{ExpressionMethods, PgConnection, QueryDsl, QueryResult, RunQueryDsl};

use super::{ConnectionId, connections::place};
use crate::{
    kernel::{
        crypto::{Aad, Sealed},
        id::WorkspaceId,
        keks::{Column, Part},
        schema::stripe_connections,
    },
    sealed_column,
};

/// What the KEKs of connections wrap.
pub(in crate::kernel) const SEALED: [Part; 2] = [Part::of::<ApiKeys>(), Part::of::<SigningSecrets>()];

sealed_column!(
    ApiKeys, tenant, stripe_connections.key_sealed, (id: ConnectionId), (workspace_id: WorkspaceId),
    |(id,), (workspace,)| place(*workspace, *id, "key_sealed")
);

/// Several in a row, so that the database does not look into them. A workspace has very few connections: all are looked at at once.
struct SigningSecrets;

impl Column for SigningSecrets {
    const TABLE: &'static str = "stripe_connections";
    const COLUMN: &'static str = "webhook_secrets_sealed";
    const OF_WORKSPACES: bool = true;
    type Key = (ConnectionId, WorkspaceId);
    type Record = Vec<Sealed>;

    fn others(
        conn: &mut PgConnection,
        current: &str,
        after: Option<&Self::Key>,
        _most: i64,
    ) -> QueryResult<Vec<(Self::Key, Self::Record)>> {
        let first = after.map_or(ConnectionId::nil(), |(id, _)| *id);
        let found: Vec<(Self::Key, Self::Record)> = stripe_connections::table
            .filter(stripe_connections::id.gt(first))
            .order(stripe_connections::id)
            .select((
                (stripe_connections::id, stripe_connections::workspace_id),
                stripe_connections::webhook_secrets_sealed,
            ))
            .for_no_key_update()
            .skip_locked()
            .load(conn)?;
        let other = |secret: &Sealed| secret.kek() != Some(current);
        Ok(found
            .into_iter()
            .filter(|(_, secrets)| secrets.iter().any(other))
            .collect())
    }

    fn put(conn: &mut PgConnection, (id, _): &Self::Key, old: &Self::Record, new: &Self::Record) -> QueryResult<usize> {
        let row = stripe_connections::table
            .filter(stripe_connections::id.eq(id))
            .filter(stripe_connections::webhook_secrets_sealed.eq(old));
        diesel::update(row)
            .set(stripe_connections::webhook_secrets_sealed.eq(new))
            .execute(conn)
    }

    fn place((id, workspace): &Self::Key) -> Aad {
        place(*workspace, *id, Self::COLUMN)
    }

    fn count(conn: &mut PgConnection) -> QueryResult<Vec<(String, i64)>> {
        let rows: Vec<Vec<Sealed>> = stripe_connections::table
            .select(stripe_connections::webhook_secrets_sealed)
            .load(conn)?;
        let mut counted = BTreeMap::new();
        for secrets in rows {
            let keks: BTreeSet<&str> = secrets.iter().map(|one| one.kek().unwrap_or_default()).collect();
            for kek in keks {
                *counted.entry(kek.to_owned()).or_default() += 1;
            }
        }
        Ok(counted.into_iter().collect())
    }
}
