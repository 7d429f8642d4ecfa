//! Bad input of every kind: schemathesis makes requests out of the served document, right ones and wrong ones, and compares each answer
//! with what the document promises. `FUZZ_EXAMPLES=2000 SEED=7` makes it longer and different; without them it is the same every time.

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

use crate::{
    identity::{login, someone},
    world::{Caller, World},
};

/// What every answer is held against.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,missing_required_header,unsupported_method,allow_header_conformance,\
                      use_after_free,ensure_resource_availability,ignored_auth";

/// What takes the credential away from the requests that come after it.
const TAKES_AWAY: &str = "api_keys_delete|members_delete|members_update|workspace_leave|auth_logout|me_change_password|me_end_session|\
                          me_end_other_sessions";
/// What a key may not ask: it takes a session, and often a fresh one.
const FOR_PEOPLE: &str = "api_keys_create|api_keys_update|webhook_secrets_reveal|auth_step_up|workspaces_list|me_get|me_update|\
                          me_list_permissions|me_get_preferences|me_update_preferences|me_list_security_events|me_list_sessions|me_list_workspaces";

/// Where schemathesis is. `None` on a machine that cannot have it.
fn tool() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".guildhall/venv/bin");
    let folders = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&folders)
        .chain([own])
        .map(|folder| folder.join("schemathesis"))
        .find(|program| program.is_file());
    assert!(
        found.is_some() || env::var_os("CI").is_none(),
        "schemathesis is missing: `scripts/setup test` fetches it into .guildhall/venv (it needs python3 with venv and a Python package index)"
    );
    if found.is_none() {
        eprintln!("no schemathesis here: the round of bad input is left out (`scripts/setup test` fetches it)");
    }
    found
}

/// Runs it. The same seed makes the same requests.
fn run(tool: &Path, location: &str, workspace: &str, arguments: &[&str]) -> Output {
    let seed = env::var("SEED").unwrap_or_else(|_| "1".into());
    let folder = env::temp_dir().join(format!("guildhall-bad-input-{}", uuid::Uuid::new_v4().simple()));
    fs::create_dir(&folder).expect("a folder for its files");
    // Made up like the other headers, it would turn most requests away at the door.
    let settings = format!("[parameters]\n\"header.Guildhall-Workspace\" = \"{workspace}\"\n");
    fs::write(folder.join("schemathesis.toml"), settings).expect("its settings");
    let output = Command::new(tool)
        .current_dir(&folder)
        .args(["run", location, "--checks", CHECKS, "--seed", &seed])
        .args([
            "--generation-database",
            "none",
            "--generation-with-security-parameters",
            "false",
        ])
        .args([
            "--continue-on-failure",
            "--suppress-health-check",
            "all",
            "--warnings",
            "off",
        ])
        .args(["--no-color", "--request-timeout", "20"])
        .args(arguments)
        .output()
        .expect("schemathesis starts");
    fs::remove_dir_all(&folder).expect("its folder goes");
    output
}

/// What it said, from its first failure on.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let from = text
        .find("= FAILURES =")
        .or_else(|| text.find("= ERRORS ="))
        .unwrap_or(0);
    format!("{}\n{errors}", &text[from..])
}

/// Tries operations as a caller; panics with what came out otherwise than the document says.
async fn try_out(world: &World, tool: &Path, caller: &Caller, operations: &[&str]) {
    let (tool, location) = (tool.to_owned(), format!("{}/openapi.json", world.base));
    let examples = env::var("FUZZ_EXAMPLES").unwrap_or_else(|_| "3".into());
    let workspace = caller.get("/workspace").await.ok().id();
    let headers = [
        format!("Authorization: Bearer {}", caller.credential()),
        format!("X-Forwarded-For: {}", world.address),
    ];
    let mut arguments = vec!["-n".to_owned(), examples];
    arguments.extend(headers.into_iter().flat_map(|header| ["-H".to_owned(), header]));
    arguments.extend(operations.iter().map(|&argument| argument.to_owned()));
    let work = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run(&tool, &location, &workspace, &arguments)
    };
    let output = tokio::task::spawn_blocking(work).await.expect("it ends");
    assert!(output.status.success(), "{}", said(&output));
}

/// The operations of an owner's key whose names begin like this.
async fn try_out_as_owner(names: &str) {
    let Some(tool) = tool() else { return };
    let world = World::new().await;
    let owner = world.owner();
    let theirs = format!("^({TAKES_AWAY}|{FOR_PEOPLE})$");
    let these = [
        "--include-operation-id-regex",
        names,
        "--exclude-operation-id-regex",
        &theirs,
    ];
    try_out(&world, &tool, &owner, &these).await;
    // All that was asked by somebody who may.
    owner.get("/workspace").await.ok();
}

#[actix_web::test]
async fn made_up_requests_find_no_server_error_and_nothing_that_is_not_documented() {
    try_out_as_owner("^[a-l]").await;
}

// Two of them take half as long as one.
#[actix_web::test]
async fn so_do_those_to_the_other_half_of_the_operations() {
    try_out_as_owner("^[^a-l]").await;
}

#[actix_web::test]
async fn so_do_those_of_people_who_have_just_signed_in() {
    let Some(tool) = tool() else { return };
    let world = World::new().await;
    let person = someone(&world).await;
    world.join(world.home(), person.user, "owner");
    let session = login(&world, &person).await;
    let theirs = format!("^({FOR_PEOPLE})$");
    try_out(
        &world,
        &tool,
        &session.caller,
        &["--include-operation-id-regex", &theirs],
    )
    .await;
    session.caller.get("/workspace").await.ok();

    let ends = format!("^({TAKES_AWAY})$");
    try_out(&world, &tool, &session.caller, &["--include-operation-id-regex", &ends]).await;
}

#[actix_web::test]
async fn a_server_that_breaks_is_found_out() {
    let Some(tool) = tool() else { return };
    let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let url = format!("http://{}", socket.local_addr().expect("bound"));
    thread::spawn(move || {
        for mut stream in socket.incoming().flatten() {
            let mut head = [0; 4_096];
            let _ = stream.read(&mut head);
            let _ = stream
                .write_all(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/openapi.json");
    let document = document.to_string_lossy().into_owned();
    let only = [
        "--url",
        &url,
        "--include-operation-id",
        "workspace_get",
        "--phases",
        "fuzzing",
        "-n",
        "1",
    ];
    let arguments: Vec<String> = only.iter().map(|&argument| argument.to_owned()).collect();
    let work = move || {
        run(
            &tool,
            &document,
            "any",
            &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    };
    let output = tokio::task::spawn_blocking(work).await.expect("it ends");
    assert!(
        !output.status.success() && said(&output).contains("Server error"),
        "{}",
        said(&output)
    );
}
