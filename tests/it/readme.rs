//! What the README tells a newcomer to type.

use std::process::{Command, Stdio};

use crate::{dev::Stack, docs::for_a_shell};

/// The lines of a chapter of the README that are meant for a shell.
fn lines_for_a_shell(chapter: &str) -> Vec<&'static str> {
    let text = include_str!("../../README.md");
    let begin = text.find(&format!("\n## {chapter}\n")).expect("such a chapter") + 4;
    let chapter = text[begin..].split("\n## ").next().expect("its text");
    for_a_shell(chapter).flat_map(str::lines).collect()
}

#[test]
fn the_first_five_minutes_are_as_the_readme_says() {
    let mut stack = Stack::new("readme");
    let running = stack.start();
    let key = running["demonstration"]["api_key"].as_str();
    let mut command = Command::new("bash");
    command
        .env("GUILDHALL", running["url"].as_str().expect("a URL"))
        .env("KEY", key.unwrap_or_else(|| panic!("no key:\n{}", stack.said())))
        .stdin(Stdio::null());
    let lines = lines_for_a_shell("The first five minutes");
    // What is typed in from what `make run` has printed.
    let typed: Vec<&str> = lines.into_iter().filter(|line| !line.starts_with("export ")).collect();
    command.arg("-euc").arg(typed.join("\n"));
    // Whoever hears on a busy machine that there is too much to do, or that it is not done yet, types it once more.
    let busy = ["\"outcome\"", "\"status\": \"queued\"", "\"status\": \"running\""];
    let tries = std::iter::repeat_with(|| {
        let output = command.output().expect("bash");
        let read = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), read(&output.stdout), read(&output.stderr))
    });
    let mut tries = tries
        .take(5)
        .skip_while(|(_, said, _)| busy.iter().any(|sign| said.contains(sign)));
    let (well, said, complaint) = tries.next().expect("it had too much to do five times");

    assert!(well, "{said}\n{complaint}");
    for shown in [
        "\"slug\":\"demo\"",
        "\"status\": \"completed\"",
        "\"code\": \"unknown-field\"",
        "\"type\": \"http",
        "\"action\":\"agent.created\"",
    ] {
        assert!(said.contains(shown), "{shown} is not in\n{said}");
    }
}
