//! Peers that misbehave.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{Excess, Failure, Outgoing},
    Book, outbound,
    peers::Peer,
};

async fn send(outgoing: Outgoing) -> Result<super::super::Answer, Failure> {
    outbound(&["127.0.0.0/8"], Book::default()).send(outgoing).await
}

fn brief(url: String) -> Outgoing {
    Outgoing {
        patience: Duration::from_millis(600),
        ..Outgoing::get(url)
    }
}

fn write(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).is_ok()
}

#[actix_web::test]
async fn what_we_send_is_what_arrives() {
    let peer = Peer::saying("thanks");
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert("webhook-id", "evt_1".parse().expect("a value"));
    let answer = send(Outgoing::post(peer.url("/hooks?a=b"), headers, b"{\"id\":1}".to_vec()))
        .await
        .expect("answered");
    assert_eq!(
        (answer.status, answer.text(100).as_str(), answer.cut),
        (200, "thanks", false)
    );
    let head = peer.heads().remove(0).to_ascii_lowercase();
    assert!(head.starts_with("post /hooks?a=b http/1.1\r\n"), "{head}");
    for line in ["webhook-id: evt_1", "content-length: 8", "user-agent: guildhall/"] {
        assert!(head.contains(line), "{head}");
    }
    assert!(
        !head.contains("cookie") && !head.contains("accept-encoding") && !head.contains("referer"),
        "{head}"
    );
}

#[actix_web::test]
async fn a_peer_that_never_answers_or_trickles_is_left_in_time() {
    let silent = Peer::start(|_| thread::sleep(Duration::from_secs(5)));
    let head_only = Peer::start(|stream| {
        write(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n");
        thread::sleep(Duration::from_secs(5));
    });
    let trickling = Peer::start(|stream| {
        write(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
        while write(stream, b"x") {
            thread::sleep(Duration::from_millis(50));
        }
    });
    for peer in [silent, head_only, trickling] {
        let begun = Instant::now();
        assert_eq!(send(brief(peer.url("/"))).await.err(), Some(Failure::Timeout));
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
}

#[actix_web::test]
async fn an_endless_answer_is_cut_or_refused() {
    let endless = || {
        Peer::start(|stream| {
            write(stream, b"HTTP/1.1 200 OK\r\n\r\n");
            while write(stream, &[b'x'; 65_536]) {}
        })
    };
    let short = |url: String, excess| Outgoing {
        answer_limit: 1_000,
        excess,
        ..Outgoing::get(url)
    };
    let cut = send(short(endless().url("/"), Excess::Cut))
        .await
        .expect("its beginning");
    assert_eq!((cut.body.len(), cut.cut), (1_000, true));
    assert_eq!(
        send(short(endless().url("/"), Excess::Refuse)).await.err(),
        Some(Failure::BodyTooLarge)
    );
}

#[actix_web::test]
async fn what_is_not_text_can_still_be_kept() {
    let peer = Peer::start(|stream| {
        write(
            stream,
            b"HTTP/1.1 500 Oh\r\nx-odd: a\xffb\r\nconnection: close\r\n\r\nno\xff\x00pe",
        );
    });
    let answer = send(Outgoing::get(peer.url("/"))).await.expect("an answer");
    assert_eq!(answer.status, 500);
    assert_eq!(answer.header("x-odd"), Some("a\u{fffd}b"));
    assert_eq!(answer.text(100), "no\u{fffd}pe");
    assert_eq!(answer.text(2), "no");
}

#[actix_web::test]
async fn only_so_many_headers_are_kept_and_a_flood_is_refused() {
    let many = |count: usize| {
        Peer::start(move |stream| {
            let headers: String = (0..count).map(|at| format!("x-{at}: y\r\n")).collect();
            write(
                stream,
                format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n").as_bytes(),
            );
        })
    };
    let kept = send(Outgoing::get(many(60).url("/"))).await.expect("an answer");
    assert_eq!(kept.headers.len(), 32);
    assert_eq!(
        send(Outgoing::get(many(10_000).url("/"))).await.err(),
        Some(Failure::Http)
    );
}

#[actix_web::test]
async fn each_failure_has_its_name() {
    let free = TcpListener::bind("127.0.0.1:0")
        .and_then(|it| it.local_addr())
        .expect("a free port");
    assert_eq!(
        send(Outgoing::get(format!("http://{free}/"))).await.err(),
        Some(Failure::Connect)
    );
    assert_eq!(
        send(Outgoing::get("http://nobody.example:8080/")).await.err(),
        Some(Failure::Dns)
    );
    let babble = Peer::start(|stream| {
        write(stream, b"220 mail.example ESMTP\r\n");
    });
    assert_eq!(send(Outgoing::get(babble.url("/"))).await.err(), Some(Failure::Http));
    let plain = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let secure = format!("https://{}/", plain.local_addr().expect("bound"));
    thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            let _hello = stream.read(&mut [0; 4_096]);
            write(&mut stream, b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    assert_eq!(send(Outgoing::get(secure)).await.err(), Some(Failure::Tls));
    let broken = Peer::start(|stream| {
        write(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
    });
    assert_eq!(send(Outgoing::get(broken.url("/"))).await.err(), Some(Failure::Http));
}

#[actix_web::test]
async fn interim_answers_are_not_the_answer() {
    let storm = Peer::start(|stream| {
        for _ in 0..20 {
            write(stream, b"HTTP/1.1 103 Early Hints\r\n\r\n");
        }
        write(stream, b"HTTP/1.1 204 No Content\r\n\r\n");
    });
    assert_eq!(
        send(Outgoing::get(storm.url("/"))).await.map(|answer| answer.status),
        Ok(204)
    );
}
