//! What the documentation tells people to type works when it is typed, block after block, against a stack that was just started.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::{
    dev::{Stack, asked},
    rules::none,
    world::patience::found,
};

/// The files whose calls are typed here, each with what must be in what they say.
const TYPED: [(&str, &[&str]); 2] = [
    (
        "docs/licensing.md",
        &[
            "\"code\":\"sso\"",
            "\"key\":\"gld_",
            "\"code\":\"no_machine\"",
            "\"next\":\"activate_machine\"",
            "\"already_active\":false",
        ],
    ),
    ("docs/billing.md", &["\"status\":\"active\"", "\"now\":"]),
];

/// The blocks of a text that are meant for a shell.
pub fn for_a_shell(text: &str) -> impl Iterator<Item = &str> {
    let blocks = text.split("```sh\n").skip(1);
    blocks.filter_map(|block| block.split("```").next())
}

/// Those of a file.
fn blocks(file: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("a document");
    for_a_shell(&text).map(str::to_owned).collect()
}

#[test]
fn what_the_documentation_tells_to_type_works() {
    let mut stack = Stack::new("docs");
    let running = stack.start();
    let text = |pointer: &str| {
        running
            .pointer(pointer)
            .and_then(Value::as_str)
            .expect("a text")
            .to_owned()
    };
    let (url, key) = (text("/url"), text("/demonstration/api_key"));
    for (file, shown) in TYPED {
        // A refusal ends the script, as it would stop a reader.
        let script = format!(
            "curl() {{ command curl --fail-with-body \"$@\"; echo; }}\n{}",
            blocks(file).join("\n")
        );
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .env("API", format!("{url}/api/v1"))
            .env("KEY", &key)
            .env("STRIPE", text("/stripe/url"))
            .stdin(Stdio::null())
            .output()
            .expect("bash");
        let said = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{file}:\n{said}\n{complaint}");
        for one in shown {
            // Both servers write JSON, one of them for people.
            let plain = said.replace("\": ", "\":");
            assert!(plain.contains(one), "{file}: {one} is not in\n{said}");
        }
    }
    // What the documentation of plans says to come a second or two later.
    let bearer = format!("Bearer {key}");
    found(
        Duration::from_secs(20),
        || "the plan is still another".into(),
        || {
            let bill = asked(&running, "GET", "/api/v1/billing", &[("authorization", &bearer)], None)?;
            bill.to_string().contains("\"pro\"").then_some(())
        },
    );
}

#[test]
fn no_document_has_calls_that_nobody_types() {
    let typed: BTreeSet<&str> = TYPED.iter().map(|(file, _)| *file).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut broken = Vec::new();
    let older = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("a document");
    for name in TYPED
        .iter()
        .map(|(file, _)| *file)
        .chain(["README.md", "examples/quickstart.sh"])
    {
        // Debian 11 and Ubuntu 22.04 have a curl that does not know it.
        if older(name).contains(" --json") {
            broken.push(format!("{name} uses curl --json"));
        }
    }
    for entry in fs::read_dir(folder).expect("the documentation").flatten() {
        let name = format!("docs/{}", entry.file_name().to_string_lossy());
        let calls = name.ends_with(".md") && blocks(&name).iter().any(|block| block.contains("curl "));
        if calls != typed.contains(name.as_str()) && name.ends_with(".md") {
            broken.push(name);
        }
    }
    none("documents whose calls are in no test, or have none any more", broken);
}
