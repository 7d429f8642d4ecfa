//! Everything that a verdict stands on, as the database answers it in one row.

use chrono::{DateTime, Utc};
use diesel::{
    deserialize::{self, FromSql, FromSqlRow},
    pg::{Pg, PgValue},
    sql_types::{Array, Bool, Integer, Jsonb as JsonbSql, Nullable, Record, Text, Timestamptz, Uuid},
};

use super::{HoldReason, MachineId, State};
use crate::{
    features::{
        policies::{Heartbeat, PolicyId, Terms},
        products::ProductId,
    },
    kernel::{
        check::Metadata,
        id::{CustomerId, LicenseId, ResellerId},
        jsonb::Jsonb,
    },
};

/// Which licence is asked about, and which of its machines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Question {
    /// By the hash of its key …
    pub hash: Option<[u8; 32]>,
    /// … or by its id.
    pub license: Option<LicenseId>,
    /// The machine, by its id …
    pub machine: Option<MachineId>,
    /// … or by the HMAC of its fingerprint. With both, whether they agree.
    pub fingerprint: Option<[u8; 32]>,
}

/// Everything that a verdict on one licence stands on, of one instant.
#[derive(Clone, Debug, FromSqlRow)]
pub struct Facts {
    pub license: LicenseId,
    pub product: ProductId,
    pub policy: PolicyId,
    pub customer: Option<CustomerId>,
    pub reseller: Option<ResellerId>,
    pub state: State,
    pub terms: Terms,
    pub starts_at: Option<DateTime<Utc>>,
    pub started_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    pub last_validated_at: Option<DateTime<Utc>>,
    pub activated_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub public_metadata: Metadata,
    /// Of the key that was shown: alive, and until when; `None` when asked by the licence's id.
    pub key: Option<KeyFacts>,
    pub holds: Vec<HoldReason>,
    pub customer_banned: bool,
    /// The workspace is suspended for abuse.
    pub vendor_barred: bool,
    pub machines: i32,
    pub cores: i32,
    pub memory_mb: i32,
    pub disk_mb: i32,
    /// The machine that was asked about, if it is one of the licence's.
    pub machine: Option<MachineFacts>,
    /// The transaction's instant.
    pub now: DateTime<Utc>,
}

/// What a key is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFacts {
    /// The licence's key.
    Current,
    /// The key before, until then.
    Overlapping(DateTime<Utc>),
    /// Rotated away or revoked.
    Dead,
}

/// A machine as a verdict needs it.
#[derive(Clone, Debug)]
pub struct MachineFacts {
    pub id: MachineId,
    /// It gave no sign of life, and was found out.
    pub dead: bool,
    pub generation: i32,
    /// When the next sign of life is due; `None` also where the policy asks for none any more.
    pub due_at: Option<DateTime<Utc>>,
    /// Whether it has the fingerprint that was asked, if one was.
    pub matches: Option<bool>,
}

/// The columns of the SQL type `license_facts`.
pub type FactsSql = (
    Uuid,
    Uuid,
    Uuid,
    Nullable<Uuid>,
    Nullable<Uuid>,
    Text,
    JsonbSql,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Timestamptz,
    JsonbSql,
    Nullable<Text>,
    Nullable<Timestamptz>,
    Nullable<Array<Text>>,
    Bool,
    Bool,
    Integer,
    Integer,
    Integer,
    Integer,
    Nullable<Uuid>,
    Nullable<Text>,
    Nullable<Integer>,
    Nullable<Timestamptz>,
    Nullable<Bool>,
    Timestamptz,
);

type FactsRow = (
    LicenseId,
    ProductId,
    PolicyId,
    Option<CustomerId>,
    Option<ResellerId>,
    State,
    Jsonb<Terms>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
    DateTime<Utc>,
    Jsonb<Metadata>,
    Option<String>,
    Option<DateTime<Utc>>,
    Option<Vec<HoldReason>>,
    bool,
    bool,
    i32,
    i32,
    i32,
    i32,
    Option<MachineId>,
    Option<String>,
    Option<i32>,
    Option<DateTime<Utc>>,
    Option<bool>,
    DateTime<Utc>,
);

impl FromSql<Record<FactsSql>, Pg> for Facts {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Facts> {
        let row = <FactsRow as FromSql<Record<FactsSql>, Pg>>::from_sql(value)?;
        let key = match (row.14.as_deref(), row.15) {
            (None, _) => None,
            (Some("current"), _) => Some(KeyFacts::Current),
            (Some("overlapping"), Some(ends_at)) => Some(KeyFacts::Overlapping(ends_at)),
            (Some(_), _) => Some(KeyFacts::Dead),
        };
        let machine = row.23.map(|id| MachineFacts {
            id,
            dead: row.24.as_deref() == Some("dead"),
            generation: row.25.unwrap_or_default(),
            due_at: row.26.filter(|_| row.6.0.rules.heartbeat != Heartbeat::None),
            matches: row.27,
        });
        Ok(Facts {
            license: row.0,
            product: row.1,
            policy: row.2,
            customer: row.3,
            reseller: row.4,
            state: row.5,
            terms: row.6.0,
            starts_at: row.7,
            started_at: row.8,
            expires_at: row.9,
            last_validated_at: row.10,
            activated_at: row.11,
            created_at: row.12,
            public_metadata: row.13.0,
            key,
            holds: row.16.unwrap_or_default(),
            customer_banned: row.17,
            vendor_barred: row.18,
            machines: row.19,
            cores: row.20,
            memory_mb: row.21,
            disk_mb: row.22,
            machine,
            now: row.28,
        })
    }
}
