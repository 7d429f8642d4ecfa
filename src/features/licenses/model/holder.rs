//! Whose a new licence is.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer},
};
use utoipa::ToSchema;

use crate::kernel::{
    check::{trimmed, trimmed_option},
    id::CustomerId,
};

/// Whose a new licence is.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum CustomerChoice {
    /// A customer that there is.
    Known(CustomerId),
    /// A person, found by the address, or added.
    Person(Person),
}

/// Tells an id from a person, and leaves it to them to say what is wrong: the derived way only finds that neither fits.
pub(super) fn either<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<CustomerChoice>, D::Error> {
    deserializer.deserialize_option(Either)
}

struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = Option<CustomerChoice>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a customer's id, or an object with an email")
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_str<E: de::Error>(self, id: &str) -> Result<Self::Value, E> {
        CustomerId::deserialize(id.into_deserializer()).map(|id| Some(CustomerChoice::Known(id)))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        let person = Person::deserialize(MapAccessDeserializer::new(members));
        person.map(|person| Some(CustomerChoice::Person(person)))
    }
}

/// A person by address.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"email": "ann@example.com", "name": "Ann"}))]
pub struct Person {
    /// Where to write to.
    #[serde(deserialize_with = "trimmed")]
    #[schema(max_length = 254)]
    pub email: String,
    /// What they are called.
    #[serde(default, deserialize_with = "trimmed_option")]
    #[schema(max_length = 200)]
    pub name: Option<String>,
}
