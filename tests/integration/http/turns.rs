//! Which of many requests is read first.

use std::sync::{Arc, Mutex, OnceLock};

use highwater_web::http::Config;
use tokio::{net::TcpStream, task::unconstrained};
use warp::{Filter, Reply, http::Method};

use super::{
    client::Client,
    server::{Server, config},
};

const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n";

/// The methods that were asked for, in their order. As soon as the first GET is read, `writer` posts.
#[derive(Clone, Default)]
struct Ordered {
    asked: Arc<Mutex<Vec<Method>>>,
    writer: Arc<OnceLock<TcpStream>>,
}

impl Ordered {
    async fn serve(&self) -> Server {
        let Self { asked, writer } = self.clone();
        let routes = warp::method().map(move |method: Method| {
            let mut asked = asked.lock().unwrap();
            if asked.is_empty()
                && let Some(writer) = writer.get()
            {
                writer.try_write(POST).unwrap();
            }
            asked.push(method);
            "here".into_response()
        });
        Server::serve(Config { max_connections: 1000, ..config() }, routes).await
    }

    /// Connects the writer, which posts for the first time.
    async fn with_writer(&self, server: &Server) {
        let writer = TcpStream::connect(server.address).await.unwrap();
        writer.writable().await.unwrap();
        writer.try_write(POST).unwrap();
        Self::is_answered(&writer).await;
        self.writer.set(writer).unwrap();
        self.asked.lock().unwrap().clear();
    }

    async fn is_answered(writer: &TcpStream) {
        writer.readable().await.unwrap();
        let mut answer = [0; 1024];
        writer.try_read(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }

    /// Fails unless all of the crowd are answered, and the writer before nearly all of them.
    async fn writes_early(&self, crowd: Vec<Client>) {
        let size = crowd.len();
        for mut client in crowd {
            assert_eq!(client.answer().await.status, 200);
        }
        Self::is_answered(self.writer.get().unwrap()).await;
        let asked = self.asked.lock().unwrap();
        assert_eq!(asked.len(), size + 1);
        let before = asked.iter().position(|method| method == Method::POST).unwrap();
        assert!(before < 5, "{before} reads of {size} were before the write");
    }
}

#[tokio::test]
async fn a_write_is_read_before_a_crowd_of_reads_that_were_sent_before_it() {
    let ordered = Ordered::default();
    let server = ordered.serve().await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        let mut client = server.connect().await;
        assert_eq!(client.get("/").await.status, 200);
        crowd.push(client);
    }
    ordered.with_writer(&server).await;
    // The server gets no turn meanwhile.
    unconstrained(async {
        for client in &mut crowd {
            client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        }
    })
    .await;
    ordered.writes_early(crowd).await;
}
