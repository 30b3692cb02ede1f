//! The smallest HTTP client that tells status, headers and body: HTTP/1.0, so that nothing is chunked
//! or kept alive. For tests that ask a server of ours or Prometheus a handful of things.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "what a test stands on fails the test"
)]

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

pub async fn get(address: SocketAddr, path: &str) -> Reply {
    send(address, "GET", path, b"").await
}

pub async fn send(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> Reply {
    exchange(address, &request(method, path, body)).await
}

/// Sends a whole request as it is.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut reply = Vec::new();
    // A server that refuses a large body may reset the connection after its answer.
    let end = stream.read_to_end(&mut reply).await;
    assert!(end.is_ok() || !reply.is_empty(), "{end:?}");
    parse(&reply)
}

pub fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "{method} {path} HTTP/1.0\r\nhost: test\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

pub fn parse(reply: &[u8]) -> Reply {
    let text = String::from_utf8_lossy(reply);
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
    let status = head.split(' ').nth(1).expect("a status line");
    Reply {
        status: status.parse().unwrap(),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}
