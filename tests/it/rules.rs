//! The rules that keep the house standing. An exception list may only shrink.

mod imports;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use guildhall::app::problems;

/// Every Rust file below a folder, with its text.
pub fn sources(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(&root.join(folder), &mut found);
    found.sort();
    let name = |path: &Path| {
        path.strip_prefix(root)
            .expect("below the root")
            .to_string_lossy()
            .into_owned()
    };
    found
        .iter()
        .map(|path| (name(path), fs::read_to_string(path).expect("text")))
        .collect()
}

/// Files that are tests from end to end.
fn is_test(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/") || file.contains("/mutants/")
}

/// A file without the tests at its end. Where it only says that they are in another file, it goes on.
fn shipped(text: &str) -> &str {
    const TESTS: &str = "#[cfg(test)]\nmod ";
    let begins_here = |at: usize| {
        text[at + TESTS.len()..]
            .lines()
            .next()
            .is_some_and(|line| line.ends_with('{'))
    };
    let tests = text.match_indices(TESTS).find(|(at, _)| begins_here(*at));
    tests.map_or(text, |(at, _)| &text[..at])
}

/// Lines that are not comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    shipped(text)
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(n, line)| (n + 1, line))
}

/// The rule holds.
pub fn none(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

fn mentions(files: &[(String, String)], wanted: &[&str], allowed: impl Fn(&str) -> bool) -> Vec<String> {
    let mut broken = Vec::new();
    for (file, text) in files.iter().filter(|(file, _)| !allowed(file) && !is_test(file)) {
        for (n, line) in code(text) {
            if wanted.iter().any(|word| line.contains(word)) {
                broken.push(format!("{file}:{n}: {}", line.trim()));
            }
        }
    }
    broken
}

#[test]
fn statements_are_typed() {
    const ALLOWED: [&str; 2] = ["src/kernel/db.rs", "src/kernel/jobs/queries/mod.rs"];
    let broken = mentions(&sources("src"), &["sql_query("], |file| ALLOWED.contains(&file));
    none("raw statements stand in two files only", broken);
}

#[test]
fn a_query_that_fails_is_not_taken_for_an_answer() {
    let mut broken = Vec::new();
    for (file, text) in sources("src").iter().filter(|(file, _)| !is_test(file)) {
        let code: String = code(text).map(|(_, line)| format!("{line}\n")).collect();
        for statement in code.split([';', '{', '}']) {
            let asks = statement.contains("(tx,") || statement.contains("tx.conn()");
            let blind = ["map_err(|_|", "is_err()", "is_ok()"].into_iter().any(|habit| {
                let before = statement.split(habit).next().unwrap_or_default();
                before.len() < statement.len() && !before.trim_end_matches(['.', '\n', ' ']).ends_with('?')
            });
            if asks && blind {
                broken.push(format!("{file}: {}", statement.trim()));
            }
        }
    }
    none(
        "a timeout or a lost connection must not become a refusal: map the one that is meant (`or_refuse`, `on_unique`)",
        broken,
    );
}

#[test]
fn files_stay_small() {
    let found = sources("src")
        .into_iter()
        .chain(sources("tests"))
        .map(|(file, text)| (file, text.lines().count()))
        .filter(|(_, lines)| *lines > 400)
        .map(|(file, lines)| format!("{file}: {lines} lines"))
        .collect();
    none("no file has more than 400 lines", found);
}

#[test]
fn functions_stay_short() {
    let mut found = Vec::new();
    for (file, text) in sources("src").into_iter().filter(|(file, _)| !is_test(file)) {
        let mut begun: Option<(usize, usize, String)> = None;
        for (n, line) in shipped(&text).lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            match &begun {
                Some((start, depth, name)) if indent == *depth && line.trim_start().starts_with('}') => {
                    if n - start > 60 {
                        found.push(format!(
                            "{file}: {name} has {} lines from line {}",
                            n - start,
                            start + 1
                        ));
                    }
                    begun = None;
                }
                Some(_) => {}
                None if line.contains("fn ")
                    && !line.trim_start().starts_with("//")
                    && !line.trim_end().ends_with(';') =>
                {
                    let name = line
                        .split("fn ")
                        .nth(1)
                        .unwrap_or_default()
                        .split(['(', '<'])
                        .next()
                        .unwrap_or_default();
                    if !line.trim_end().ends_with('}') {
                        begun = Some((n, indent, name.to_owned()));
                    }
                }
                None => {}
            }
        }
    }
    none("no function has more than 60 lines", found);
}

#[test]
fn every_handler_first_asks_who_may() {
    const FIRST: [&str; 7] = [
        "Can",
        "AnyHolder",
        "Person",
        "BySession",
        "Visit",
        "Principal",
        "Holder",
    ];
    const OPEN: &str = include_str!("registry/open_handlers.txt");
    let open: BTreeSet<&str> = OPEN
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    let mut unused = open.clone();
    let mut broken = Vec::new();
    for (file, text) in sources("src") {
        let lines: Vec<&str> = shipped(&text).lines().collect();
        for (n, line) in lines.iter().enumerate() {
            let attribute = ["#[get(", "#[post(", "#[put(", "#[patch(", "#[delete("]
                .iter()
                .any(|start| line.trim_start().starts_with(start));
            if !attribute {
                continue;
            }
            let rest = lines[n + 1..].join(" ");
            let Some((_, signature)) = rest.split_once("async fn ") else {
                continue;
            };
            let name = signature.split('(').next().unwrap_or_default();
            let first = signature
                .split_once('(')
                .map_or("", |(_, arguments)| arguments)
                .split([',', ')'])
                .next()
                .unwrap_or_default();
            let key = format!("{file} {name}");
            let kind = first.rsplit(": ").next().unwrap_or_default();
            let kind = kind.trim().split(['<', ' ', '(']).next().unwrap_or_default();
            if FIRST.contains(&kind) {
                continue;
            }
            if open.contains(key.as_str()) {
                unused.remove(key.as_str());
            } else {
                broken.push(format!("{file}:{}: {name}({first}, …)", n + 2));
            }
        }
    }
    none(
        "a handler's first argument says who may call it, or it is listed in registry/open_handlers.txt",
        broken,
    );
    none(
        "lines of registry/open_handlers.txt whose handler is gone or closed",
        unused.into_iter().map(str::to_owned).collect(),
    );
}

#[test]
fn every_declared_refusal_and_event_is_in_a_catalogue() {
    let wiring: String = sources("src/app").into_iter().map(|(_, text)| text).collect();
    let mut broken = Vec::new();
    for (file, text) in sources("src/kernel").into_iter().chain(sources("src/features")) {
        let slice = file
            .trim_start_matches("src/kernel/")
            .trim_start_matches("src/features/")
            .split(['/', '.'])
            .next()
            .unwrap_or_default()
            .to_owned();
        for (mark, list) in [("problems! {", "PROBLEMS"), ("events! {", "EVENTS")] {
            let declares =
                code(&text).any(|(_, line)| line.trim_end().ends_with(mark) && !line.contains("macro_rules"));
            if declares && !wiring.contains(&format!("{slice}::{list}")) {
                broken.push(format!(
                    "{file} declares {list}, and no catalogue in src/app lists {slice}::{list}"
                ));
            }
        }
    }
    none(
        "an undeclared refusal has no page, an undeclared event no schema",
        broken,
    );
    assert!(problems::catalogue().len() > 60);
}

/// A setting that is accepted and then ignored is a lie.
#[test]
fn every_setting_is_used() {
    let files = sources("src");
    let sections = files
        .iter()
        .find(|(file, _)| file.ends_with("kernel/config/sections.rs"));
    let (_, sections) = sections.expect("the sections");
    let fields: BTreeSet<&str> = sections
        .lines()
        .filter_map(|line| line.strip_prefix("    pub ")?.split_once(':'))
        .map(|(name, _)| name)
        .filter(|name| !name.starts_with("fn "))
        .collect();
    assert!(fields.len() > 40, "{fields:?}");
    let used = |field: &str| {
        let uses = files
            .iter()
            .filter(|(file, _)| !is_test(file) && !file.ends_with("sections.rs"));
        uses.into_iter()
            .any(|(_, text)| code(text).any(|(_, line)| line.contains(&format!(".{field}"))))
    };
    let broken = fields
        .iter()
        .filter(|field| !used(field))
        .map(|field| (*field).to_owned())
        .collect();
    none("settings that nobody reads", broken);
}

#[test]
fn what_is_judged_ends_where_tests_begin_and_not_where_they_are_named() {
    let text = "#[cfg(test)]\nmod tests;\nfn one() {}\n#[cfg(test)]\nmod tests {\nfn two() {}\n}\n";
    assert!(shipped(text).contains("one") && !shipped(text).contains("two"));
    assert_eq!(shipped("fn one() {}"), "fn one() {}");
}

#[test]
fn nothing_is_left_unfinished() {
    let words = "todo!( unimplemented!( #[ignore ```ignore ```no_run ```compile_fail ```rust, #[allow( dbg!(";
    let all: Vec<(String, String)> = sources("src")
        .into_iter()
        .chain(sources("tests"))
        .filter(|(file, _)| file != "tests/it/rules.rs")
        .collect();
    let mut broken = Vec::new();
    for (file, text) in &all {
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| words.split(' ').any(|word| line.contains(word)));
        broken.extend(lines.map(|(n, line)| format!("{file}:{}: {}", n + 1, line.trim())));
    }
    none("words of unfinished work", broken);
}

#[test]
fn every_instant_of_an_answer_is_written_in_one_form() {
    let mut broken = Vec::new();
    for (file, text) in sources("src") {
        let lines: Vec<&str> = shipped(&text).lines().collect();
        let mut serialized = false;
        for (n, line) in lines.iter().enumerate() {
            let line = line.trim();
            if line.starts_with("#[derive(") {
                serialized = line.split([',', '(', ')', ' ']).any(|word| word == "Serialize");
            }
            if line == "}" {
                serialized = false;
            }
            let instant = line.ends_with(": DateTime<Utc>,") || line.ends_with(": Option<DateTime<Utc>>,");
            let written = n > 0
                && ["serialize_with", "(with", "serde(skip"]
                    .iter()
                    .any(|how| lines[n - 1].contains(how));
            if serialized && instant && !written {
                broken.push(format!("{file}:{}: {line}", n + 1));
            }
        }
    }
    none("instants that are not written by kernel::clock::millis", broken);
}

#[test]
fn no_test_sleeps_but_to_look_again() {
    const HELPER: &str = "tests/it/world/patience.rs";
    let words = ["time::sleep", "thread::sleep", " sleep("];
    let mut broken = Vec::new();
    for (file, text) in sources("tests/it") {
        if file == HELPER || file == "tests/it/rules.rs" {
            continue;
        }
        let lines = text.lines().enumerate();
        let asleep = lines.filter(|(_, line)| words.iter().any(|word| line.contains(word)));
        broken.extend(asleep.map(|(n, line)| format!("{file}:{}: {}", n + 1, line.trim())));
    }
    none(
        "a test waits for what must come to be (tests/it/world/patience.rs), and wins no race by sleeping",
        broken,
    );
}

#[test]
fn the_binary_is_built_to_survive_a_panic() {
    let manifest = include_str!("../../Cargo.toml");
    assert!(manifest.contains("panic = \"unwind\"") && !manifest.contains("panic = \"abort\""));
    assert!(manifest.contains("unsafe_code = \"forbid\""));
}
