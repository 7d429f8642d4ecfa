//! The question of a [`super::PageQuery`] as part of a boxed query. Where these stand, the tables' DSL traits are in scope.

/// Narrows a boxed query to rows whose time is within a [`super::Span`].
#[macro_export]
macro_rules! within {
    ($rows:ident, $column:expr, $span:expr) => {
        if let Some(time) = $span.after {
            $rows = $rows.filter($column.gt(time));
        }
        if let Some(time) = $span.before {
            $rows = $rows.filter($column.lt(time));
        }
    };
}

/// Narrows a boxed query to rows of a table that carry the tags that were asked for. `$pairs` is the table that holds the metadata of such
/// rows, each pair by itself, beside the name of the table that it belongs to.
///
/// That name is a literal, and diesel prepares a statement with a literal anew each time: PostgreSQL plans it for the tags that are asked for.
/// Its sixth plan would be for any tag, and walk all rows for one that hardly any has.
#[macro_export]
macro_rules! tagged {
    ($rows:ident, $things:ident, $pairs:ident, $query:expr) => {
        for (key, values) in &$query.shared.metadata {
            let those = $pairs::table
                .filter($pairs::kind.eq(diesel::dsl::sql::<diesel::sql_types::Text>(concat!(
                    "'",
                    stringify!($things),
                    "'"
                ))))
                .filter($pairs::key.eq(key))
                .filter($pairs::value.eq_any(values));
            $rows = $rows.filter($things::id.eq_any(those.select($pairs::thing_id)));
        }
    };
}

/// Narrows a boxed query to when rows were made, puts them in the order that was asked for, and begins where the page before ended. The
/// table has `created_at` and `id`.
#[macro_export]
macro_rules! in_order {
    ($rows:expr, $table:ident, $query:expr) => {{
        let mut rows = $rows;
        $crate::within!(rows, $table::created_at, $query.shared.created);
        $crate::by_time!(rows, $table::created_at, $table::id, $query)
    }};
}

/// The same for rows that change: the table has `updated_at`, too.
#[macro_export]
macro_rules! in_order_of_change {
    ($rows:expr, $table:ident, $query:expr) => {{
        let mut rows = $rows;
        $crate::within!(rows, $table::created_at, $query.shared.created);
        $crate::within!(rows, $table::updated_at, $query.shared.updated);
        match $query.is_by_change() {
            true => $crate::by_time!(rows, $table::updated_at, $table::id, $query),
            false => $crate::by_time!(rows, $table::created_at, $table::id, $query),
        }
    }};
}

/// The order of a time, and of ids where times are equal.
#[macro_export]
macro_rules! by_time {
    ($rows:expr, $time:expr, $id:expr, $query:expr) => {
        match ($query.is_descending(), $query.after()) {
            (true, None) => $rows.order(($time.desc(), $id.desc())),
            (true, Some((time, id))) => $rows
                .filter($time.le(time))
                .filter($time.lt(time).or($id.lt(id)))
                .order(($time.desc(), $id.desc())),
            (false, None) => $rows.order(($time.asc(), $id.asc())),
            (false, Some((time, id))) => $rows
                .filter($time.ge(time))
                .filter($time.gt(time).or($id.gt(id)))
                .order(($time.asc(), $id.asc())),
        }
    };
}

/// As [`in_order`](crate::in_order) for rows that are counted within something: `number` is their place in it, and as old as they are.
#[macro_export]
macro_rules! in_number {
    ($rows:expr, $table:ident, $number:ident, $query:expr) => {{
        let mut rows = $rows;
        $crate::within!(rows, $table::created_at, $query.shared.created);
        match (
            $query.is_descending(),
            $query.after_number().map(|number| number as i32),
        ) {
            (true, None) => rows.order($table::$number.desc()),
            (true, Some(after)) => rows.filter($table::$number.lt(after)).order($table::$number.desc()),
            (false, None) => rows.order($table::$number.asc()),
            (false, Some(after)) => rows.filter($table::$number.gt(after)).order($table::$number.asc()),
        }
    }};
}

/// Narrows a boxed query to rows whose column is any of the values, where there are values. A single one is compared by `=`: the index that
/// begins with the column then gives the page in its order, which it cannot for a list of values.
#[macro_export]
macro_rules! any_of {
    ($rows:ident, $($column:expr => $values:expr),* $(,)?) => {
        $(match $values.as_slice() {
            [] => {}
            [one] => $rows = $rows.filter($column.eq(one)),
            several => $rows = $rows.filter($column.eq_any(several)),
        })*
    };
}
