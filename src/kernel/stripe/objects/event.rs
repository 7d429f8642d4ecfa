//! Events.

use serde::Deserialize;

use super::Reference;

/// An event, as far as it says where to look.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// Unix seconds. Coarse, so nothing is ordered by it.
    #[serde(default)]
    pub created: Option<i64>,
    #[serde(default)]
    pub livemode: Option<bool>,
    #[serde(default)]
    pub api_version: Option<String>,
    #[serde(default)]
    pub data: Option<EventData>,
    /// Thin events name the object instead of carrying it.
    #[serde(default)]
    pub related_object: Option<Reference>,
}

/// The object of an event.
#[derive(Clone, Debug, Deserialize)]
pub struct EventData {
    pub object: Hint,
}

/// Where to look.
#[derive(Clone, Debug, Deserialize)]
pub struct Hint {
    pub id: Option<String>,
    pub object: Option<String>,
    #[serde(default)]
    pub customer: Option<serde_json::Value>,
}
