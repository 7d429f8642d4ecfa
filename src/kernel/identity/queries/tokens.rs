//! Links that work once.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use uuid::Uuid;

use crate::kernel::{db::Kernel, error::Result, id::UserId, schema::one_time_tokens::dsl};

/// A live link.
#[derive(Queryable)]
pub(in crate::kernel::identity) struct Link {
    pub(in crate::kernel::identity) id: Uuid,
    pub(in crate::kernel::identity) user: UserId,
}

/// Gives a person a link of this kind; one they had dies.
pub(in crate::kernel::identity) fn replace(
    tx: &mut Kernel<'_>,
    (id, kind, user): (Uuid, &'static str, UserId),
    subject: &[u8],
    token: &[u8],
    until: DateTime<Utc>,
) -> Result<()> {
    diesel::delete(
        dsl::one_time_tokens.filter(
            dsl::user_id
                .eq(user)
                .and(dsl::kind.eq(kind))
                .and(dsl::consumed_at.is_null()),
        ),
    )
    .execute(tx.conn())?;
    diesel::insert_into(dsl::one_time_tokens)
        .values((
            dsl::id.eq(id),
            dsl::kind.eq(kind),
            dsl::user_id.eq(user),
            dsl::subject_hash.eq(subject),
            dsl::token_hash.eq(token),
            dsl::expires_at.eq(until),
        ))
        .execute(tx.conn())?;
    Ok(())
}

/// The live link of this kind with this token.
pub(in crate::kernel::identity) fn find(
    tx: &mut Kernel<'_>,
    kind: &'static str,
    token: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<Link>> {
    Ok(dsl::one_time_tokens
        .filter(dsl::token_hash.eq(token).and(dsl::kind.eq(kind)))
        .filter(dsl::consumed_at.is_null().and(dsl::expires_at.gt(now)))
        .filter(dsl::user_id.is_not_null())
        .select((dsl::id, dsl::user_id.assume_not_null()))
        .first(tx.conn())
        .optional()?)
}

/// Uses a link up. True for the one caller that did.
pub(in crate::kernel::identity) fn consume(tx: &mut Kernel<'_>, id: Uuid, now: DateTime<Utc>) -> Result<bool> {
    let live = dsl::one_time_tokens
        .find(id)
        .filter(dsl::consumed_at.is_null().and(dsl::expires_at.gt(now)));
    Ok(diesel::update(live).set(dsl::consumed_at.eq(now)).execute(tx.conn())? == 1)
}

/// Ends every link that a person has.
pub(in crate::kernel::identity) fn end_all(tx: &mut Kernel<'_>, user: UserId) -> Result<()> {
    diesel::delete(dsl::one_time_tokens.filter(dsl::user_id.eq(user).and(dsl::consumed_at.is_null())))
        .execute(tx.conn())?;
    Ok(())
}
