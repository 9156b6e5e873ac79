//! Keys, tokens and scopes of a program that runs.

use std::{fs, path::PathBuf, process::Command, sync::Arc};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use chrono::Utc;
use reqwest::{Client, Method};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring as provider,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};
use uuid::Uuid;

use crate::support::{Answered, Authority, Identity, Program, TestCluster, eventually, send};

const ISSUER: &str = "https://issuer.example";

/// The files of a program that authenticates its clients.
struct Files {
    directory: PathBuf,
    issuer: Ed25519KeyPair,
}

impl Files {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("highwater-access-{}", Uuid::new_v4()));
        fs::create_dir(&directory).unwrap();
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let issuer = Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap();
        let public = BASE64.encode(issuer.public_key());
        let jwks = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": public }] });
        fs::write(directory.join("jwks.json"), jwks.to_string()).unwrap();
        Self { directory, issuer }
    }

    fn keys(&self) -> PathBuf {
        self.directory.join("keys.json")
    }

    /// The output of `highwater keys`.
    fn highwater_keys(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
        command.env_clear().env("API_KEYS_FILE", self.keys()).current_dir(&self.directory);
        let ended = command.arg("keys").args(arguments).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        String::from_utf8(ended.stdout).unwrap().trim_end().to_owned()
    }

    fn key(&self, name: &str, scopes: &str) -> String {
        self.highwater_keys(&["add", "--name", name, "--scopes", scopes])
    }

    /// A token for ann with these scopes.
    fn token(&self, scopes: &str) -> String {
        self.token_of(ISSUER, scopes)
    }

    fn token_of(&self, issuer: &str, scopes: &str) -> String {
        let encoded = |part: Value| BASE64.encode(part.to_string());
        let header = encoded(json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "ed" }));
        let expires = Utc::now().timestamp() + 600;
        let claims = encoded(
            json!({ "iss": issuer, "aud": "highwater", "sub": "ann", "exp": expires, "scope": scopes }),
        );
        let message = format!("{header}.{claims}");
        let signature = BASE64.encode(self.issuer.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn command(&self, cluster: &TestCluster) -> Command {
        let mut command = Program::command(cluster);
        command.envs([("AUTH", "api-key,jwt"), ("JWT_ISSUER", ISSUER), ("JWT_AUDIENCE", "highwater")]);
        command.env("API_KEYS_FILE", self.keys()).env("JWT_JWKS", self.directory.join("jwks.json"));
        command
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The issuer over TLS, with a certificate for `localhost`; its URL. It answers by OpenID Connect Discovery.
async fn issuer_over_tls(certificate: &Identity, jwks: String) -> String {
    let chain = vec![CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (acceptor, listener) =
        (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let issuer = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let metadata = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") }).to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = vec![0; 4_096];
            let read = stream.read(&mut head).await.unwrap_or_default();
            let is_metadata = head[..read].starts_with(b"GET /.well-known/openid-configuration ");
            let body = if is_metadata { &metadata } else { &jwks };
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    issuer
}

async fn get(url: &str, token: &str) -> Answered {
    send(Client::new().get(url).bearer_auth(token)).await
}

async fn post(address: &str, user: &str, token: &str) -> u16 {
    let login = json!({ "userId": user, "eventType": "LOGIN" });
    let request = Client::new().post(format!("{address}/events/generate")).bearer_auth(token);
    send(request.json(&login)).await.status
}

#[tokio::test]
async fn a_program_with_auth_lets_in_by_key_and_by_token_and_ends_a_key_that_is_revoked() {
    let (files, cluster) = (Files::new(), TestCluster::start().await);
    let (reader, writer) = (files.key("reader", "events:read"), files.key("writer", "events:write"));
    let (token, own) = (files.token("events:read"), files.token("events:read:own events:write:own"));
    let mut command = files.command(&cluster);
    command.envs([("METRICS_PORT", "0"), ("RUST_LOG", "trace")]);
    let program = Program::start(command);
    let address = program.address().await;
    let events = format!("{address}/api/events");

    let refused = send(Client::new().get(&events)).await;
    assert_eq!(refused.header("www-authenticate"), "Bearer realm=\"highwater\"");
    assert_eq!((refused.status, refused.header("content-type")), (401, "application/problem+json"));
    for (credential, read) in [(&reader, 200), (&token, 200), (&own, 200), (&writer, 403)] {
        assert_eq!(get(&events, credential).await.status, read);
    }
    eventually("the event is written", async || (post(&address, "ann", &writer).await == 201).then_some(()))
        .await;
    for (user, credential, written) in
        [("ann", &own, 201), ("bob", &own, 403), ("ann", &reader, 403), ("ann", &token, 403)]
    {
        assert_eq!(post(&address, user, credential).await, written, "{user}");
    }

    // The counters are on their own port, for anyone, and not on this one.
    let line = program.says("/metrics is on http://").await;
    let metrics = line["message"].as_str().unwrap().split(' ').nth(3).unwrap();
    let counted = reqwest::get(format!("{metrics}/metrics")).await.unwrap();
    assert_eq!(counted.status(), 200);
    let counted = counted.text().await.unwrap();
    assert!(counted.contains("highwater_client_requests_total{client=\"reader\""), "{counted}");
    assert_eq!(send(Client::new().get(format!("{address}/metrics"))).await.status, 404);
    assert_eq!(send(Client::new().get(format!("{metrics}/api/events"))).await.status, 404);

    files.highwater_keys(&["revoke", "--name", "reader"]);
    eventually("the key is over", async || (get(&events, &reader).await.status == 401).then_some(())).await;
    assert_eq!(get(&events, &token).await.status, 200);
    assert_eq!(post(&address, "ann", &writer).await, 201);
    let told = format!("{}{counted}", program.log().text());
    for secret in [&reader, &writer, &token, &own] {
        assert!(!told.contains(secret.as_str()), "a secret is told");
    }
}

#[tokio::test]
async fn an_issuer_is_asked_over_tls_and_trusted_by_the_authority_that_jwt_ca_names() {
    let (files, cluster) = (Files::new(), TestCluster::start().await);
    let (own, other) = (Authority::new(), Authority::new());
    for (name, authority) in [("own.pem", &own), ("other.pem", &other)] {
        fs::write(files.directory.join(name), authority.pem()).unwrap();
    }
    let jwks = fs::read_to_string(files.directory.join("jwks.json")).unwrap();
    let issuer = issuer_over_tls(&own.server("issuer"), jwks).await;
    let token = files.token_of(&issuer, "events:read");
    // Of an authority that it does not know it believes nothing, and says so.
    for (ca, status) in [("own.pem", 200), ("other.pem", 503)] {
        let mut command = Program::command(&cluster);
        command.envs([("AUTH", "jwt"), ("JWT_ISSUER", issuer.as_str()), ("JWT_AUDIENCE", "highwater")]);
        command.env("JWT_CA", files.directory.join(ca));
        let program = Program::start(command);
        let events = format!("{}/api/events", program.address().await);
        assert_eq!(get(&events, &token).await.status, status, "{ca}");
        if status == 503 {
            program.says("the keys of the issuer cannot be had").await;
        }
        // Another's token is refused, whoever its issuer says that it is.
        let foreign = Files::new().token_of(&issuer, "events:read");
        assert_eq!(get(&events, &foreign).await.status, if status == 200 { 401 } else { 503 }, "{ca}");
    }
}

#[tokio::test]
async fn a_file_of_keys_that_cannot_be_read_for_a_while_opens_nothing_and_locks_nobody_out() {
    let (files, cluster) = (Files::new(), TestCluster::start().await);
    let known = files.key("known", "events:read");
    let whole = fs::read(files.keys()).unwrap();
    let program = Program::start(files.command(&cluster));
    let events = format!("{}/api/events", program.address().await);
    let unknown = format!("hw_{}", "A".repeat(43));
    let is_as_before = async || {
        assert_eq!(get(&events, &known).await.status, 200);
        assert_eq!(get(&events, &unknown).await.status, 401);
        assert_eq!(send(Client::new().get(&events)).await.status, 401);
    };
    is_as_before().await;
    fs::write(files.keys(), "").unwrap();
    program.says("the file of API keys holds no API keys").await;
    is_as_before().await;
    fs::remove_file(files.keys()).unwrap();
    program.says("the file of API keys cannot be read").await;
    is_as_before().await;
    // Everybody could change it.
    fs::write(files.keys(), &whole).unwrap();
    program.says("the file of API keys must be for its owner alone").await;
    is_as_before().await;
    // A key that is added once the file is whole again counts, and so does the end of another.
    fs::remove_file(files.keys()).unwrap();
    let added = files.key("added", "events:read");
    eventually("the new key counts", async || (get(&events, &added).await.status == 200).then_some(())).await;
    assert_eq!(get(&events, &known).await.status, 401, "it is in the file no more");
}

#[tokio::test]
async fn without_auth_on_every_address_one_warning_is_in_the_log_and_in_health() {
    const WARNING: &str = "clients are not authenticated, and the address is no loopback address: anyone who reaches this service may read and write";
    let (files, cluster) = (Files::new(), TestCluster::start().await);
    files.key("reader", "events:read");
    for (mut command, host, warnings) in [
        (Program::command(&cluster), "0.0.0.0", 1),
        (Program::command(&cluster), "127.0.0.1", 0),
        (files.command(&cluster), "0.0.0.0", 0),
    ] {
        command.env("HOST", host);
        let program = Program::start(command);
        let address = program.address().await.replace("0.0.0.0", "127.0.0.1");
        let health = send(Client::new().request(Method::GET, format!("{address}/health"))).await.body;
        let said = health["warnings"].as_array().cloned().unwrap_or_default();
        assert_eq!(said.iter().filter(|said| **said == WARNING).count(), warnings, "{health}");
        if warnings > 0 {
            program.says(WARNING).await;
        }
        assert_eq!(program.count(WARNING), warnings);
    }
}
