//! Callers of the operations of licences: the vendor, with a permission, or the customer's software, with the key itself.

use std::future::Ready;

use actix_web::{FromRequest, HttpRequest, dev::Payload};

use super::extract::with_caller;
use crate::kernel::{
    access::{Actor, Caller, Can, LICENSE_UNKNOWN, Needs, Scope},
    error::{Error, Result},
    id::LicenseId,
};

/// The customer's software. It acts inside the licence's workspace, and its licence is its own; what else it may, the policy says.
pub struct Software {
    scope: Scope,
    license: LicenseId,
    hash: [u8; 32],
}

impl Software {
    /// The licence whose key was shown.
    pub fn license(&self) -> LicenseId {
        self.license
    }

    /// SHA-256 of that key.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The scope that it opens.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}

impl From<Software> for Scope {
    fn from(software: Software) -> Scope {
        software.scope
    }
}

/// Proof that the caller has permission `P`, or holds a key that leads to a licence. The first argument of a handler, as [`Can`] is.
pub enum Holder<P> {
    /// Somebody of the vendor.
    Vendor(Can<P>),
    /// The customer's software.
    Software(Software),
}

impl<P: Needs> Holder<P> {
    fn of(caller: &Caller) -> Result<Holder<P>> {
        let access = caller.access.as_ref().map_err(Clone::clone)?;
        match (access.scope().actor(), caller.shown) {
            (Actor::License(license), Some(hash)) => Ok(Holder::Software(Software {
                scope: access.scope().clone(),
                license,
                hash,
            })),
            _ => Ok(Holder::Vendor(Can::from_access(access)?)),
        }
    }

    /// The scope that it opens.
    pub fn scope(&self) -> &Scope {
        match self {
            Holder::Vendor(can) => can.scope(),
            Holder::Software(software) => &software.scope,
        }
    }

    /// The software, if that is who calls.
    pub fn software(&self) -> Option<&Software> {
        match self {
            Holder::Vendor(_) => None,
            Holder::Software(software) => Some(software),
        }
    }
}

impl<P> From<Holder<P>> for Scope {
    fn from(holder: Holder<P>) -> Scope {
        match holder {
            Holder::Vendor(can) => can.into(),
            Holder::Software(software) => software.scope,
        }
    }
}

/// The same for validation, which answers whoever shows a licence key: one that leads nowhere is no refusal there.
pub enum AnyHolder<P> {
    /// One who is known.
    Known(Holder<P>),
    /// A key that leads nowhere.
    Unknown,
}

impl<P: Needs> FromRequest for Holder<P> {
    type Error = Error;
    type Future = Ready<Result<Holder<P>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        with_caller(request, Holder::of)
    }
}

impl<P: Needs> FromRequest for AnyHolder<P> {
    type Error = Error;
    type Future = Ready<Result<AnyHolder<P>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        with_caller(request, |caller| match Holder::of(caller) {
            Err(error) if error.is(LICENSE_UNKNOWN) => Ok(AnyHolder::Unknown),
            judged => judged.map(AnyHolder::Known),
        })
    }
}
