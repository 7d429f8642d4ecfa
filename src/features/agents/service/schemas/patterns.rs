//! How large a pattern becomes. `\w{40}` is six characters and as many states as a book has words, so the text does not tell.

use jsonschema::PatternOptions;
use serde_json::json;

/// The largest pattern, in bytes as it is compiled.
pub(super) const LARGEST: usize = 256 << 10;
/// All patterns of one schema together.
pub(super) const MOST: usize = 1 << 20;

/// An engine without backtracking, with so much room for a pattern.
pub(super) fn engine(room: usize) -> PatternOptions<jsonschema::Regex> {
    PatternOptions::regex().size_limit(room).dfa_size_limit(LARGEST)
}

/// How much room a pattern takes, in bytes, rounded up; the most if it cannot be compiled at all.
pub(super) fn size(pattern: &str) -> usize {
    let schema = json!({ "pattern": pattern });
    let fits = |room: &usize| {
        jsonschema::options()
            .offline()
            .with_pattern_options(engine(*room))
            .build(&schema)
            .is_ok()
    };
    [4 << 10, 16 << 10, 64 << 10].into_iter().find(fits).unwrap_or(LARGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_as_large_as_what_it_means() {
        assert_eq!(size("^[a-z]{3}$"), 4 << 10);
        assert_eq!(
            size("^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"),
            4 << 10
        );
        assert!(size(r"^(\p{L}{20}){20}$") == LARGEST);
        assert_eq!(size("("), LARGEST);
    }
}
