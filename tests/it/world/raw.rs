//! Connections below what HTTP clients can do.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A connection whose bytes the test chooses.
pub struct Wire(TcpStream);

/// What came back, as it came.
pub struct Raw {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
    wire: TcpStream,
}

impl Raw {
    /// Whether the server says that it closes, and does.
    pub async fn closes(mut self) -> bool {
        let ended = tokio::time::timeout(Duration::from_secs(20), self.wire.read(&mut [0; 64])).await;
        matches!(ended, Ok(Ok(0) | Err(_)))
    }

    #[track_caller]
    pub fn refused(&self, code: &str) {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no document: {:?}", self.body));
        assert_eq!(body["code"], code, "{}{}", self.head, self.body);
        assert_eq!(body["status"], self.status);
        assert!(self.head.contains("application/problem+json"), "{}", self.head);
    }
}

impl Wire {
    pub async fn to(base: &str) -> Wire {
        let address = base.trim_start_matches("http://");
        Wire(TcpStream::connect(address).await.expect("the server listens"))
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Sends a chunk as often as that, at most so many times, until something comes back.
    pub async fn trickle(&mut self, chunk: &str, every: Duration, most: usize) {
        for _ in 0..most {
            if !self.send(chunk).await || tokio::time::timeout(every, self.0.readable()).await.is_ok() {
                break;
            }
        }
    }

    /// Sends no more, and waits until the server has closed as well.
    pub async fn break_off(mut self) {
        self.0.shutdown().await.expect("an open connection");
        while let Ok(1..) = self.0.read(&mut [0; 4_096]).await {}
    }

    /// Reads one answer: as long as its head says, or until the server closes.
    pub async fn answer(mut self) -> Raw {
        let (mut all, mut chunk) = (Vec::new(), [0; 4_096]);
        while !is_whole(&String::from_utf8_lossy(&all)) {
            match self.0.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(read) => all.extend_from_slice(&chunk[..read]),
            }
        }
        let text = String::from_utf8_lossy(&all).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text.as_str(), ""));
        Raw {
            status: head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
            wire: self.0,
        }
    }

    pub async fn exchange(base: &str, bytes: impl AsRef<[u8]>) -> Raw {
        let mut wire = Wire::to(base).await;
        wire.send(bytes).await;
        wire.answer().await
    }
}

fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let head = head.to_ascii_lowercase();
    let length = head
        .split_once("content-length: ")
        .and_then(|(_, rest)| rest.split("\r\n").next()?.parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}
