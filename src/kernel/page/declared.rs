//! What a slice declares of its lists.

/// Declares the pages of a slice's lists, each with a name of its own in the OpenAPI document.
///
/// ```text
/// pages! {
///     /// A page of agents.
///     pub AgentPage of Agent;
/// }
/// ```
#[macro_export]
macro_rules! pages {
    ($($(#[$doc:meta])* $vis:vis $name:ident of $row:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, ::serde::Serialize, ::utoipa::ToSchema)]
        $vis struct $name {
            /// The rows.
            pub data: Vec<$row>,
            /// Pass it as `cursor` for the next page; null at the end.
            #[schema(required)]
            pub next_cursor: Option<String>,
            /// Whether there is a next page.
            pub has_more: bool,
        }

        impl From<$crate::kernel::page::Page<$row>> for $name {
            fn from(page: $crate::kernel::page::Page<$row>) -> $name {
                $name { data: page.data, next_cursor: page.next_cursor, has_more: page.has_more }
            }
        }
    )*};
}

/// The filters of a list that has none of its own.
#[macro_export]
macro_rules! no_filters {
    ($($(#[$doc:meta])* $vis:vis $name:ident of $resource:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        $vis struct $name;

        impl $crate::kernel::page::Filters for $name {
            const RESOURCE: &'static str = $resource;
            const NAMES: &'static [&'static str] = &[];

            fn add(&mut self, _: &str, _: &str) -> Result<(), $crate::kernel::page::Unfit> {
                Ok(())
            }
        }
    )*};
}
