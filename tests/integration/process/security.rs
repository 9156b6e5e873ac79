//! TLS and SASL to a real Kafka. These tests run when TEST_KAFKA_SECRETS has the output of `scripts/kafka.sh secrets`
//! for the cluster of TEST_KAFKA_BROKERS, started with KAFKA_SECURITY=1. Otherwise they are skipped.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use reqwest::{Client, Response, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

use crate::support::{Program, TestCluster, eventually, skipped, switch};

/// Where the listeners are, by what is added to the first broker's port.
const SSL: u16 = 10;
pub(super) const SASL_PLAINTEXT: u16 = 20;
pub(super) const SASL_SSL: u16 = 30;
pub(super) const MUTUAL: u16 = 40;

const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// A cluster whose brokers listen securely, too.
pub(super) struct Secured {
    cluster: TestCluster,
    secrets: PathBuf,
}

pub(super) type Settings = Vec<(&'static str, String)>;

impl Secured {
    pub(super) async fn start() -> Option<Self> {
        let Some(secrets) = switch("TEST_KAFKA_SECRETS") else {
            skipped("security", "TEST_KAFKA_SECRETS is not set");
            return None;
        };
        Some(Self { cluster: TestCluster::start().await, secrets: secrets.into() })
    }

    fn port(&self, listener: u16) -> u16 {
        let (_, port) = self.cluster.brokers[0].rsplit_once(':').unwrap();
        port.parse::<u16>().unwrap() + listener
    }

    pub(super) fn file(&self, name: &str) -> String {
        self.secrets.join(name).display().to_string()
    }

    pub(super) fn password(&self) -> String {
        fs::read_to_string(self.secrets.join("password")).unwrap().trim_end().to_owned()
    }

    /// The settings of a listener that takes certificates; the client shows its own on MUTUAL.
    pub(super) fn tls(&self, listener: u16) -> Settings {
        let protocol = if listener == SASL_SSL { "SASL_SSL" } else { "SSL" };
        let mut settings = self.at(listener, protocol);
        settings.push(("KAFKA_SSL_CA", self.file("ca.pem")));
        if listener == MUTUAL {
            settings.push(("KAFKA_SSL_CERTIFICATE", self.file("client.pem")));
            settings.push(("KAFKA_SSL_KEY", self.file("client.key")));
        }
        settings
    }

    pub(super) fn at(&self, listener: u16, protocol: &str) -> Settings {
        vec![
            ("KAFKA_BROKERS", format!("127.0.0.1:{}", self.port(listener))),
            ("KAFKA_SECURITY_PROTOCOL", protocol.to_owned()),
        ]
    }

    /// A program that says all that it can, at once.
    pub(super) fn program(&self, settings: &Settings) -> Program {
        let mut command = Program::command(&self.cluster);
        command.envs([
            ("RUST_LOG", "trace"),
            ("PRODUCE_TIMEOUT", "1s"),
            ("KAFKA_HEARTBEAT_INTERVAL", "200ms"),
        ]);
        command.envs(settings.iter().map(|(name, value)| (name, value)));
        Program::start(command)
    }

    /// Nothing of it is in what was said: not the password, nor the key, in any form that Rust prints.
    pub(super) fn assert_kept(&self, secrets: &[&str], said: &str) {
        let key = fs::read_to_string(self.secrets.join("client.key")).unwrap();
        let key_lines = key.lines().filter(|line| !line.starts_with('-'));
        for secret in secrets.iter().copied().chain(key_lines) {
            let bytes = format!("{:?}", secret.as_bytes());
            for form in [secret, bytes.trim_matches(['[', ']'])] {
                let Some(at) = said.find(form) else { continue };
                let line = said[..at].matches('\n').count();
                panic!("a secret was told: {}", said.lines().nth(line).unwrap_or_default());
            }
        }
    }
}

pub(super) fn sasl(mechanism: &str, password: &str) -> Settings {
    vec![
        ("KAFKA_SASL_MECHANISM", mechanism.to_owned()),
        ("KAFKA_SASL_USERNAME", "highwater".to_owned()),
        ("KAFKA_SASL_PASSWORD", password.to_owned()),
    ]
}

pub(super) async fn post(address: &str) -> Response {
    let login = json!({"userId": "user-1", "eventType": "LOGIN"});
    Client::new().post(format!("{address}/events/generate")).json(&login).send().await.unwrap()
}

pub(super) async fn get(address: &str, path: &str) -> (StatusCode, String) {
    let answer = Client::new().get(format!("{address}{path}")).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// An event goes in and comes out, by the group; then the program stops, and has told no secret.
async fn assert_works(secured: &Secured, settings: &Settings) {
    let program = secured.program(settings);
    let address = program.address().await;
    let posted = eventually(&format!("an event is taken with {settings:?}"), async || {
        let answer = post(&address).await;
        (answer.status() == StatusCode::CREATED).then_some(answer)
    })
    .await;
    let posted: Value = posted.json().await.unwrap();
    let id = posted["eventId"].as_str().unwrap();
    let (found, _) = get(&address, &format!("/events/processed/{id}?wait=30s")).await;
    assert_eq!(found, StatusCode::OK, "{settings:?}");
    let (_, health) = get(&address, "/health").await;
    program.signal(Signal::TERM);
    let log = program.log();
    let ended = program.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    secured.assert_kept(&[&secured.password()], &[log.text(), ended.stderr, health].join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_flow_with_tls_and_with_a_client_certificate() {
    let Some(secured) = Secured::start().await else { return };
    for listener in [SSL, MUTUAL] {
        assert_works(&secured, &secured.tls(listener)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_flow_with_every_mechanism_of_sasl() {
    let Some(secured) = Secured::start().await else { return };
    for mechanism in MECHANISMS {
        let mut settings = secured.at(SASL_PLAINTEXT, "SASL_PLAINTEXT");
        settings.extend(sasl(mechanism, &secured.password()));
        assert_works(&secured, &settings).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_flow_with_every_mechanism_of_sasl_over_tls_and_the_password_from_a_file() {
    let Some(secured) = Secured::start().await else { return };
    for mechanism in MECHANISMS {
        let mut settings = secured.tls(SASL_SSL);
        settings.extend(sasl(mechanism, ""));
        settings.push(("KAFKA_SASL_PASSWORD_FILE", secured.file("password")));
        assert_works(&secured, &settings).await;
    }
}

/// The program stays up, is not ready, and says so, everywhere; and never what the secret is.
async fn assert_refused(secured: &Secured, settings: &Settings, secret: &str, (level, reason): (&str, &str)) {
    let program = secured.program(settings);
    let address = program.address().await;
    let line = program.says(reason).await;
    assert_eq!(line["level"], level, "{line}");
    let answer = post(&address).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let problem = answer.text().await.unwrap();
    // The user's name is for the log alone.
    let told = reason.replace("user highwater", "this service's user");
    assert!(problem.contains(&told), "{problem}");
    let (health, state) = get(&address, "/health").await;
    assert!(health == StatusCode::OK && state.contains(&told), "{health}: {state}");
    let (ready, unready) = get(&address, "/ready").await;
    assert_eq!(ready, StatusCode::SERVICE_UNAVAILABLE);
    program.signal(Signal::TERM);
    let log = program.log();
    let ended = program.end().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    secured.assert_kept(&[secret], &[log.text(), ended.stderr, problem, state, unready].join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_reported_and_never_shown() {
    let Some(secured) = Secured::start().await else { return };
    for mechanism in MECHANISMS {
        let mut settings = secured.at(SASL_PLAINTEXT, "SASL_PLAINTEXT");
        settings.extend(sasl(mechanism, "not-the-password-6f1c"));
        assert_refused(&secured, &settings, "not-the-password-6f1c", ("ERROR", "refuses user highwater"))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_trusted_or_of_another_host_is_reported() {
    let Some(secured) = Secured::start().await else { return };
    let mut settings = secured.tls(SSL);
    settings.push(("KAFKA_SSL_CA", secured.file("other-ca.pem")));
    assert_refused(&secured, &settings, "PRIVATE KEY", ("ERROR", "invalid peer certificate: ")).await;
    let mut settings = secured.tls(SSL);
    settings.push(("KAFKA_BROKERS", format!("localhost:{}", secured.port(SSL))));
    assert_refused(&secured, &settings, "PRIVATE KEY", ("ERROR", "certificate not valid for name ")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_client_certificate_is_reported() {
    let Some(secured) = Secured::start().await else { return };
    let mut settings = secured.tls(MUTUAL);
    settings.retain(|(name, _)| !matches!(*name, "KAFKA_SSL_CERTIFICATE" | "KAFKA_SSL_KEY"));
    assert_refused(&secured, &settings, "PRIVATE KEY", ("ERROR", "received fatal alert")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_without_tls_is_reported() {
    let Some(secured) = Secured::start().await else { return };
    let mut settings = secured.tls(SSL);
    settings.push(("KAFKA_BROKERS", secured.cluster.brokers[0].clone()));
    assert_refused(&secured, &settings, "PRIVATE KEY", ("WARN", "its listener may not speak TLS")).await;
}

/// Passes connections on, and counts them.
async fn counting_proxy(to: u16) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut broker = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                // Either side may end it.
                let _ = copy_bidirectional(&mut client, &mut broker).await;
            });
        }
    });
    (port, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_not_retried_in_a_loop() {
    let Some(secured) = Secured::start().await else { return };
    let (port, connections) = counting_proxy(secured.port(SASL_PLAINTEXT)).await;
    let mut settings = secured.at(SASL_PLAINTEXT, "SASL_PLAINTEXT");
    settings.extend(sasl("SCRAM-SHA-512", "not-the-password-6f1c"));
    settings.push(("KAFKA_BROKERS", format!("127.0.0.1:{port}")));
    let program = secured.program(&settings);
    let address = program.address().await;
    program.says("refuses user highwater").await;
    // Four seconds, in which each part asks for the brokers a dozen times.
    for _ in 0..4 {
        assert_eq!(post(&address).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    let connections = connections.load(Ordering::Relaxed);
    assert!(connections <= 4, "{connections} connections");
}

#[test]
fn the_example_of_a_secret_is_where_the_documents_say() {
    let directory = std::env::temp_dir().join(format!("highwater-test-{}", uuid::Uuid::new_v4()));
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("client.key"), "-----BEGIN PRIVATE KEY-----\nMIIE\n").unwrap();
    let told = |said: &'static str| {
        let directory = directory.clone();
        std::panic::catch_unwind(move || assert_kept_in(&directory, said)).is_err()
    };
    assert!(
        told("a line\nand hunter2") && told("the key MIIE") && told("[104, 117, 110, 116, 101, 114, 50]")
    );
    assert!(!told("nothing of all that"));
    fs::remove_dir_all(directory).unwrap();
}

fn assert_kept_in(directory: &Path, said: &str) {
    let cluster =
        TestCluster { brokers: Vec::new(), embedded: None, topic: String::new(), group: String::new() };
    Secured { cluster, secrets: directory.to_owned() }.assert_kept(&["hunter2"], said);
}
