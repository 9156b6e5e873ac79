//! Answers in gzip.

use std::{
    convert::Infallible,
    io::{Read as _, Write as _},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use futures::stream;
use sync_wrapper::SyncStream;
use tokio::sync::mpsc;
use warp::{
    Filter, Reply,
    http::{HeaderValue, header},
    path::FullPath,
    reply::Response,
};

use super::server::{Server, config};

fn long() -> String {
    "a line that comes again and again\n".repeat(2_000)
}

/// `/stream` has the pieces that come from the channel, `/short` is short, `/tagged` and all others are long.
async fn serve(pieces: mpsc::Receiver<Bytes>) -> Server {
    let pieces = Arc::new(Mutex::new(Some(pieces)));
    let answer = warp::path::full().map(move |path: FullPath| {
        let (mut answer, media_type) = match path.as_str() {
            "/stream" => {
                let pieces = pieces.lock().unwrap().take().unwrap();
                let pieces = stream::unfold(pieces, async |mut pieces| {
                    let piece: Bytes = pieces.recv().await?;
                    Some((Ok::<_, Infallible>(piece), pieces))
                });
                (warp::reply::stream(SyncStream::new(pieces)).into_response(), "application/x-ndjson")
            }
            "/short" => (Response::new("{}".into()), "application/json"),
            _ => (Response::new(long().into()), "application/json"),
        };
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        if path.as_str() == "/tagged" {
            headers.insert(header::ETAG, HeaderValue::from_static("\"1\""));
        }
        answer
    });
    Server::serve(config(), answer).await
}

async fn get(server: &Server, path: &str, accepted: &str) -> reqwest::Response {
    let request = reqwest::Client::new().get(format!("http://{}{path}", server.address));
    let request = if accepted.is_empty() { request } else { request.header("accept-encoding", accepted) };
    request.send().await.unwrap()
}

fn header<'a>(answer: &'a reqwest::Response, name: &str) -> Option<&'a str> {
    answer.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_is_packed_where_its_client_asks_and_says_so() {
    let (_pieces, receiver) = mpsc::channel(1);
    let server = serve(receiver).await;
    for accepted in ["gzip", "br, gzip;q=0.5", "*"] {
        let answer = get(&server, "/long", accepted).await;
        assert_eq!(header(&answer, "content-encoding"), Some("gzip"));
        assert_eq!(header(&answer, "vary"), Some("accept-encoding"));
        assert_eq!(header(&answer, "content-length"), None);
        let packed = answer.bytes().await.unwrap();
        assert!(packed.len() < 2_000, "{}", packed.len());
        let mut text = String::new();
        MultiGzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, long());
    }
    for accepted in ["", "br", "gzip;q=0"] {
        let answer = get(&server, "/long", accepted).await;
        assert_eq!(header(&answer, "content-encoding"), None, "{accepted}");
        assert_eq!(header(&answer, "vary"), Some("accept-encoding"));
        assert_eq!(answer.text().await.unwrap(), long());
    }
    for path in ["/short", "/tagged"] {
        let answer = get(&server, path, "gzip").await;
        assert_eq!((header(&answer, "content-encoding"), header(&answer, "vary")), (None, None), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_piece_of_a_packed_stream_arrives_before_the_next_one_is_there() {
    let (pieces, receiver) = mpsc::channel(1);
    let server = serve(receiver).await;
    let mut answer = get(&server, "/stream", "gzip").await;
    assert_eq!(header(&answer, "content-encoding"), Some("gzip"));
    let mut decoder = flate2::write::GzDecoder::new(Vec::new());
    for number in 0..5 {
        let line = format!("{{\"line\":{number}}}\n");
        pieces.send(line.clone().into()).await.unwrap();
        while !String::from_utf8_lossy(decoder.get_ref()).contains(&line) {
            decoder.write_all(&answer.chunk().await.unwrap().unwrap()).unwrap();
            decoder.flush().unwrap();
        }
    }
    drop(pieces);
    while let Some(chunk) = answer.chunk().await.unwrap() {
        decoder.write_all(&chunk).unwrap();
    }
    assert!(decoder.finish().unwrap().ends_with(b"{\"line\":4}\n"));
}
