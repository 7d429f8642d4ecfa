//! Who may do what. A signature is a security review: a handler that takes `Can<perm::AgentsWrite>` cannot run without it, and
//! nothing else opens a transaction.

mod authors;
pub(in crate::kernel) mod doorkeeper;
mod permissions;
mod roles;
mod scope;

use std::{marker::PhantomData, sync::Arc};

pub use authors::{Author, Labels, labels};
pub use doorkeeper::{Credential, Doorkeeper, LICENSE_UNKNOWN, PROBLEMS};
pub use permissions::{Needs, Permission, PermissionSet, perm};
pub use roles::SystemRole;
pub use scope::{Actor, Call, Class, Reach, Scope, public_id};

use crate::kernel::{
    clock,
    entitlements::AccessLevel,
    error::{FORBIDDEN, PAYMENT_REQUIRED, Problem, SCOPE_MISSING},
    id::{ApiKeyId, SessionId, UserId},
};

/// What the front door found out about who asks. Either part may hold the refusal that asking for it earns.
pub struct Caller {
    /// The call itself.
    pub call: Arc<Call>,
    /// Who it is, whatever the workspace.
    pub person: Result<Person, Problem>,
    /// What they may do in the workspace that the request names.
    pub access: Result<Access, Problem>,
    /// SHA-256 of the licence key that was shown, if it is well-formed.
    pub shown: Option<[u8; 32]>,
}

impl Caller {
    /// Nobody who is known.
    fn refused(call: Arc<Call>, refusal: Problem, shown: Option<[u8; 32]>) -> Caller {
        Caller {
            call,
            person: Err(refusal.clone()),
            access: Err(refusal),
            shown,
        }
    }
}

/// Somebody who has signed in.
#[derive(Clone, Debug)]
pub struct Person {
    /// The account.
    pub user: UserId,
    /// The session, or the personal key that stands for it.
    pub via: Via,
    /// Who really acts, if a member of the operator's staff does.
    pub impersonator: Option<UserId>,
    /// The call that this is about.
    pub call: Arc<Call>,
}

/// What a person showed to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// An access token of this session, whose holder last proved who they are at this Unix time.
    Session { id: SessionId, auth_time: i64 },
    /// A personal API key.
    Key(ApiKeyId),
}

/// Admission to a workspace, and what it allows.
#[derive(Clone, Debug)]
pub struct Access {
    scope: Scope,
    granted: PermissionSet,
    /// What the owner of a key has and the key was not given: tells `scope-missing` from `forbidden`.
    withheld: PermissionSet,
}

impl Access {
    /// Made by whoever established the scope.
    pub(in crate::kernel) fn new(scope: Scope, granted: PermissionSet) -> Access {
        Access {
            scope,
            granted,
            withheld: PermissionSet::EMPTY,
        }
    }

    /// Narrows to what a key was given.
    pub(in crate::kernel) fn narrowed(self, to: PermissionSet) -> Access {
        Access {
            granted: if crate::leak!("key-scope-ignored") {
                self.granted
            } else {
                self.granted.and(to)
            },
            withheld: self.granted,
            ..self
        }
    }

    /// The mistake of asking for a resource's permission and taking any of them.
    fn leaks_by_resource(&self, permission: Permission) -> bool {
        let resource = |one: Permission| one.name().split(':').next();
        crate::leak!("wrong-permission") && self.granted.iter().any(|one| resource(one) == resource(permission))
    }

    /// The scope that was granted.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What may be done.
    pub fn granted(&self) -> PermissionSet {
        self.granted
    }

    /// True if the permission of that name is granted.
    pub fn allows(&self, name: &str) -> bool {
        Permission::named(name).is_some_and(|permission| self.granted.has(permission))
    }

    /// Refuses what a workspace may not do while it owes.
    fn paid_for(&self) -> Result<(), Problem> {
        match self.scope.plan().access {
            AccessLevel::ReadOnly if !self.scope.call().works_unpaid => Err(PAYMENT_REQUIRED
                .with("since", self.scope.plan().unpaid_since.map(clock::written))
                .link("portal_url", BILL)),
            AccessLevel::ReadOnly | AccessLevel::Full => Ok(()),
        }
    }

    /// The check. The refusal names what is missing.
    pub fn check(&self, permission: Permission) -> Result<(), Problem> {
        if self.granted.has(permission) || crate::leak!("no-check") || self.leaks_by_resource(permission) {
            return Ok(());
        }
        let kind = if self.withheld.has(permission) {
            SCOPE_MISSING
        } else {
            FORBIDDEN
        };
        Err(kind
            .because(format!("This needs the permission {}.", permission.name()))
            .with("required_permission", permission.name()))
    }
}

/// The bill of a workspace.
const BILL: &str = "/api/v1/billing";

/// Proof that the caller has permission `P` in a workspace. The first argument of a handler; it does no I/O, so it always answers first.
pub struct Can<P> {
    access: Access,
    permission: PhantomData<P>,
}

impl<P: Needs> Can<P> {
    /// The proof, if the caller has the permission.
    pub fn from_access(access: &Access) -> Result<Can<P>, Problem> {
        access.check(P::PERMISSION)?;
        access.paid_for()?;
        Ok(Can {
            access: access.clone(),
            permission: PhantomData,
        })
    }

    /// The scope that it opens.
    pub fn scope(&self) -> &Scope {
        &self.access.scope
    }

    /// Whether the caller has another permission as well.
    ///
    /// # Errors
    /// 403, which names it.
    pub fn also<Q: Needs>(&self) -> Result<(), Problem> {
        self.access.check(Q::PERMISSION)
    }

    /// Everything that the caller may do here.
    pub fn granted(&self) -> PermissionSet {
        self.access.granted
    }
}

impl<P> From<Can<P>> for Scope {
    fn from(can: Can<P>) -> Scope {
        can.access.scope
    }
}
