//! An HTTP client that sends exactly the bytes of a test.

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

/// A connection.
pub(crate) struct Client<S = TcpStream> {
    stream: S,
    /// Received bytes that are not read yet.
    received: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body of an error; fails unless it is a whole problem of this status.
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], "about:blank");
        assert!(!body["title"].as_str().unwrap().is_empty());
        assert!(!body["detail"].as_str().unwrap().is_empty());
        body
    }
}

impl Client {
    pub(crate) async fn connect(address: std::net::SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, received: Vec::new() }
    }

    /// Sends bytes as they are. Fails when the other side no longer takes them.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends a byte, or tells that the other side is gone.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Closes the sending side.
    pub(crate) async fn end(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")).await;
        self.answer().await
    }

    /// The next answer whole, whose body has a length.
    pub(crate) async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        let mut answer = Answer { status: head[9..12].parse().unwrap(), head, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.received.len() < length {
            assert!(self.receive().await > 0, "the answer broke off: {answer:?}");
        }
        answer.body = self.received.drain(..length).collect();
        answer
    }

    /// The next answer's head, with its empty line.
    pub(crate) async fn head(&mut self) -> String {
        loop {
            if let Some(at) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                return String::from_utf8(self.received.drain(..at + 4).collect()).unwrap();
            }
            assert!(self.receive().await > 0, "closed before an answer's head was whole");
        }
    }

    /// Everything until the other side ends.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.receive().await > 0 {}
        std::mem::take(&mut self.received)
    }

    /// Reads so many bytes at most; returns how many.
    pub(crate) async fn sip(&mut self, most: usize) -> std::io::Result<usize> {
        self.stream.read(&mut vec![0; most]).await
    }

    async fn receive(&mut self) -> usize {
        self.stream.read_buf(&mut self.received).await.unwrap()
    }
}
