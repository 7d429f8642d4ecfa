//! Where templates write, and how much fits there.

use std::io;

use minijinja::{ErrorKind, Output, State};

/// A text as it is, anything else as JSON: what a model reads best, and what a reader can predict.
pub(super) fn write_plainly(
    out: &mut Output<'_>,
    _: &mut State<'_, '_>,
    value: &minijinja::Value,
) -> Result<(), minijinja::Error> {
    let written = match value.as_str() {
        Some(text) => out.write_str(text).is_ok(),
        None => serde_json::to_writer(Through(out), value).is_ok(),
    };
    written.then_some(()).ok_or_else(|| ErrorKind::WriteFailure.into())
}

/// Writes JSON where a template writes, piece by piece: nothing is built that the output would not take.
struct Through<'a, 'o>(&'a mut Output<'o>);

impl io::Write for Through<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_str(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes no more bytes than it has room for.
pub(super) struct Bounded {
    bytes: Vec<u8>,
    room: usize,
}

impl Bounded {
    pub(super) fn of(room: usize) -> Bounded {
        Bounded {
            bytes: Vec::new(),
            room,
        }
    }

    /// What was written, which was whole strings.
    pub(super) fn into_text(self) -> String {
        String::from_utf8(self.bytes).expect("templates and JSON are written as whole strings")
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.room {
            return Err(io::Error::other("too long"));
        }
        self.room -= bytes.len();
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
