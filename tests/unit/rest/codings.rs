//! Bodies in gzip, zstd and brotli.

use std::io::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;

use super::service::{Answer, Service};

const EVENT: &str = r#"{"userId":"u-br","eventType":"LOGIN","payload":{"packed":"by brotli"}}"#;
/// [`EVENT`] by Node's `zlib.brotliCompressSync`.
const BROTLI: &str =
    "iyKAeyJ1c2VySWQiOiJ1LWJyIiwiZXZlbnRUeXBlIjoiTE9HSU4iLCJwYXlsb2FkIjp7InBhY2tlZCI6ImJ5IGJyb3RsaSJ9fQM=";
/// 64 MiB of spaces, with the largest window.
const BROTLI_BOMB: &str = "z///f/glQOKxQCD3/p/////wSwDEYQGA7v0/////4ZcAiMMiAN37//z//8cvARCHBQC69/8=";

fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: impl AsRef<[u8]>) -> Vec<u8> {
    zstd::encode_all(text.as_ref(), 3).unwrap()
}

fn brotli(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}

async fn post(service: &Service, path: &str, coding: &str, body: impl AsRef<[u8]>) -> Answer {
    let request = warp::test::request().method("POST").path(path).header("content-encoding", coding);
    service.send(request.body(body)).await
}

#[tokio::test]
async fn a_body_is_unpacked_by_each_coding_that_is_taken() {
    let service = Service::new();
    for (coding, body) in [
        ("gzip", gzip(EVENT)),
        ("X-GZip", gzip(EVENT)),
        ("zstd", zstd(EVENT)),
        ("identity, br", brotli(BROTLI)),
    ] {
        for path in ["/events/generate", "/api/events"] {
            let answer = post(&service, path, coding, &body).await;
            assert!(answer.status() < 300, "{coding}: {}", answer.text());
            let sent: serde_json::Value =
                serde_json::from_slice(service.sent()[0].value.as_ref().unwrap()).unwrap();
            assert_eq!(
                (&sent["userId"], &sent["payload"]),
                (&json!("u-br"), &json!({"packed": "by brotli"}))
            );
        }
    }
    // Members and frames follow each other.
    let (first, second) = EVENT.split_at(20);
    for (coding, body) in
        [("gzip", [gzip(first), gzip(second)].concat()), ("zstd", [zstd(first), zstd(second)].concat())]
    {
        post(&service, "/events/generate", coding, body).await.ok(201);
    }
}

#[tokio::test]
async fn what_unpacks_to_more_than_the_bound_is_413_however_small_it_came() {
    let service = Service::new();
    let spaces = vec![b' '; 64 << 20];
    for (coding, bomb) in [("gzip", gzip(&spaces)), ("zstd", zstd(&spaces)), ("br", brotli(BROTLI_BOMB))] {
        assert!(bomb.len() < 128 * 1024, "{coding}: {}", bomb.len());
        for path in ["/events/generate", "/events/batch"] {
            post(&service, path, coding, &bomb).await.problem(413);
        }
        let lines = warp::test::request().method("POST").path("/events/batch").body(&bomb);
        let lines = lines.header("content-encoding", coding).header("content-type", "application/x-ndjson");
        let answer = service.send(lines).await;
        assert_eq!(answer.status(), 207);
        assert_eq!(answer.json()["status"], 413, "{coding}: {}", answer.text());
    }
    assert_eq!(service.sent().len(), 0);
}

#[tokio::test]
async fn a_body_that_is_cut_off_or_is_not_what_its_coding_says_is_400() {
    let service = Service::new();
    for (coding, body) in [("gzip", gzip(EVENT)), ("zstd", zstd(EVENT)), ("br", brotli(BROTLI))] {
        for broken in
            [&body[..body.len() - 4], &body[..1], &[], EVENT.as_bytes(), &[body.as_slice(), b"more"].concat()]
        {
            let problem = post(&service, "/events/generate", coding, broken).await.problem(400);
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.starts_with(&format!("the body is not {coding}: ")), "{detail}");
        }
    }
    assert_eq!(service.sent().len(), 0);
}

#[tokio::test]
async fn an_unknown_coding_or_several_are_415_with_those_that_are_taken() {
    let service = Service::new();
    for coding in ["deflate", "compress", "gzip, gzip", "gzip, br", "gzip;q=1", "zip"] {
        let answer = post(&service, "/events/generate", coding, EVENT).await;
        answer.problem(415);
        assert_eq!(answer.header("accept-encoding"), Some("gzip, zstd, br"));
    }
    for none in ["", "identity", ",", "Identity, identity"] {
        post(&service, "/events/generate", none, EVENT).await.ok(201);
    }
}
