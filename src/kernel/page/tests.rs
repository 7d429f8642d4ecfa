//! Cursors and parameters, right ones and wrong ones.

use super::*;

#[derive(Default)]
struct Pets {
    kind: Vec<String>,
}

impl Filters for Pets {
    const RESOURCE: &'static str = "pets";
    const NAMES: &'static [&'static str] = &["kind"];
    const CHANGES: bool = true;
    const TAGGED: bool = true;

    fn add(&mut self, _: &str, value: &str) -> Result<(), Unfit> {
        match value {
            "cat" | "dog" => self.kind.push(value.into()),
            _ => return Err(Unfit::choice(&["cat", "dog"])),
        }
        Ok(())
    }
}

fn key() -> Seals {
    let key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    Seals::read(&crate::kernel::secret::Secret::new(key.to_owned())).expect("a key")
}

fn parse(query: &str) -> Result<PageQuery<Pets>, Problem> {
    PageQuery::parse(query, Uuid::nil(), &key())
}

fn refusal(query: &str) -> &'static str {
    parse(query).err().expect("refused").kind().code
}

fn cursor() -> String {
    let Ok(page) = parse("limit=1&kind=cat") else {
        panic!("acceptable")
    };
    let rows = vec![1_u128, 2];
    let page = page.page(rows, |row| {
        (
            Utc.timestamp_micros(1_700_000_000_123_456).single().expect("a time"),
            Uuid::from_u128(*row),
        )
    });
    assert!(page.has_more && page.data == [1]);
    page.next_cursor.expect("there is more")
}

#[test]
fn a_cursor_leads_on_from_the_last_row() {
    let Ok(next) = parse(&format!("kind=cat&limit=7&cursor={}", cursor())) else {
        panic!("acceptable")
    };
    let (time, id) = next.after().expect("a place");
    assert_eq!(
        (time.timestamp_micros(), id),
        (1_700_000_000_123_456, Uuid::from_u128(1))
    );
}

#[test]
fn a_cursor_of_another_filter_order_workspace_or_hand_is_refused() {
    let cursor = cursor();
    for query in ["kind=dog&cursor=", "cursor=", "kind=cat&order=created_at&cursor="] {
        assert_eq!(refusal(&format!("{query}{cursor}")), "invalid-cursor");
    }
    let elsewhere = PageQuery::<Pets>::parse(&format!("kind=cat&cursor={cursor}"), Uuid::from_u128(9), &key());
    assert_eq!(elsewhere.err().expect("refused").kind(), INVALID_CURSOR);
    for place in 0..cursor.len() {
        let mut bytes = cursor.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(bytes).expect("ASCII");
        assert_eq!(
            refusal(&format!("kind=cat&cursor={altered}")),
            "invalid-cursor",
            "byte {place}"
        );
    }
}

#[test]
fn bad_parameters_are_named() {
    for query in [
        "limit=0",
        "limit=101",
        "limit=abc",
        "limit=",
        "limit=1&limit=2",
        "order=name",
        "kind=fish",
    ] {
        assert_eq!(refusal(query), "invalid-parameter", "{query}");
    }
    assert_eq!(refusal("knd=cat"), "unknown-parameter");
    for (query, pointer, code) in [
        ("limit=0", "query/limit", FieldCode::TooSmall),
        ("limit=-1", "query/limit", FieldCode::TooSmall),
        ("limit=101", "query/limit", FieldCode::TooLarge),
        ("limit=abc", "query/limit", FieldCode::InvalidFormat),
        ("limit=1&limit=1", "query/limit", FieldCode::TooMany),
        ("order=created_at&order=created_at", "query/order", FieldCode::TooMany),
        ("cursor=a&cursor=b", "query/cursor", FieldCode::TooMany),
        (
            "created_after=2026-02-01T00:00:00Z&created_after=2026-01-01T00:00:00Z",
            "query/created_after",
            FieldCode::TooMany,
        ),
        (
            "updated_before=2026-02-01T00:00:00Z&updated_before=2026-02-01T00:00:00Z",
            "query/updated_before",
            FieldCode::TooMany,
        ),
    ] {
        let refused = parse(query).err().expect("refused");
        let error = &refused.case().errors[0];
        assert_eq!((error.pointer.as_str(), error.code), (pointer, code), "{query}");
    }
}

#[test]
fn times_bound_what_was_made_and_what_changed() {
    let Ok(query) = parse("created_after=2026-01-01T00:00:00Z&updated_before=2026-02-01T00:00:00Z") else {
        panic!("acceptable")
    };
    let (created, updated) = (query.shared.created, query.shared.updated);
    assert_eq!(created.after, time_filter("2026-01-01T00:00:00Z").ok());
    assert_eq!(updated.before, time_filter("2026-02-01T00:00:00Z").ok());
    assert_eq!((created.before, updated.after), (None, None));
}

#[test]
fn metadata_has_keys_with_values() {
    let Ok(query) = parse("metadata[a]=2&metadata[b.c]=x&metadata%5Ba%5D=1") else {
        panic!("acceptable")
    };
    let expected = [("a", vec!["1", "2"]), ("b.c", vec!["x"])];
    let expected = expected.map(|(key, values)| (key.to_owned(), values.into_iter().map(str::to_owned).collect()));
    assert_eq!(query.shared.metadata, BTreeMap::from(expected));
    for (query, code) in [
        ("metadata[]=x", "invalid-parameter"),
        ("metadata[a b]=x", "invalid-parameter"),
        ("metadata=x", "unknown-parameter"),
        ("metadata[a=x", "unknown-parameter"),
    ] {
        assert_eq!(refusal(query), code, "{query}");
    }
}

#[test]
fn a_cursor_of_changes_holds_when_the_row_last_changed() {
    let Ok(query) = parse("limit=1&order=updated_at") else {
        panic!("acceptable")
    };
    let time = |seconds| Utc.timestamp_opt(seconds, 0).single().expect("a time");
    let page = query.page_of_changing(vec![1_u128, 2], |row| (time(1), time(2), Uuid::from_u128(*row)));
    let cursor = page.next_cursor.expect("there is more");
    let Ok(next) = parse(&format!("order=updated_at&cursor={cursor}")) else {
        panic!("acceptable")
    };
    assert_eq!(next.after(), Some((time(2), Uuid::from_u128(1))));
    for order in ["-updated_at", "created_at"] {
        assert_eq!(refusal(&format!("order={order}&cursor={cursor}")), "invalid-cursor");
    }
}

#[test]
fn large_rows_end_a_page_and_no_export() {
    let Ok(query) = parse("kind=cat") else {
        panic!("acceptable")
    };
    let rows = || vec!["x".repeat(600_000); 3];
    let key = |_: &String| (Utc.timestamp_opt(1, 0).single().expect("a time"), Uuid::nil());
    let page = query.page(rows(), key);
    assert!(page.data.len() == 1 && page.has_more && page.next_cursor.is_some());
    let Ok(export) = query.given_in(true) else {
        panic!("acceptable")
    };
    let all = export.page(rows(), key);
    assert!(all.data.len() == 3 && !all.has_more && all.next_cursor.is_none());
}
