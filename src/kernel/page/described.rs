//! What a list says of its parameters in the OpenAPI document.

use utoipa::{
    IntoParams,
    openapi::{
        KnownFormat, ObjectBuilder, Required, SchemaFormat,
        path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle},
        schema::{AdditionalProperties, Schema, Type},
    },
};

use super::{Filters, PageQuery, shared};

/// The orders that a list can be had in, the usual one first.
pub(super) fn orders<F: Filters>() -> &'static [&'static str] {
    match F::CHANGES {
        true => &["-created_at", "created_at", "-updated_at", "updated_at"],
        false => &["-created_at", "created_at"],
    }
}

/// All parameters of a list.
pub(super) fn names<F: Filters>() -> Vec<&'static str> {
    let mut names = vec!["limit", "cursor", "order"];
    names.extend(F::NAMES);
    names.extend(shared::ALWAYS);
    if F::CHANGES {
        names.extend(shared::CHANGING);
    }
    if F::TAGGED {
        names.push("metadata[…]");
    }
    names
}

impl<F: Filters> IntoParams for PageQuery<F> {
    /// What the list shares with others. Its own parameters are described beside it.
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let time = || text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
        let number = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(1))
            .maximum(Some(100));
        let limit = match F::MOST {
            100.. => "At most so many; 1 to 100, 25 if absent. A page ends early where its rows are large.".to_owned(),
            most => format!(
                "At most so many; 1 to 100, of which a page has {most}. It ends early where its rows are large."
            ),
        };
        let order = match F::CHANGES {
            true => {
                "`-created_at` (default: newest first), `created_at`, `-updated_at` or `updated_at`. For changes, ask for \
                 `updated_at` with `updated_after` a minute before the last `updated_at` that you have. What was deleted or revoked \
                 since is not among them: events and the audit log tell of it."
            }
            false => "`-created_at` (default: newest first) or `created_at`.",
        };
        let mut all = vec![
            one("limit", &limit, number),
            one("cursor", "Where to go on: `next_cursor` of the page before.", text()),
            one("order", order, text().enum_values(Some(orders::<F>().to_vec()))),
            one(
                "created_after",
                "Only what was made later than this (RFC 3339).",
                time(),
            ),
            one(
                "created_before",
                "Only what was made earlier than this (RFC 3339).",
                time(),
            ),
        ];
        if F::CHANGES {
            all.extend([
                one(
                    "updated_after",
                    "Only what last changed later than this (RFC 3339).",
                    time(),
                ),
                one(
                    "updated_before",
                    "Only what last changed earlier than this (RFC 3339).",
                    time(),
                ),
            ]);
        }
        if F::TAGGED {
            all.push(tags());
        }
        all
    }
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn one(name: &str, description: &str, schema: ObjectBuilder) -> Parameter {
    described(name, description, schema).build()
}

fn described(name: &str, description: &str, schema: ObjectBuilder) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(Schema::Object(schema.build())))
}

fn tags() -> Parameter {
    let about = "Only what carries this tag: `metadata[key]=value`. The same key twice means either value, several keys mean all of them.";
    let schema = ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::RefOr(text().into())));
    described("metadata", about, schema)
        .style(Some(ParameterStyle::DeepObject))
        .explode(Some(true))
        .build()
}
