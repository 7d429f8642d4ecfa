//! How rows become a page.

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{Filters, Page, PageQuery};

/// The most bytes of JSON that the rows of a page have together, unless it is one row alone.
const LARGEST: usize = 1 << 20;

impl<F: Filters> PageQuery<F> {
    /// Makes the page of what [`PageQuery::fetch`] rows were found; `key` gives a row's time and id, the list's sort key.
    pub fn page<T: Serialize>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> (DateTime<Utc>, Uuid)) -> Page<T> {
        if self.is_in_lines {
            return self.page_of_small(rows, key);
        }
        let fit = fitting(&rows, LARGEST);
        if fit < rows.len() {
            rows.truncate(fit);
            return self.cut(rows, true, key);
        }
        self.page_of_small(rows, key)
    }

    /// As [`PageQuery::page`] for rows of a few hundred bytes.
    pub fn page_of_small<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> (DateTime<Utc>, Uuid)) -> Page<T> {
        let has_more = rows.len() as i64 > self.limit;
        rows.truncate(self.limit as usize);
        self.cut(rows, has_more, key)
    }

    fn cut<T>(&self, rows: Vec<T>, has_more: bool, key: impl Fn(&T) -> (DateTime<Utc>, Uuid)) -> Page<T> {
        let next_cursor = rows.last().filter(|_| has_more).map(|last| self.seal(key(last)));
        Page {
            data: rows,
            next_cursor,
            has_more,
        }
    }

    /// As [`PageQuery::page`] for rows that change; `key` gives when a row was made, when it last changed, and its id.
    pub fn page_of_changing<T: Serialize>(
        &self,
        rows: Vec<T>,
        key: impl Fn(&T) -> (DateTime<Utc>, DateTime<Utc>, Uuid),
    ) -> Page<T> {
        self.page(rows, |row| {
            let (created_at, updated_at, id) = key(row);
            (if self.is_by_change() { updated_at } else { created_at }, id)
        })
    }

    /// As [`PageQuery::page`] for rows that are numbered; `number` is the list's sort key.
    pub fn numbered<T: Serialize>(&self, rows: Vec<T>, number: impl Fn(&T) -> i64) -> Page<T> {
        self.page(rows, |row| {
            let number = DateTime::from_timestamp_micros(number(row));
            (number.unwrap_or_default(), Uuid::nil())
        })
    }
}

/// Counts what is written.
struct Scale(usize);

impl Write for Scale {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0 += text.len();
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many of the first rows have room in so many bytes of JSON: one at least.
fn fitting<T: Serialize>(rows: &[T], room: usize) -> usize {
    let mut scale = Scale(0);
    let fit = rows.iter().take_while(|row| {
        // What cannot be written is told when it is.
        let _ = serde_json::to_writer(&mut scale, row);
        scale.0 <= room
    });
    fit.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::fitting;

    #[test]
    fn a_page_ends_where_it_is_full_and_one_row_always_has_room() {
        let rows = ["12345678"; 5];
        assert_eq!(
            [0, 9, 10, 29, 30, 49, 50, 99].map(|room| fitting(&rows, room)),
            [1, 1, 1, 2, 3, 4, 5, 5]
        );
        assert_eq!(fitting::<u8>(&[], 10), 1);
    }
}
