//! What money does to licences. Every verb of licensing that the store uses is called here, and nowhere else.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Goods, decide::Hold};
use crate::{
    features::{
        customers::{self, NewCustomer},
        licenses::{self, HoldReason, Issue, LICENSE_NOT_USABLE, License, NewHold, Renewal, RenewalTerm, Status, Via},
        machines::{self, FINGERPRINT_TAKEN, MACHINE_LIMIT_REACHED, NewMachine},
        policies::{self, PolicyId},
        store::queries,
    },
    kernel::{
        db::Tenant,
        error::{Error, Result},
        id::{CustomerId, Id, LicenseId, WorkspaceId},
        secret::{Token, TokenKind},
    },
};

/// The customer that a workspace is of the operator, made if there is none.
pub(super) fn customer_of_workspace(
    tx: &mut Tenant<'_>,
    workspace: WorkspaceId,
    name: Option<String>,
) -> Result<CustomerId> {
    let key = workspace.to_string();
    if let Some((known, _)) = queries::customer_named(tx.conn(), &key)? {
        return Ok(known);
    }
    let new = NewCustomer {
        name,
        external_id: Some(key),
        ..NewCustomer::default()
    };
    Ok(customers::create(tx, &new)?.id)
}

/// What a licence is made for: the sale that it comes from, where its own term ends, and until when which sales pay for it. The term is
/// what was paid and nothing else: each payment prolongs it, and each refund takes its own part back.
pub(super) struct Paid {
    source: Option<String>,
    term_ends_at: DateTime<Utc>,
    periods: Vec<(String, DateTime<Utc>)>,
}

impl Paid {
    /// One sale, that pays from now until then.
    pub(super) fn new(now: DateTime<Utc>, until: DateTime<Utc>, sale: &str) -> Paid {
        Paid {
            source: Some(sale.to_owned()),
            term_ends_at: now,
            periods: vec![(sale.to_owned(), until)],
        }
    }
}

/// What came of making the buyer's workspace a machine of a licence.
pub(super) enum Seat {
    /// It is one, or needs not be.
    Taken,
    /// The licence's own rules are against it: that is the seller's to mend, and everything else stands.
    Refused(Error),
}

/// Makes a licence for what was paid. In `platform` the buyer's workspace becomes its machine: that is how it holds a plan. What was paid is
/// always made, whatever the seller's own plan says.
pub(super) fn issue(tx: &mut Tenant<'_>, goods: &Goods<'_>, policy: Uuid, paid: &Paid) -> Result<(Uuid, Seat)> {
    let wanted = Issue {
        customer: Some(goods.customer),
        expires_at: Some(paid.term_ends_at),
        source_ref: paid.source.clone(),
        ..Issue::by(PolicyId::from_uuid(policy), Via::Payment)
    };
    let key = Token::mint(TokenKind::LicenseKey, goods.means.key_mode);
    let license = licenses::issue(tx, &wanted, &key)?.license.id;
    for (sale, until) in &paid.periods {
        renew(tx, license, *until, sale)?;
    }
    let seat = seat(tx, goods, license.uuid())?;
    Ok((license.uuid(), seat))
}

/// Keeps a policy as it is until the commit.
pub(super) fn hold_policy(tx: &mut Tenant<'_>, policy: Uuid) -> Result<()> {
    policies::hold(tx, PolicyId::from_uuid(policy)).map(drop)
}

fn renew(tx: &mut Tenant<'_>, license: LicenseId, until: DateTime<Utc>, sale: &str) -> Result<License> {
    let renewal = Renewal {
        term: RenewalTerm::Until(until),
        reference: sale.to_owned(),
    };
    licenses::renew(tx, license, &renewal)
}

/// Makes the buyer's workspace a machine of the licence, in `platform`. Where what was paid is over already, nothing is held by it, and the
/// payment that brings it back comes here again.
pub(super) fn seat(tx: &mut Tenant<'_>, goods: &Goods<'_>, license: Uuid) -> Result<Seat> {
    let known = licenses::hold(tx, Id::from_uuid(license))?;
    if matches!(known.status, Status::Expired | Status::Suspended | Status::Revoked) {
        return Ok(Seat::Taken);
    }
    let license = known.id;
    let Some(pepper) = goods.means.pepper else {
        return Ok(Seat::Taken);
    };
    let Some(workspace) = customers::get(tx, goods.customer)?.external_id else {
        return Ok(Seat::Taken);
    };
    let fingerprint = format!("workspace:{workspace}");
    let hash = machines::fingerprint(pepper, &fingerprint);
    let machine = NewMachine {
        fingerprint,
        external_id: Some(workspace),
        ..NewMachine::default()
    };
    // Each of these is said before anything is written, or after it was taken back.
    let refusals = [FINGERPRINT_TAKEN, LICENSE_NOT_USABLE, MACHINE_LIMIT_REACHED];
    match machines::activate(tx, license, &machine, hash) {
        Ok(_) => Ok(Seat::Taken),
        Err(error) if refusals.iter().any(|kind| error.is(*kind)) => Ok(Seat::Refused(error)),
        Err(error) => Err(error),
    }
}

/// Prolongs a licence for what was paid. One that was revoked ended for good: nothing is prolonged.
pub(super) fn prolong(tx: &mut Tenant<'_>, license: Uuid, until: DateTime<Utc>, sale: &str) -> Result<()> {
    if !is_revoked(tx, license)? {
        renew(tx, Id::from_uuid(license), until, sale)?;
    }
    Ok(())
}

/// Whether a licence ended for good. What follows from that is done before anybody else changes it.
pub(super) fn is_revoked(tx: &mut Tenant<'_>, license: Uuid) -> Result<bool> {
    Ok(licenses::hold(tx, Id::from_uuid(license))?.status == Status::Revoked)
}

/// Takes back one prolongation.
pub(super) fn take_back(tx: &mut Tenant<'_>, license: Uuid, sale: &str) -> Result<()> {
    licenses::reverse_renewal(tx, Id::from_uuid(license), sale)?;
    Ok(())
}

/// Takes back every prolongation that stands and is called so. What ended for good stays as it is.
pub(super) fn take_back_all(tx: &mut Tenant<'_>, license: Uuid, called: impl Fn(&str) -> bool) -> Result<()> {
    for (reference, _) in licenses::renewals(tx, Id::from_uuid(license))? {
        if called(&reference) && !is_revoked(tx, license)? {
            take_back(tx, license, &reference)?;
        }
    }
    Ok(())
}

/// Gives the buyer another policy for the rest of what was paid. The new licence takes the place of the old one, machine and all.
pub(super) fn transfer(tx: &mut Tenant<'_>, goods: &Goods<'_>, license: Uuid, policy: Uuid) -> Result<Option<Uuid>> {
    if licenses::row_of(tx, Id::from_uuid(license))?.policy_id.uuid() == policy {
        return Ok(None);
    }
    // Who places a hold at this moment is waited for: it would be deleted with the licence.
    let old = licenses::hold(tx, Id::from_uuid(license))?;
    if old.status == Status::Revoked {
        return Ok(None);
    }
    // Whatever else holds it stays with it: another price is no way around a dispute or an abuse.
    let money = |held: HoldReason| matches!(held, HoldReason::Payment | HoldReason::PaymentMethod);
    if !old.reasons().all(money) {
        tracing::error!(license = %old.id, "a held licence's price changed: it stays as it is until the hold is lifted");
        return Ok(None);
    }
    // Each sale goes over by its own name, so that it can still be taken back.
    let now = tx.now()?;
    let paid = Paid {
        source: old.source_ref,
        term_ends_at: licenses::row_of(tx, old.id)?.term_ends_at.unwrap_or(now).max(now),
        periods: licenses::renewals(tx, old.id)?,
    };
    licenses::revoke(tx, old.id)?;
    match issue(tx, goods, policy, &paid)? {
        (fresh, Seat::Taken) => Ok(Some(fresh)),
        // The old one is better than none: nothing of this look stands.
        (_, Seat::Refused(error)) => Err(error),
    }
}

/// Holds a licence for money. A hold that is there stays as it is.
pub(super) fn hold(tx: &mut Tenant<'_>, license: Uuid, hold: Hold, subscription: &str) -> Result<()> {
    let id: LicenseId = Id::from_uuid(license);
    if !is_revoked(tx, license)? {
        let new = NewHold {
            reference: subscription.to_owned(),
            ..NewHold::new(reason(hold))
        };
        licenses::place(tx, id, &new)?;
    }
    Ok(())
}

/// Lifts a hold for money, and nothing else: a payment never undoes what was held for fraud.
pub(super) fn lift(tx: &mut Tenant<'_>, license: Uuid, hold: Hold, subscription: &str) -> Result<()> {
    let id: LicenseId = Id::from_uuid(license);
    let held = licenses::get(tx, id)?.reasons().any(|one| one == reason(hold));
    if held && !is_revoked(tx, license)? {
        licenses::lift(tx, id, reason(hold), subscription)?;
    }
    Ok(())
}

const fn reason(hold: Hold) -> HoldReason {
    match hold {
        Hold::Payment => HoldReason::Payment,
        Hold::PaymentMethod => HoldReason::PaymentMethod,
    }
}

/// Ends what was paid for: at once, or when what was paid is over. Ending twice changes nothing.
pub(super) fn end(tx: &mut Tenant<'_>, license: Uuid, at: DateTime<Utc>, paid: Option<&str>) -> Result<()> {
    let known = licenses::hold(tx, Id::from_uuid(license))?;
    if known.status == Status::Revoked {
        return Ok(());
    }
    let last = paid.filter(|_| tx.now().is_ok_and(|now| at > now));
    let Some(sale) = last else {
        licenses::revoke(tx, known.id)?;
        return Ok(());
    };
    // The day that bridges late invoices goes: nothing outlives a cancellation.
    licenses::reverse_renewal(tx, known.id, sale)?;
    renew(tx, known.id, at, &format!("{sale}:end"))?;
    Ok(())
}
