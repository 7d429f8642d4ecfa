//! The states that a connection may be in when a statement arrives, and what each means to a table.

use super::{
    probes::Standing,
    seed::{A, B},
    shape::Line,
};

/// A reseller and a customer that own nothing.
pub const NOBODY: &str = "0c000000-0000-7000-8000-00000000000c";

/// One state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// A connection that nobody used before.
    Fresh,
    /// One whose last transaction was A's: the settings are empty now.
    After,
    /// All was said but whose it is: nothing else is there to be loud.
    WorkspaceUnset,
    /// A workspace that is no workspace.
    Garbage,
    /// B, whole.
    B,
    /// B, narrowed to a reseller that owns nothing.
    BReseller,
    /// B, where it was not said how far it reaches among resellers.
    BResellerUnset,
    /// B, narrowed to a customer that owns nothing.
    BCustomer,
    /// B, where it was not said how far it reaches among customers.
    BCustomerUnset,
}

impl Context {
    pub const ALL: [Context; 9] = [
        Context::Fresh,
        Context::After,
        Context::WorkspaceUnset,
        Context::Garbage,
        Context::B,
        Context::BReseller,
        Context::BResellerUnset,
        Context::BCustomer,
        Context::BCustomerUnset,
    ];

    /// What brings a new connection into this state and opens its transaction.
    pub fn opening(self) -> String {
        match self {
            Context::Fresh => "BEGIN".into(),
            Context::WorkspaceUnset => format!("BEGIN; {}", settings(&whole("")[1..])),
            Context::After => format!("BEGIN; {}; COMMIT; BEGIN", settings(&whole(A))),
            _ => format!("BEGIN; {}", self.inside()),
        }
    }

    /// The same, inside a transaction that is open.
    pub fn inside(self) -> String {
        let mut of_b = whole(B);
        match self {
            Context::Fresh | Context::After => return settings(&whole("").map(|(name, _)| (name, ""))),
            Context::WorkspaceUnset => return settings(&whole("")),
            Context::Garbage => return settings(&whole("garbage")),
            Context::B => {}
            Context::BReseller => of_b[2].1 = NOBODY,
            Context::BCustomer => of_b[3].1 = NOBODY,
            Context::BResellerUnset => return settings(&[of_b[0], of_b[1], of_b[3]]),
            Context::BCustomerUnset => return settings(&of_b[..3]),
        }
        settings(&of_b)
    }

    /// What it means to a table.
    pub fn standing(self, line: &Line) -> Standing {
        let (narrowing, said) = match self {
            Context::Fresh | Context::After | Context::WorkspaceUnset | Context::Garbage => return Standing::Nobody,
            Context::B => return Standing::Member,
            Context::BReseller => (&line.reseller, true),
            Context::BResellerUnset => (&line.reseller, false),
            Context::BCustomer => (&line.customer, true),
            Context::BCustomerUnset => (&line.customer, false),
        };
        match (narrowing.as_str(), said) {
            ("open", _) => Standing::Member,
            ("own", true) => Standing::OwnOnly,
            (_, true) => Standing::Narrowed,
            (_, false) => Standing::Unsaid,
        }
    }
}

/// The whole of a workspace, as the tenant door sets it.
fn whole(workspace: &'static str) -> [(&'static str, &'static str); 4] {
    [
        ("workspace", workspace),
        ("actor", "system:"),
        ("reseller", "none"),
        ("customer", "none"),
    ]
}

/// Sets these until the transaction ends.
fn settings(settings: &[(&str, &str)]) -> String {
    let calls: Vec<String> = settings
        .iter()
        .map(|(name, value)| format!("set_config('app.{name}', '{value}', true)"))
        .collect();
    format!("SELECT {}", calls.join(", "))
}

/// B, narrowed to one reseller or customer.
pub fn narrowed_to(who: &str, id: &'static str) -> String {
    let mut of_b = whole(B);
    of_b[if who == "reseller" { 2 } else { 3 }].1 = id;
    settings(&of_b)
}

/// A's own context.
pub fn of_a() -> String {
    settings(&whole(A))
}
