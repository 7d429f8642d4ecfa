//! What a person at the terminal sees: progress on standard error, the outcome on standard output; colours on a terminal only.

use std::{
    io::{IsTerminal, Write, stderr, stdout},
    time::Instant,
};

use crate::app::cli::tell;

/// Announces a step, does it, and says how long it took.
pub(super) fn step<T>(doing: &str, work: impl FnOnce() -> anyhow::Result<(T, String)>) -> anyhow::Result<T> {
    let begun = Instant::now();
    if stderr().is_terminal() {
        let _ = write!(stderr(), "  \u{2026} {doing}\r");
    }
    let (made, outcome) = work().inspect_err(|_| {
        if stderr().is_terminal() {
            let _ = write!(stderr(), "\x1b[2K");
        }
    })?;
    done(&outcome, begun);
    Ok(made)
}

/// Says what was reached since `begun`.
pub(super) fn done(outcome: &str, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    match stderr().is_terminal() {
        true => tell!("\x1b[2K  \x1b[32m\u{2713}\x1b[0m {outcome} \x1b[2m({seconds:.1} s)\x1b[0m"),
        false => tell!("dev: {outcome} ({seconds:.1} s)"),
    }
}

/// Says something that is worth knowing.
pub(super) fn note(text: &str) {
    match stderr().is_terminal() {
        true => tell!("\x1b[2K  \x1b[33m!\x1b[0m {text}"),
        false => tell!("dev: {text}"),
    }
}

/// A heading and lines of a name and a value, the values below each other.
pub(super) fn table(heading: &str, lines: &[(&str, String)]) -> String {
    let (bold, dim, plain) = match stdout().is_terminal() {
        true => ("\x1b[1m", "\x1b[2m", "\x1b[0m"),
        false => ("", "", ""),
    };
    let width = lines
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or_default();
    let mut text = format!("\n  {bold}{heading}{plain}\n\n");
    for (name, value) in lines {
        text += &format!("  {dim}{name:width$}{plain}  {value}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_below_each_other() {
        let lines = [
            ("API", "http://127.0.0.1:8080".to_owned()),
            ("mailbox", "/dev/mails".to_owned()),
        ];
        let text = table("It runs.", &lines);
        let columns: Vec<_> = text
            .lines()
            .filter_map(|line| line.find("http").or(line.find("/dev")))
            .collect();
        assert_eq!(columns.len(), 2);
        assert_eq!(columns[0], columns[1], "{text}");
    }
}
