//! Which account a key opens.

use super::Looker;
use crate::kernel::stripe::{Account, Patience};

/// The operator's own account; `None` where no key is configured.
pub(super) fn platform(looker: &Looker) -> Option<Account> {
    let key = looker.secrets.platform.clone()?;
    Some(looker.stripe.account(key, Patience::Job))
}
