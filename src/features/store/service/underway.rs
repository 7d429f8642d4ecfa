//! Access while money is on its way: Stripe calls a subscription `active` while its invoice is open and not yet due.

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::{access, fulfil::SLACK};
use crate::{
    features::store::{
        model::Subscription,
        queries::{self, OpenInvoice},
    },
    kernel::{db::Tenant, error::Result},
};

/// So long may a bank debit be under way.
const DEBIT: Duration = Duration::days(14);
/// What the bridge to an open invoice is called, before the invoice's id: it goes when the invoice is paid, void or written off.
const OPEN: &str = "open:";
/// What the bridge over a period is called for which nothing is collected. It lasts, for Stripe never asks for that period again.
const PAUSED: &str = "paused:";

/// Lets what an active subscription bought live until its open invoices must be paid, and takes back what bridged an invoice that is open
/// no longer. Before anything was paid there is nothing to bridge: that would be access before money.
pub(super) fn bridge(tx: &mut Tenant<'_>, row: &Subscription, licenses: impl Iterator<Item = Uuid>) -> Result<()> {
    let wanted = match queries::has_paid(tx.conn(), row.id)? {
        true => wanted(tx, row)?,
        false => Vec::new(),
    };
    for license in licenses {
        for (bridge, until) in &wanted {
            access::prolong(tx, license, *until, bridge)?;
        }
        access::take_back_all(tx, license, |bridge| {
            bridge.starts_with(OPEN) && wanted.iter().all(|(wanted, _)| wanted != bridge)
        })?;
    }
    Ok(())
}

/// What is over has nothing left to wait for.
pub(super) fn end(tx: &mut Tenant<'_>, license: Uuid) -> Result<()> {
    access::take_back_all(tx, license, |bridge| {
        bridge.starts_with(OPEN) || bridge.starts_with(PAUSED)
    })
}

/// The bridges that a subscription needs at this moment, and their ends. An end that moves makes another bridge.
fn wanted(tx: &mut Tenant<'_>, row: &Subscription) -> Result<Vec<(String, DateTime<Utc>)>> {
    let now = tx.now()?;
    let open = queries::open_invoices(tx.conn(), row.id)?;
    let open = open
        .iter()
        .filter_map(|invoice| Some((format!("{OPEN}{}", invoice.id), last_day(invoice)?)));
    let paused = queries::paused_until(tx.conn(), row.id)?.map(|end| (format!("{PAUSED}{}", row.id), end));
    let ends = open.chain(paused).map(|(name, end)| (name, end + SLACK));
    Ok(ends
        .filter(|(_, end)| *end > now)
        .map(|(name, end)| (format!("{name}:{}", end.timestamp()), end))
        .collect())
}

/// When the money of an open invoice is there, or missing: it is due, a debit is settled, or the next attempt is made. `None`: nobody is
/// about to pay it.
fn last_day(invoice: &OpenInvoice) -> Option<DateTime<Utc>> {
    let settled = invoice.debited_at.map(|at| at + DEBIT);
    [invoice.due_at, invoice.next_payment_attempt_at, settled]
        .into_iter()
        .flatten()
        .max()
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;
    use crate::features::store::model::InvoiceId;

    #[test]
    fn an_invoice_is_waited_for_as_long_as_somebody_is_about_to_pay_it() {
        let day = |day: u32| Utc.with_ymd_and_hms(2026, 11, day, 0, 0, 0).unwrap();
        for (due, attempt, debited, last) in [
            (None, None, None, None),
            (Some(day(20)), None, None, Some(day(20))),
            (None, Some(day(3)), None, Some(day(3))),
            (None, None, Some(day(2)), Some(day(16))),
            (Some(day(20)), None, Some(day(10)), Some(day(24))),
        ] {
            let invoice = OpenInvoice {
                id: InvoiceId::nil(),
                due_at: due,
                next_payment_attempt_at: attempt,
                debited_at: debited,
            };
            assert_eq!(last_day(&invoice), last);
        }
    }
}
