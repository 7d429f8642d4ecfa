//! Who made something, as the workspace knows them.

use std::collections::HashMap;

use diesel::{ExpressionMethods, QueryDsl, QueryResult, RunQueryDsl};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::kernel::{
    access::public_id,
    db::Tenant,
    error::Result,
    schema::{api_keys, memberships},
};

/// Who made something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"type": "user", "id": "usr_01jd8qv4x2fkr9s3m5n7p0t1wz", "label": "Ada"}))]
pub struct Author {
    /// `user`, `api_key`, `grant`, `trigger`, `job`, `license`, `customer`, `visitor` or `system`; more may come.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which one, where it has an id.
    #[schema(required, format = "typeid")]
    pub id: Option<String>,
    /// A name for people, where there is one.
    #[schema(required)]
    pub label: Option<String>,
}

/// The names of the authors of a page.
pub struct Labels(HashMap<Uuid, String>);

/// Looks the authors of a page up, each by the type and id that its row holds: one query for people, one for keys.
///
/// # Errors
/// 503 if the database fails.
pub fn labels<'a>(tx: &mut Tenant<'_>, authors: impl Iterator<Item = (&'a str, Option<Uuid>)>) -> Result<Labels> {
    let (mut people, mut keys) = (Vec::new(), Vec::new());
    for (kind, id) in authors {
        match kind {
            "user" => people.extend(id),
            "api_key" => keys.extend(id),
            _ => {}
        }
    }
    let mut names = HashMap::new();
    if !people.is_empty() {
        names.extend(names_of_people(tx, &people)?);
    }
    if !keys.is_empty() {
        names.extend(names_of_keys(tx, &keys)?);
    }
    Ok(Labels(names))
}

fn names_of_people(tx: &mut Tenant<'_>, ids: &[Uuid]) -> QueryResult<Vec<(Uuid, String)>> {
    use memberships::dsl as m;
    let those = m::memberships.filter(m::user_id.eq_any(ids));
    those.select((m::user_id, m::display_name)).load(tx.conn())
}

fn names_of_keys(tx: &mut Tenant<'_>, ids: &[Uuid]) -> QueryResult<Vec<(Uuid, String)>> {
    use api_keys::dsl as k;
    k::api_keys
        .filter(k::id.eq_any(ids))
        .select((k::id, k::name))
        .load(tx.conn())
}

impl Labels {
    /// The author of a row.
    pub fn author(&self, kind: &str, id: Option<Uuid>) -> Author {
        Author {
            kind: kind.to_owned(),
            id: id.and_then(|id| public_id(kind, id)),
            label: id.and_then(|id| self.0.get(&id).cloned()),
        }
    }
}
