//! W3C trace context (<https://www.w3.org/TR/trace-context/>): one id from the caller's span to the last delivery.

use uuid::Uuid;

use crate::kernel::id::quick_random;

/// Our span in somebody's trace, or in a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The whole trace.
    pub trace_id: u128,
    /// Our span in it.
    pub span_id: u64,
    /// Whether the caller asked for sampling. Never trusted for the rate.
    pub sampled: bool,
}

impl Trace {
    /// A trace that begins here.
    pub fn new() -> Trace {
        Trace {
            trace_id: u128::from(quick_random()) << 64 | u128::from(span()),
            span_id: span(),
            sampled: false,
        }
    }

    /// A new span in the caller's trace, if its `traceparent` is well-formed.
    pub fn continued(header: &str) -> Option<Trace> {
        let mut parts = header.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex =
            |text: &str, length| text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let shaped = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
        if !shaped || version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        u64::from_str_radix(parent, 16).ok().filter(|id| *id != 0)?;
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        Some(Trace {
            trace_id,
            span_id: span(),
            sampled,
        })
    }

    /// The trace id, as logs and rows hold it.
    pub fn id(&self) -> String {
        self.id_in(&mut [0; 32]).to_owned()
    }

    /// The same, written into these bytes.
    pub fn id_in<'d>(&self, digits: &'d mut [u8; 32]) -> &'d str {
        Uuid::from_u128(self.trace_id).simple().encode_lower(digits)
    }

    /// As a `traceparent` header.
    pub fn header(&self) -> String {
        format!(
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id,
            self.span_id,
            u8::from(self.sampled)
        )
    }
}

impl Default for Trace {
    fn default() -> Trace {
        Trace::new()
    }
}

/// A span id: random, and never the zero that the standard forbids.
fn span() -> u64 {
    quick_random() | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_formed_trace_is_continued_with_a_span_of_our_own() {
        let trace = Trace::continued("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").expect("well-formed");
        assert_eq!(trace.id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(trace.span_id, 0x00f067aa0ba902b7);
        assert!(trace.header().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && trace.header().ends_with("-01"));
    }

    #[test]
    fn a_malformed_trace_is_ignored() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for header in [
            String::new(),
            "00".into(),
            "00-0-0-00".into(),
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            format!("00-{trace}-00f067aa0ba902b7-01-x"),
        ] {
            assert_eq!(Trace::continued(&header), None, "{header:?}");
        }
    }
}
