//! Peers that answer as they are told, and count who came.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

pub(super) struct Peer {
    pub(super) address: SocketAddr,
    hits: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    /// A peer on 127.0.0.1. It reads a head, notes it, and does what it is told with the connection.
    pub(super) fn start(answer: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Peer {
        Peer::on(TcpListener::bind("127.0.0.1:0").expect("a free port"), answer)
    }

    /// A peer that answers 200 with this body.
    pub(super) fn saying(body: &'static str) -> Peer {
        Peer::start(move |stream| {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _gone = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(body.as_bytes()));
        })
    }

    pub(super) fn on(listener: TcpListener, answer: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Peer {
        let address = listener.local_addr().expect("bound");
        let (hits, heads): (Arc<AtomicUsize>, Arc<Mutex<Vec<String>>>) = Default::default();
        let (counted, noted, answer) = (hits.clone(), heads.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                counted.fetch_add(1, Ordering::SeqCst);
                let (noted, answer) = (noted.clone(), answer.clone());
                thread::spawn(move || {
                    let head = head(&mut stream);
                    noted.lock().expect("no panic").push(head);
                    answer(&mut stream);
                });
            }
        });
        Peer { address, hits, heads }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }

    pub(super) fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no panic").clone()
    }
}

fn head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && head.len() < 8_192 && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}
