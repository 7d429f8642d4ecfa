//! Enums that are one word in JSON, in the database and in filters.

/// Declares an enum whose values are words: in JSON, in a `text` column, in a filter. The OpenAPI document says what each of them means,
/// from the values' own comments.
///
/// ```text
/// words! {
///     /// How far a parcel is.
///     pub enum Progress {
///         /// On its way.
///         Sent "sent",
///         /// With whom it is for.
///         Delivered "delivered",
///     }
/// }
/// ```
///
/// As with a derived schema, `#[schema(as = ParcelProgress)]` after the comment gives it another name in the document.
#[macro_export]
macro_rules! words {
    (@name $name:ident) => { stringify!($name) };
    (@name $name:ident $schema:ident) => { stringify!($schema) };
    ($(#[doc = $about:literal])* $(#[schema(as = $schema:ident)])? $vis:vis enum $name:ident {
        $($(#[doc = $meaning:literal])* $variant:ident $word:literal),* $(,)?
    }) => {
        $(#[doc = $about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord,
                 ::diesel::deserialize::FromSqlRow, ::diesel::expression::AsExpression)]
        #[diesel(sql_type = ::diesel::sql_types::Text)]
        $vis enum $name {
            $($(#[doc = $meaning])* $variant),*
        }

        impl $name {
            /// Every value, in the order of the declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];
            /// Every word, in the same order.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// As JSON and the database hold it.
            pub const fn word(self) -> &'static str {
                match self {
                    $($name::$variant => $word),*
                }
            }

            /// The value of that word.
            pub fn named(word: &str) -> Option<$name> {
                match word {
                    $($word => Some($name::$variant),)*
                    _ => None,
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <::std::borrow::Cow<'_, str> as ::serde::Deserialize>::deserialize(deserializer)?;
                $name::named(&word).ok_or_else(|| ::serde::de::Error::unknown_variant(&word, $name::WORDS))
            }
        }

        impl ::diesel::serialize::ToSql<::diesel::sql_types::Text, ::diesel::pg::Pg> for $name {
            fn to_sql<'b>(
                &'b self,
                out: &mut ::diesel::serialize::Output<'b, '_, ::diesel::pg::Pg>,
            ) -> ::diesel::serialize::Result {
                <str as ::diesel::serialize::ToSql<::diesel::sql_types::Text, ::diesel::pg::Pg>>::to_sql(
                    self.word(),
                    &mut out.reborrow(),
                )
            }
        }

        impl ::diesel::deserialize::FromSql<::diesel::sql_types::Text, ::diesel::pg::Pg> for $name {
            fn from_sql(bytes: <::diesel::pg::Pg as ::diesel::backend::Backend>::RawValue<'_>) -> ::diesel::deserialize::Result<Self> {
                let word = <String as ::diesel::deserialize::FromSql<::diesel::sql_types::Text, ::diesel::pg::Pg>>::from_sql(bytes)?;
                $name::named(&word).ok_or_else(|| format!("no {}: {word}", stringify!($name)).into())
            }
        }

        impl ::utoipa::PartialSchema for $name {
            fn schema() -> ::utoipa::openapi::RefOr<::utoipa::openapi::schema::Schema> {
                let about: &[&str] = &[$($about),*];
                let meanings: &[(&str, &[&str])] = &[$(($word, &[$($meaning),*])),*];
                $crate::kernel::words::schema(about, meanings)
            }
        }

        impl ::utoipa::ToSchema for $name {
            fn name() -> ::std::borrow::Cow<'static, str> {
                $crate::words!(@name $name $($schema)?).into()
            }
        }
    };
}

use utoipa::openapi::{
    ObjectBuilder, RefOr,
    schema::{Schema, Type},
};

/// A string with these values, and what each of them means.
pub fn schema(about: &[&str], meanings: &[(&str, &[&str])]) -> RefOr<Schema> {
    let sentence = |lines: &[&str]| lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    let mut description = sentence(about);
    for (word, lines) in meanings {
        description += &format!("\n- `{word}`: {}", sentence(lines));
    }
    description += "\n\nNew values may come.";
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(meanings.iter().map(|(word, _)| *word)))
        .description(Some(description))
        .examples(meanings.first().map(|(word, _)| serde_json::json!(word)))
        .into()
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema;

    words! {
        /// How far a parcel is.
        enum Progress {
            /// On its
            /// way.
            Sent "sent",
            /// With whom it is for.
            Delivered "delivered",
        }
    }

    #[test]
    fn a_word_reads_back_what_it_wrote() {
        for progress in Progress::ALL {
            let text = serde_json::to_string(progress).expect("a word");
            assert_eq!(serde_json::from_str::<Progress>(&text).expect("the same"), *progress);
            assert_eq!(Progress::named(progress.word()), Some(*progress));
        }
        let refusal = serde_json::from_str::<Progress>("\"lost\"")
            .expect_err("no such word")
            .to_string();
        assert!(
            refusal.starts_with("unknown variant `lost`, expected `sent` or `delivered`"),
            "{refusal}"
        );
    }

    #[test]
    fn the_document_says_what_each_word_means() {
        let schema = serde_json::to_value(Progress::schema()).expect("a schema");
        assert_eq!(schema["enum"], serde_json::json!(["sent", "delivered"]));
        assert_eq!(
            schema["description"],
            "How far a parcel is.\n- `sent`: On its way.\n- `delivered`: With whom it is for.\n\nNew values may come."
        );
    }
}
