//! The road from a workspace to the operator's side of its bill.

use super::service::customer_of;
use crate::kernel::{
    access::{Actor, Can, Needs, Reach, Scope, perm},
    db::Db,
    entitlements::Plan,
    error::Result,
    id::WorkspaceId,
};

/// Permissions that open a workspace's own bill.
pub trait OpensBill: Needs {}
impl OpensBill for perm::BillingRead {}
impl OpensBill for perm::BillingManage {}

/// A scope in `platform`, as the customer that the workspace is there: the database narrows it to that customer's rows. `None`: the
/// operator does not know the workspace yet.
///
/// # Errors
/// The database's.
pub async fn buyer<P: OpensBill>(db: &Db, can: &Can<P>) -> Result<Option<Scope>> {
    let Some(customer) = customer_of(db, can.scope()).await? else {
        return Ok(None);
    };
    let reach = Reach {
        reseller: None,
        customer: Some(customer),
    };
    let plan = std::sync::Arc::new(Plan::unlimited());
    let call = can.scope().call().clone();
    Ok(Some(Scope::grant(
        WorkspaceId::PLATFORM,
        Actor::Customer(customer),
        reach,
        plan,
        call,
    )))
}
