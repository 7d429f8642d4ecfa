//! Somebody who gets webhooks.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use crate::world::patience::slow_peer;

use serde_json::Value;

/// A receiver: keeps what it gets, and answers what it is told to, then 204. Each call has a thread of its own.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    got: Arc<Mutex<Vec<Got>>>,
    answers: Arc<Mutex<VecDeque<&'static str>>>,
    door: Arc<(Mutex<bool>, Condvar)>,
    takes: Duration,
}

#[derive(Clone)]
pub struct Got {
    head: String,
    pub body: String,
}

impl Got {
    pub fn header(&self, name: &str) -> String {
        let line = self
            .head
            .lines()
            .find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    }

    /// What was called: `/in`.
    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }
}

impl Receiver {
    pub fn new() -> Receiver {
        Receiver::that_takes(Duration::ZERO)
    }

    /// One whose work on a call takes so long.
    pub fn that_takes(takes: Duration) -> Receiver {
        let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let receiver = Receiver {
            url: format!("http://{}/in", socket.local_addr().expect("bound")),
            got: Arc::default(),
            answers: Arc::default(),
            door: Arc::default(),
            takes,
        };
        let own = receiver.clone();
        thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                let own = own.clone();
                thread::spawn(move || own.take(stream));
            }
        });
        receiver
    }

    fn take(&self, mut stream: TcpStream) {
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4_096]);
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let got = Got {
                    head: head.to_owned(),
                    body: body.to_owned(),
                };
                if body.len() >= got.header("content-length").parse().unwrap_or(0) {
                    self.got.lock().expect("no panic").push(got);
                    break;
                }
            }
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(n) => bytes.extend_from_slice(&chunk[..n]),
            }
        }
        let answer = self
            .answers
            .lock()
            .expect("no panic")
            .pop_front()
            .unwrap_or("204 No Content");
        slow_peer(self.takes);
        let (closed, opened) = &*self.door;
        drop(
            opened
                .wait_while(closed.lock().expect("no panic"), |closed| *closed)
                .expect("no panic"),
        );
        let _ = write!(
            stream,
            "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
    }

    pub fn answers(&self, answer: &'static str, times: usize) {
        self.answers
            .lock()
            .expect("no panic")
            .extend(std::iter::repeat_n(answer, times));
    }

    /// Keeps callers waiting for their answers until [`Receiver::release`].
    pub fn hold(&self) {
        *self.door.0.lock().expect("no panic") = true;
    }

    pub fn release(&self) {
        *self.door.0.lock().expect("no panic") = false;
        self.door.1.notify_all();
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().expect("no panic").clone()
    }

    /// The names that the workspace had in the events that came, in the order in which they came.
    pub fn names(&self) -> Vec<String> {
        let name = |got: &Got| got.json()["data"]["name"].as_str().unwrap_or_default().to_owned();
        self.got().iter().map(name).collect()
    }
}
