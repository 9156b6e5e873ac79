//! Credentials of the service that do not last: tokens, sessions, passwords and certificates that are renewed while it
//! runs. As in [`super::security`], on a real Kafka that listens securely.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::{Instant, sleep},
};

use super::security::{MUTUAL, SASL_PLAINTEXT, SASL_SSL, Secured, Settings, get, post, sasl};
use crate::support::{Program, eventually};

/// How long the tokens of the tests are valid.
const TOKEN: Duration = Duration::from_secs(5);
/// How often events are posted.
const PACE: Duration = Duration::from_millis(150);

/// A server of unsecured tokens for the client `highwater` (RFC 6749, section 4.4; RFC 7515, appendix A.5).
struct TokenServer {
    url: String,
    given: Arc<AtomicUsize>,
}

impl TokenServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/oauth2/token", listener.local_addr().unwrap());
        let given = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&given);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"scope=events%3Awrite+events%3Aread") {
                    if client.read_buf(&mut request).await.unwrap() == 0 {
                        break;
                    }
                }
                let request = String::from_utf8(request).unwrap();
                let is_known = request.starts_with("POST /oauth2/token HTTP/1.1\r\n")
                    && request.contains("\r\nauthorization: Basic aGlnaHdhdGVyOmElMkZzZWNyZXQ=\r\n")
                    && request.contains("\r\n\r\ngrant_type=client_credentials&scope=");
                let (status, said) = if is_known {
                    counted.fetch_add(1, Ordering::Relaxed);
                    (
                        "200 OK",
                        json!({"access_token": token(), "token_type": "Bearer", "expires_in": TOKEN.as_secs()}),
                    )
                } else {
                    let about = "no such client";
                    ("401 Unauthorized", json!({"error": "invalid_client", "error_description": about}))
                };
                let said = said.to_string();
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{said}", said.len());
                client.write_all(head.as_bytes()).await.unwrap();
            }
        });
        Self { url, given }
    }

    fn settings(&self, secret: &str) -> Settings {
        vec![
            ("KAFKA_SASL_MECHANISM", "OAUTHBEARER".to_owned()),
            ("KAFKA_SASL_OAUTH_TOKEN_URL", self.url.clone()),
            ("KAFKA_SASL_OAUTH_CLIENT_ID", "highwater".to_owned()),
            ("KAFKA_SASL_OAUTH_CLIENT_SECRET", secret.to_owned()),
            ("KAFKA_SASL_OAUTH_SCOPE", "events:write events:read".to_owned()),
            ("KAFKA_SASL_OAUTH_EXTENSIONS", "logicalCluster=lkc-1".to_owned()),
        ]
    }
}

/// With a fraction, as some servers have it.
fn token() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let claims = json!({"sub": "highwater", "iat": now, "exp": now + TOKEN.as_secs_f64()});
    let encoded = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.", encoded(json!({"alg": "none"}).to_string()), encoded(claims.to_string()))
}

/// A directory that is gone after the test.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("highwater-test-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&directory).unwrap();
        Self(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// In place of what it held, at once, as Kubernetes and certbot do.
    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let fresh = self.0.join(format!(".{name}"));
        fs::write(&fresh, content).unwrap();
        fs::rename(fresh, self.0.join(name)).unwrap();
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Nothing is lost with it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn is_ready(address: &str) {
    let what = format!("{address} is ready");
    eventually(&what, async || (get(address, "/ready").await.0 == StatusCode::OK).then_some(())).await;
}

/// Time for a broker that has just started: its first handshakes take long, and each event has to be taken.
fn patience() -> (&'static str, String) {
    ("PRODUCE_TIMEOUT", "10s".to_owned())
}

/// Events are taken and read all the time until then, and nothing of Kafka fails.
async fn assert_flows_until(program: &Program, done: impl Fn() -> bool) {
    let address = program.address().await;
    is_ready(&address).await;
    let before = program.log().text().lines().count();
    let mut last = String::new();
    while !done() {
        let posted = post(&address).await;
        assert_eq!(posted.status(), StatusCode::CREATED, "{}", program.log().text());
        let event: serde_json::Value = posted.json().await.unwrap();
        event["eventId"].as_str().unwrap().clone_into(&mut last);
        sleep(PACE).await;
    }
    let (found, _) = get(&address, &format!("/events/processed/{last}?wait=10s")).await;
    assert_eq!(found, StatusCode::OK);
    let log = program.log().text();
    let troubles: Vec<_> = log.lines().skip(before).filter(|line| is_trouble(line)).collect();
    assert!(troubles.is_empty(), "{troubles:#?}");
}

/// That the one broker cannot replicate is told whenever a topic is found, which can be late.
fn is_trouble(line: &str) -> bool {
    let is_warning = line.contains(r#""level":"WARN""#) || line.contains(r#""level":"ERROR""#);
    is_warning && !line.contains("replication factor")
}

async fn assert_stops(secured: &Secured, program: Program, secret: &str) {
    program.signal(Signal::TERM);
    let log = program.log();
    let ended = program.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    secured.assert_kept(&[secret], &[log.text(), ended.stderr].join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_flow_with_tokens_that_are_renewed_before_they_end() {
    let Some(secured) = Secured::start().await else { return };
    let server = TokenServer::start().await;
    let mut settings = secured.at(SASL_PLAINTEXT, "SASL_PLAINTEXT");
    settings.extend(server.settings("a/secret"));
    settings.push(patience());
    let program = secured.program(&settings);
    let began = Instant::now();
    assert_flows_until(&program, || began.elapsed() > TOKEN * 3).await;
    let given = server.given.load(Ordering::Relaxed);
    assert!((3..=8).contains(&given), "{given} tokens");
    assert_stops(&secured, program, "a/secret").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_told_and_the_secret_is_not() {
    let Some(secured) = Secured::start().await else { return };
    let server = TokenServer::start().await;
    let mut settings = secured.at(SASL_PLAINTEXT, "SASL_PLAINTEXT");
    settings.extend(server.settings("not-the-secret-6f1c"));
    let program = secured.program(&settings);
    let line = program.says("no token from http://127.0.0.1:").await;
    assert_eq!(line["level"], "ERROR", "{line}");
    let told = line["message"].as_str().unwrap();
    assert!(told.contains("401 Unauthorized: invalid_client: no such client"), "{told}");
    let address = program.address().await;
    assert_eq!(get(&address, "/ready").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_stops(&secured, program, "not-the-secret-6f1c").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_end_are_renewed_without_a_failure() {
    let Some(secured) = Secured::start().await else { return };
    let mut settings = secured.tls(SASL_SSL);
    settings.extend(sasl("SCRAM-SHA-256", &secured.password()));
    settings.push(patience());
    let program = secured.program(&settings);
    let began = Instant::now();
    // The brokers of scripts/kafka.sh end a session of this mechanism after 4 s.
    assert_flows_until(&program, || began.elapsed() > Duration::from_secs(13)).await;
    assert_stops(&secured, program, &secured.password()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_read_again_when_its_file_changes() {
    let Some(secured) = Secured::start().await else { return };
    let files = Files::new();
    files.put("password", "not-the-password-6f1c");
    let mut settings = secured.at(SASL_PLAINTEXT, "SASL_PLAINTEXT");
    settings.extend(sasl("SCRAM-SHA-512", ""));
    settings.push(("KAFKA_SASL_PASSWORD_FILE", files.path("password")));
    let program = secured.program(&settings);
    program.says("refuses user highwater").await;
    files.put("password", secured.password());
    is_ready(&program.address().await).await;
    assert_stops(&secured, program, "not-the-password-6f1c").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_read_again_when_its_files_change() {
    let Some(secured) = Secured::start().await else { return };
    let files = Files::new();
    let put = |name: &str, of: &str| files.put(name, fs::read(secured.file(of)).unwrap());
    // Of an authority that the brokers do not trust.
    put("client.pem", "other-ca.pem");
    put("client.key", "other-ca.key");
    let mut settings = secured.tls(MUTUAL);
    settings.push(("KAFKA_SSL_CERTIFICATE", files.path("client.pem")));
    settings.push(("KAFKA_SSL_KEY", files.path("client.key")));
    let program = secured.program(&settings);
    program.says("received fatal alert").await;
    // For a while the certificate is not the key's.
    put("client.pem", "client.pem");
    put("client.key", "client.key");
    is_ready(&program.address().await).await;
    assert_stops(&secured, program, "PRIVATE KEY").await;
}
