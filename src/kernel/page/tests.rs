//! Cursors and parameters, right ones and wrong ones.

use super::*;

#[derive(Default)]
struct Pets {
    kind: Vec<String>,
}

impl Filters for Pets {
    const RESOURCE: &'static str = "pets";
    const NAMES: &'static [&'static str] = &["kind"];

    fn add(&mut self, _: &str, value: &str) -> Result<(), Unfit> {
        match value {
            "cat" | "dog" => self.kind.push(value.into()),
            _ => return Err(Unfit::choice(&["cat", "dog"])),
        }
        Ok(())
    }
}

fn key() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &[7; 32])
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
}
