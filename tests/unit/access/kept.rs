//! The credentials of requests on one connection, of which the last is remembered.

use std::{fs, time::Duration};

use highwater_web::auth::{AuthConfig, KeySource, Scope, cli::KeyCommand};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    Guarded, Keyring, PATIENCE,
    tokens::{ISSUER, Signer, auth, claims},
};

/// A connection that stays open.
struct Kept(BufReader<TcpStream>);

impl Kept {
    async fn to(guarded: &Guarded) -> Self {
        Self(BufReader::new(TcpStream::connect(guarded.address).await.unwrap()))
    }

    /// The status of a request with that header.
    async fn status(&mut self, header: &str) -> u16 {
        let request = format!("HEAD /api/events HTTP/1.1\r\nhost: localhost\r\n{header}\r\n\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).await.unwrap(), 0, "the connection has ended: {head}");
        }
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    async fn bearer(&mut self, token: &str) -> u16 {
        self.status(&format!("authorization: Bearer {token}")).await
    }

    async fn until_refused(&mut self, token: &str) {
        let refused = async {
            while self.bearer(token).await == 200 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, refused).await.expect("it counts no more");
        assert_eq!(self.bearer(token).await, 401);
    }
}

/// The same with another last character.
fn altered(token: &str) -> String {
    let (rest, last) = token.split_at(token.len() - 1);
    format!("{rest}{}", if last == "A" { "B" } else { "A" })
}

#[tokio::test]
async fn each_request_of_a_connection_counts_by_its_own_credential() {
    let keys = Keyring::new();
    let (reads, writes) = (keys.add("reads", &[Scope::Read]), keys.add("writes", &[Scope::Write]));
    let signer = Signer::ed("ed");
    let path = std::env::temp_dir().join(format!("highwater-jwks-{}", uuid::Uuid::new_v4()));
    fs::write(&path, json!({ "keys": [signer.jwk()] }).to_string()).unwrap();
    let auth = AuthConfig { keys: keys.auth().keys, ..auth(ISSUER, KeySource::File(path.clone())) };
    let guarded = Guarded::by(auth).await;
    let token = signer.sign(&claims(json!({})));
    let mut kept = Kept::to(&guarded).await;
    for _ in 0..2 {
        assert_eq!(kept.bearer(&reads).await, 200);
        assert_eq!(kept.bearer(&reads).await, 200);
        assert_eq!(kept.bearer(&altered(&reads)).await, 401);
        assert_eq!(kept.status("accept: */*").await, 401, "without a credential");
        assert_eq!(kept.bearer(&writes).await, 403);
        assert_eq!(kept.status(&format!("x-api-key: {reads}")).await, 200);
        assert_eq!(kept.bearer(&reads[..reads.len() - 1]).await, 401);
        assert_eq!(kept.bearer(&token).await, 200);
        assert_eq!(kept.status(&format!("x-api-key: {token}")).await, 401, "a token is no key");
        assert_eq!(kept.bearer(&token).await, 200);
        assert_eq!(kept.bearer(&token.replacen("ey", "eY", 1)).await, 401);
        assert_eq!(kept.bearer(&format!("{token}A")).await, 401);
    }
    fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn a_key_that_is_revoked_ends_on_a_connection_that_used_it() {
    let keys = Keyring::new();
    let (first, second) = (keys.add("first", &[Scope::Read]), keys.add("second", &[Scope::Read]));
    let guarded = Guarded::by(keys.auth()).await;
    let mut kept = Kept::to(&guarded).await;
    assert_eq!(kept.bearer(&first).await, 200);
    keys.run(KeyCommand::Revoke { name: "first".to_owned() }).unwrap();
    kept.until_refused(&first).await;
    assert_eq!(kept.bearer(&second).await, 200);
}

#[tokio::test]
async fn a_key_that_expires_ends_on_a_connection_that_used_it() {
    let keys = Keyring::new();
    let task = KeyCommand::Add {
        name: "brief".to_owned(),
        scopes: vec![Scope::Read],
        expires: Some(Duration::from_secs(2)),
        requests_per_second: None,
        events_per_second: None,
    };
    let key = keys.run(task).unwrap().trim_end().to_owned();
    let guarded = Guarded::by(keys.auth()).await;
    let mut kept = Kept::to(&guarded).await;
    assert_eq!(kept.bearer(&key).await, 200);
    kept.until_refused(&key).await;
}

#[tokio::test]
async fn a_token_ends_with_its_issuers_key_on_a_connection_that_used_it() {
    let (old, new) = (Signer::ed("old"), Signer::ed("new"));
    let path = std::env::temp_dir().join(format!("highwater-jwks-{}", uuid::Uuid::new_v4()));
    let write = |key: &Signer| fs::write(&path, json!({ "keys": [key.jwk()] }).to_string()).unwrap();
    write(&old);
    let guarded = Guarded::by(auth(ISSUER, KeySource::File(path.clone()))).await;
    let mut kept = Kept::to(&guarded).await;
    let token = old.sign(&claims(json!({})));
    assert_eq!(kept.bearer(&token).await, 200);
    write(&new);
    kept.until_refused(&token).await;
    assert_eq!(kept.bearer(&new.sign(&claims(json!({})))).await, 200);
    fs::remove_file(&path).unwrap();
}
