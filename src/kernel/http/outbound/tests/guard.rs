//! What may be called, and what may not.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, TcpListener},
    process::Command,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    super::{Answer, Failure, Outbound, Outgoing, Policy, Refusal},
    Book, outbound,
    peers::Peer,
    policy,
};
use crate::kernel::error::{Error, TARGET_NOT_ALLOWED};

const CORPUS: &str = include_str!("corpus.txt");
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

async fn refused(outbound: &Outbound, url: &str) -> Refusal {
    match outbound.send(Outgoing::get(url)).await {
        Err(Failure::TargetNotAllowed(refusal)) => refusal,
        other => panic!("{url:?} was not refused: {other:?}"),
    }
}

async fn reached(outbound: &Outbound, url: &str) -> Answer {
    outbound
        .send(Outgoing::get(url))
        .await
        .unwrap_or_else(|failure| panic!("{url:?}: {failure:?}"))
}

fn unescaped(line: &str) -> String {
    let mut text = line.replace(r"\t", "\t").replace(r"\n", "\n").replace(r"\r", "\r");
    while let Some((before, rest)) = text.split_once(r"\u{") {
        let (code, after) = rest.split_once('}').expect("closed");
        let letter = u32::from_str_radix(code, 16)
            .ok()
            .and_then(char::from_u32)
            .expect("a character");
        text = format!("{before}{letter}{after}");
    }
    text
}

#[actix_web::test]
async fn no_spelling_of_an_inner_address_makes_a_connection() {
    let v4 = Peer::on(TcpListener::bind("0.0.0.0:0").expect("a free port"), |_| ());
    let port = v4.address.port();
    let v6 = TcpListener::bind(("::1", port))
        .ok()
        .map(|listener| Peer::on(listener, |_| ()));
    let book = || {
        Book {
            otherwise: Some(LOOPBACK),
            ..Book::default()
        }
        .with("public.example", &[&["93.184.215.14"]])
    };
    let guarded = outbound(&[], book());
    let spellings: Vec<String> = CORPUS
        .lines()
        .filter(|line| !line.starts_with("# "))
        .map(|line| unescaped(line).replace("{port}", &port.to_string()))
        .collect();
    assert!(spellings.len() >= 300, "{}", spellings.len());
    for spelling in &spellings {
        refused(&guarded, spelling).await;
    }
    // The same listeners are reached as soon as an operator says so: they were not merely deaf.
    assert_eq!((v4.hits(), v6.as_ref().map_or(0, Peer::hits)), (0, 0));
    let allowed = outbound(&["127.0.0.0/8"], book());
    let _hangs_up = allowed.send(Outgoing::get(format!("http://127.0.0.1:{port}/"))).await;
    assert_eq!(v4.hits(), 1);
}

#[test]
fn public_addresses_are_targets_in_every_honest_spelling() {
    for url in [
        "https://example.com",
        "https://example.com/hooks?token=a%20b&c=d",
        "https://EXAMPLE.com./",
        "https://example.com:8443/",
        "https://bücher.example/",
        "https://xn--bcher-kva.example/",
        "http://example.com:80/",
        "https://1.1.1.1/",
        "https://0x01010101/",
        "https://[2606:4700:4700::1111]/",
        "https://[64:ff9b::8.8.8.8]/",
        "https://hooks.slack.com/services/T0/B0/x",
        "https://a_b.example:1024/",
    ] {
        assert!(
            policy(&[]).judge(url).is_ok(),
            "{url}: {:?}",
            policy(&[]).judge(url).err()
        );
    }
    let target = policy(&[]).judge("https://EXAMPLE.com./a").expect("a target");
    assert_eq!(target.url().as_str(), "https://example.com/a", "one spelling");
}

#[actix_web::test]
async fn the_twin_that_an_operator_allows_is_reached_by_network_address_and_name() {
    let peer = Peer::saying("hello");
    let port = peer.address.port();
    let book = || {
        Book::default()
            .with("n8n.internal", &[&["127.0.0.1"]])
            .with("other.internal", &[&["127.0.0.1"]])
    };
    for allowed in ["127.0.0.0/8", "127.0.0.1"] {
        let answer = reached(&outbound(&[allowed], book()), &peer.url("/")).await;
        assert_eq!(
            (answer.status, answer.body.as_slice(), answer.peer),
            (200, &b"hello"[..], LOOPBACK)
        );
    }
    let by_name = outbound(&["n8n.internal"], book());
    reached(&by_name, &format!("http://n8n.internal:{port}/")).await;
    reached(&by_name, &format!("http://N8N.internal.:{port}/")).await;
    assert_eq!(
        refused(&by_name, &format!("http://other.internal:{port}/")).await,
        Refusal::Address(LOOPBACK)
    );
    assert_eq!(
        refused(&by_name, &peer.url("/")).await,
        Refusal::Address(LOOPBACK),
        "the name, not its address"
    );
    assert_eq!(peer.hits(), 4);
}

#[actix_web::test]
async fn one_forbidden_address_refuses_the_whole_answer() {
    let peer = Peer::saying("hello");
    let book = Book::default()
        .with("mixed.example", &[&["93.184.215.14", "127.0.0.1"]])
        .with("nat.example", &[&["64:ff9b::127.0.0.1"]])
        .with("empty.example", &[&[]]);
    let guarded = outbound(&[], book);
    let url = |name: &str| format!("http://{name}:{}/", peer.address.port());
    assert_eq!(
        refused(&guarded, &url("mixed.example")).await,
        Refusal::Address(LOOPBACK)
    );
    assert!(matches!(
        refused(&guarded, &url("nat.example")).await,
        Refusal::Address(IpAddr::V6(_))
    ));
    assert_eq!(
        guarded.send(Outgoing::get(url("empty.example"))).await.err(),
        Some(Failure::Dns)
    );
    assert_eq!(peer.hits(), 0);
}

#[actix_web::test]
async fn a_name_that_changes_its_mind_is_refused_whenever_it_does() {
    let peer = Peer::saying("hello");
    let url = format!("http://rebind.example:{}/", peer.address.port());
    let (public, inner): (&[&str], &[&str]) = (&["93.184.215.14"], &["127.0.0.1"]);
    // Judged as public, then inner at the moment of the connection.
    let at_connect = outbound(&[], Book::default().with("rebind.example", &[public, inner]));
    assert_eq!(refused(&at_connect, &url).await, Refusal::Address(LOOPBACK));
    // Public when the endpoint was created, inner when it is called.
    let at_send = outbound(&[], Book::default().with("rebind.example", &[public, inner]));
    assert!(at_send.vet(&url).await.is_ok());
    assert_eq!(refused(&at_send, &url).await, Refusal::Address(LOOPBACK));
    assert_eq!(at_send.vet(&url).await.err(), Some(Refusal::Address(LOOPBACK)));
    assert_eq!(peer.hits(), 0);
}

#[actix_web::test]
async fn an_open_connection_does_not_outlive_a_change_of_mind() {
    let peer = Peer::start(|stream| {
        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        std::thread::sleep(Duration::from_secs(2));
    });
    let url = format!("http://rebind.example:{}/", peer.address.port());
    let (allowed, inner): (&[&str], &[&str]) = (&["127.0.0.1"], &["127.0.0.2"]);
    let guarded = outbound(
        &["127.0.0.1"],
        Book::default().with("rebind.example", &[allowed, allowed, inner]),
    );
    reached(&guarded, &url).await;
    assert!(matches!(refused(&guarded, &url).await, Refusal::Address(_)));
}

#[actix_web::test]
async fn the_connected_peer_is_judged_once_more() {
    let peer = Peer::saying("hello");
    let honest = outbound(&[], Book::default().with("rogue.example", &[&["93.184.215.14"]]));
    let rogue = reqwest::Client::builder()
        .no_proxy()
        .resolve("rogue.example", peer.address)
        .build()
        .expect("a client");
    let fooled = Outbound {
        client: rogue,
        ..honest
    };
    let url = format!("http://rogue.example:{}/", peer.address.port());
    assert_eq!(refused(&fooled, &url).await, Refusal::Address(LOOPBACK));
}

#[actix_web::test]
async fn a_chain_of_redirects_is_not_walked() {
    let inner = Peer::saying("secret");
    let target = inner.url("/latest/meta-data");
    let outer = Peer::start(move |stream| {
        let head =
            format!("HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let _gone = stream.write_all(head.as_bytes());
    });
    let answer = reached(&outbound(&["127.0.0.0/8"], Book::default()), &outer.url("/")).await;
    assert_eq!((answer.status, inner.hits()), (302, 0));
    assert!(answer.header("location").is_some());
}

#[actix_web::test]
async fn proxy_variables_are_not_obeyed() {
    const TARGET: &str = "GUILDHALL_TEST_TARGET";
    if let Ok(url) = std::env::var(TARGET) {
        // The child: the guarded client goes straight, an ordinary one shows that the variables mean something.
        reached(&outbound(&["127.0.0.1"], Book::default()), &format!("{url}guarded")).await;
        let _refused = reqwest::Client::new().get(format!("{url}ordinary")).send().await;
        return;
    }
    let (proxy, target) = (Peer::saying("proxy"), Peer::saying("target"));
    let name = "kernel::http::outbound::tests::guard::proxy_variables_are_not_obeyed";
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child
        .args(["--exact", name])
        .env(TARGET, target.url("/"))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy");
    for variable in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        child.env(variable, proxy.url("/"));
    }
    let output = child.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(target.heads().iter().any(|head| head.contains("/guarded")));
    assert!(
        proxy.heads().iter().all(|head| !head.contains("guarded")),
        "{:?}",
        proxy.heads()
    );
    assert!(
        proxy.heads().iter().any(|head| head.contains("ordinary")),
        "the variables were not even seen"
    );
}

#[test]
fn our_own_address_is_no_target_unless_an_operator_says_so() {
    for url in [
        "https://guildhall.example/api/v1",
        "https://GUILDHALL.example./",
        "http://guildhall.example:8080/",
    ] {
        assert_eq!(policy(&[]).judge(url).err(), Some(Refusal::Ourselves), "{url}");
        assert!(policy(&["guildhall.example"]).judge(url).is_ok(), "{url}");
    }
}

#[test]
fn plain_http_is_the_operators_choice() {
    let strict = Policy::new(&[], false, "https://guildhall.example").expect("readable");
    assert_eq!(strict.judge("http://example.com/").err(), Some(Refusal::Scheme));
    assert!(strict.judge("https://example.com/").is_ok());
    assert_eq!(
        strict
            .judge(&format!("https://example.com/{}", "a".repeat(2_048)))
            .err(),
        Some(Refusal::TooLong)
    );
}

#[test]
fn an_unreadable_entry_names_its_key() {
    let refused =
        Policy::new(&["10.0.0.0/33".into()], false, "https://guildhall.example").expect_err("no such network");
    assert!(refused.to_string().contains("http.allow_targets"), "{refused}");
}

#[test]
fn the_customer_learns_neither_the_address_nor_the_reason() {
    let Error::Refused(problem) = Error::from(Refusal::Address(LOOPBACK)) else {
        panic!("a refusal")
    };
    assert_eq!(problem.kind(), TARGET_NOT_ALLOWED);
    assert!(problem.detail().is_none());
    assert_eq!(
        Failure::TargetNotAllowed(Refusal::Address(LOOPBACK)).code(),
        "target_not_allowed"
    );
}

#[actix_web::test]
async fn every_attempt_asks_for_the_name_again() {
    let peer = Peer::saying("hello");
    let book = Arc::new(Book::default().with("hook.example", &[&["127.0.0.1"]]));
    let guarded = Outbound::with(policy(&["127.0.0.1"]), book.clone()).expect("a client");
    let url = format!("http://hook.example:{}/", peer.address.port());
    for _ in 0..3 {
        let before = book.asked.load(Ordering::SeqCst);
        reached(&guarded, &url).await;
        assert!(book.asked.load(Ordering::SeqCst) > before);
    }
}
