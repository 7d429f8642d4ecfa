//! Rows, inputs, answers and refusals of identity.

mod address;
mod inputs;
mod keys;
mod people;
mod preferences;
mod sessions;
mod tokens;

pub use address::Address;
pub use inputs::{Forgotten, Login, NewPassword, Proof, Registration, Renewal, Resend, Reset, StepUp, Transport};
pub use keys::{Algorithm, Discovery, Jwk, Jwks, KeyRow, KeyState, KnownKey, Use};
pub use people::{
    Me, MePatch, PlatformRole, SecurityEvent, SecurityEventFilters, SecurityEventPage, User, WorkspacePermissions,
};
pub use preferences::{Notices, Preferences, PreferencesPatch, Theme};
pub use sessions::{
    EndedSessions, Pending, PendingStatus, Session, SessionFilters, SessionList, SessionRow, SignIn, SignInStatus,
    SignedIn, SteppedUp, Verified, VerifiedStatus,
};
pub use tokens::{Act, Claims};

crate::problems! {
    /// This deployment takes no new accounts, or only by invitation.
    /// Cause: the operator lets in only those whom somebody invited, or nobody.
    /// Fix: ask somebody who is already here for an invitation.
    pub SIGN_UP_CLOSED = 403, "sign-up-closed", "Signing up is closed";
}
