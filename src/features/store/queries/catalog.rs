//! Offers, prices, and the map between them.

use chrono::{DateTime, Utc};
use diesel::{PgArrayExpressionMethods, prelude::*, upsert::on_constraint};
use uuid::Uuid;

use crate::{
    features::{
        schema::billing::{offer_prices, offers, prices},
        store::model::{Mapped, NewOffer, Offer, OfferId, OnCancel, Price, PriceImage, QuantityAs},
    },
    kernel::{id::PriceId, inbox::ConnectionId},
};

/// Writes a price as Stripe has it.
pub(in crate::features::store) fn upsert_price(
    conn: &mut PgConnection,
    id: PriceId,
    seen: &PriceImage,
) -> QueryResult<Price> {
    diesel::insert_into(prices::table)
        .values((prices::id.eq(id), seen))
        .on_conflict(on_constraint("prices_stripe_price_id_key"))
        .do_update()
        .set((seen, prices::deleted_at.eq(None::<DateTime<Utc>>)))
        .returning(Price::as_returning())
        .get_result(conn)
}

/// Writes a price as Stripe has it, unless it is known.
pub(in crate::features::store) fn insert_price(
    conn: &mut PgConnection,
    id: PriceId,
    seen: &PriceImage,
) -> QueryResult<Option<Price>> {
    diesel::insert_into(prices::table)
        .values((prices::id.eq(id), seen))
        .on_conflict(on_constraint("prices_stripe_price_id_key"))
        .do_nothing()
        .returning(Price::as_returning())
        .get_result(conn)
        .optional()
}

/// Where a price is, and as what.
pub(in crate::features::store) fn place_of_price(
    conn: &mut PgConnection,
    id: PriceId,
) -> QueryResult<Option<(ConnectionId, String)>> {
    prices::table
        .filter(prices::id.eq(id))
        .select((prices::connection_id, prices::stripe_price_id))
        .first(conn)
        .optional()
}

/// Keeps a price's map as it is until the commit: who would change it waits, or was waited for.
pub(in crate::features::store) fn hold_map(
    conn: &mut PgConnection,
    connection: ConnectionId,
    stripe_id: &str,
) -> QueryResult<()> {
    prices::table
        .filter(prices::connection_id.eq(connection))
        .filter(prices::stripe_price_id.eq(stripe_id))
        .select(prices::id)
        .for_share()
        .first(conn)
        .optional()
        .map(|_: Option<PriceId>| ())
}

/// The version of a price that was seen before.
pub(in crate::features::store) fn price_version(
    conn: &mut PgConnection,
    connection: ConnectionId,
    stripe_id: &str,
) -> QueryResult<Option<i64>> {
    prices::table
        .filter(prices::connection_id.eq(connection))
        .filter(prices::stripe_price_id.eq(stripe_id))
        .select(prices::version)
        .first(conn)
        .optional()
}

/// Notes what the product of a price is called, where that was seen.
pub(in crate::features::store) fn name_product(conn: &mut PgConnection, id: PriceId, name: &str) -> QueryResult<usize> {
    diesel::update(prices::table.find(id))
        .set(prices::product_name.eq(name))
        .execute(conn)
}

/// Notes that Stripe no longer has a price.
pub(in crate::features::store) fn forget_price(
    conn: &mut PgConnection,
    connection: ConnectionId,
    stripe_id: &str,
    at: DateTime<Utc>,
) -> QueryResult<usize> {
    diesel::update(prices::table)
        .filter(prices::connection_id.eq(connection))
        .filter(prices::stripe_price_id.eq(stripe_id))
        .filter(prices::deleted_at.is_null())
        .set((prices::active.eq(false), prices::deleted_at.eq(at)))
        .execute(conn)
}

/// The offer that claims a lookup key. Of several, the oldest.
pub(in crate::features::store) fn offer_of_lookup_key(
    conn: &mut PgConnection,
    key: &str,
) -> QueryResult<Option<(OfferId, QuantityAs, OnCancel)>> {
    offers::table
        .filter(offers::lookup_keys.contains(vec![key.to_owned()]))
        .order(offers::id)
        .select((offers::id, offers::quantity_as, offers::on_cancel))
        .first(conn)
        .optional()
}

/// Maps a price to an offer, unless it is mapped already. True: it is new.
pub(in crate::features::store) fn map_price(
    conn: &mut PgConnection,
    price: PriceId,
    (offer, quantity_as, on_cancel): (OfferId, QuantityAs, OnCancel),
) -> QueryResult<bool> {
    let mapped = diesel::insert_into(offer_prices::table)
        .values((
            offer_prices::price_id.eq(price),
            offer_prices::offer_id.eq(offer),
            offer_prices::quantity_as.eq(quantity_as),
            offer_prices::on_cancel.eq(on_cancel),
        ))
        .on_conflict(on_constraint("offer_prices_pkey"))
        .do_nothing()
        .execute(conn)?;
    Ok(mapped > 0)
}

/// What a price sells.
pub(in crate::features::store) fn mapped(
    conn: &mut PgConnection,
    connection: ConnectionId,
    stripe_id: &str,
) -> QueryResult<Option<Mapped>> {
    offer_prices::table
        .inner_join(prices::table)
        .inner_join(offers::table)
        .filter(prices::connection_id.eq(connection))
        .filter(prices::stripe_price_id.eq(stripe_id))
        .select((offers::id, offers::policy_id, offers::line, offer_prices::on_cancel))
        .first(conn)
        .optional()
}

/// The policies of what these prices sell, in the order of their ids.
pub(in crate::features::store) fn policies_of<'p>(
    conn: &mut PgConnection,
    connection: ConnectionId,
    stripe_ids: impl IntoIterator<Item = &'p String>,
) -> QueryResult<Vec<Uuid>> {
    offer_prices::table
        .inner_join(prices::table)
        .inner_join(offers::table)
        .filter(prices::connection_id.eq(connection))
        .filter(prices::stripe_price_id.eq_any(stripe_ids))
        .order(offers::policy_id)
        .select(offers::policy_id)
        .distinct()
        .load(conn)
}

/// Makes an offer; one of that code stays as it is.
pub(in crate::features::store) fn insert_offer(conn: &mut PgConnection, new: &NewOffer<'_>) -> QueryResult<bool> {
    let made = diesel::insert_into(offers::table)
        .values(new)
        .on_conflict(on_constraint("offers_workspace_id_code_key"))
        .do_nothing()
        .execute(conn)?;
    Ok(made > 0)
}

/// Offers of a kind, the highest rank first.
pub(in crate::features::store) fn base_offers(conn: &mut PgConnection) -> QueryResult<Vec<Offer>> {
    offers::table
        .filter(offers::kind.eq("base"))
        .order((offers::rank.desc(), offers::id))
        .select(Offer::as_select())
        .load(conn)
}

/// The prices of an offer that can be bought, cheapest first.
pub(in crate::features::store) fn prices_of(conn: &mut PgConnection, offer: OfferId) -> QueryResult<Vec<Price>> {
    offer_prices::table
        .inner_join(prices::table)
        .filter(offer_prices::offer_id.eq(offer))
        .filter(prices::active.eq(true))
        .order((prices::currency, prices::unit_amount, prices::id))
        .select(Price::as_select())
        .load(conn)
}
