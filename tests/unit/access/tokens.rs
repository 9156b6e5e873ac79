//! Tokens of an issuer: which are taken, and where the issuer's keys come from.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use highwater_net::client::Url;
use highwater_web::auth::{AuthConfig, JwtConfig, KeySource};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{Guarded, refused};

pub(super) const ISSUER: &str = "https://issuer.example";

/// A token that was signed with RS256 by a key that nobody has any more; valid until 2100.
pub(super) const SIGNED_BY_RSA: &str = concat!(
    "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6InJzYSJ9.",
    "eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwiYXVkIjoiaGlnaHdhdGVyIiwiZXhwIjo0MTAyNDQ0ODAwLCJzdWIiOiJhbm4iLCJjbGllbn",
    "RfaWQiOiJzaG9wIiwic2NvcGUiOiJldmVudHM6cmVhZCBldmVudHM6d3JpdGUifQ.",
    "NonZA9RrjCEC8fTVD07heJtKxudDrZydg3_89YU4CA_r7kTAHuahPHqmbk7oC50o7EynK57Qfb1fctrLlwlCGUZ5XVF8cQ__6epQMyJh0mza-GkfbC",
    "TO9T0Acq3Yqnnzqgfjl425CxG4wPchnz6WK9PZKdQDMAoeu4xd8-88SyJHQEwHW6P58MYpk4PxhpGv6zU4ka16pFllCsEwFSgM3izCf-Z95W_Srfi8",
    "kD1vhP9HaBPYZVtx5CGUfSMr-CqurL6Y4NHRPhQD7XMuJWQBe7Ba9rQtgb0e8AhoM7bHRpY2Zwez3AXuhA_YBzEXtb0YPs9Km_HRTJSLUjj7lxC-cw",
);
/// The modulus of that key.
pub(super) const RSA_MODULUS: &str = concat!(
    "xbI5V8Zt_GnbAdBPcORc4O3mjGvAv7366c5AVf7-H3teWiOFK1H3ZMUvpc_see7-WaJmLk1G_MSh8WZ0ihd82BNg0P1UUj4G-OCcF75gf86Ep0oMYY",
    "TNiYFKe2_BKW1UPD8qOae4TMzoWQ-b5gW-qPFZvcQsHHGMLPpCJ9DqxYc3fYjQLZZv6ajC9CTugV9yZTIZUvMKITiatCI-DPvrnkUXCCag3kMrWwpp",
    "7EUD1LWGIxK-UKbuHVynenepxUN1urqy6rhdN3rdqYuP5SRClegzAzGSNOBUOoZ3wKg9Tv0yEqK7FacqeMcrJ8edT-An02AHRXpAXUzruEKzWLlmLw",
);

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A header and claims as a token has them, without a signature.
pub(super) fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()))
}

/// A key that tokens are signed with.
pub(super) enum Signer {
    Ed(String, Ed25519KeyPair),
    Ec(String, EcdsaKeyPair),
}

impl Signer {
    pub(super) fn ed(id: &str) -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed(id.to_owned(), Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap())
    }

    pub(super) fn ec(id: &str) -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::Ec(id.to_owned(), EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap())
    }

    pub(super) fn jwk(&self) -> Value {
        match self {
            Self::Ed(id, key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": BASE64.encode(key.public_key()) })
            }
            Self::Ec(id, key) => {
                let point = key.public_key().as_ref();
                let (x, y) = (BASE64.encode(&point[1..33]), BASE64.encode(&point[33..]));
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": x, "y": y, "use": "sig" })
            }
        }
    }

    pub(super) fn header(&self) -> Value {
        match self {
            Self::Ed(id, _) => json!({ "alg": "EdDSA", "typ": "JWT", "kid": id }),
            Self::Ec(id, _) => json!({ "alg": "ES256", "typ": "at+jwt", "kid": id }),
        }
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.header(), claims)
    }

    pub(super) fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let signature = match self {
            Self::Ed(_, key) => key.sign(message.as_bytes()).as_ref().to_vec(),
            Self::Ec(_, key) => key.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{message}.{}", BASE64.encode(signature))
    }
}

/// Claims that are taken, with others in place of them.
pub(super) fn claims(others: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": "highwater", "sub": "ann", "exp": now() + 600, "scope": "openid events:read",
    });
    for (name, value) in others.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

/// The answers of an issuer, and how often it was asked for its keys.
pub(super) struct Issuer {
    address: SocketAddr,
    keys: Arc<Mutex<Value>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    /// One with these keys. Where they are null, it answers 500.
    pub(super) async fn with(keys: &[&Signer]) -> Self {
        let keys =
            Arc::new(Mutex::new(json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() })));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<AtomicUsize>::default();
        let (told, count) = (Arc::clone(&keys), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = vec![0; 4_096];
                let read = stream.read(&mut head).await.unwrap_or_default();
                let body = match String::from_utf8_lossy(&head[..read]).split(' ').nth(1) {
                    Some("/.well-known/openid-configuration") => {
                        let here = format!("http://{address}");
                        json!({ "issuer": here, "jwks_uri": format!("{here}/keys") })
                    }
                    _ => {
                        count.fetch_add(1, Ordering::SeqCst);
                        told.lock().unwrap().clone()
                    }
                };
                let (status, body) = match body {
                    Value::Null => ("500 Internal Server Error", String::new()),
                    body => ("200 OK", body.to_string()),
                };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, keys, asked }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn adds(&self, key: Value) {
        self.keys.lock().unwrap()["keys"].as_array_mut().unwrap().push(key);
    }

    fn rotate(&self, keys: &[&Signer]) {
        *self.keys.lock().unwrap() = json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() });
    }

    fn goes_away(&self) {
        *self.keys.lock().unwrap() = Value::Null;
    }

    pub(super) fn source(&self) -> KeySource {
        KeySource::Url(Url::parse(&format!("{}/keys", self.url())).unwrap())
    }

    pub(super) fn auth(&self) -> AuthConfig {
        auth(ISSUER, self.source())
    }
}

pub(super) fn auth(issuer: &str, keys: KeySource) -> AuthConfig {
    let jwt = JwtConfig {
        issuer: issuer.to_owned(),
        audience: vec!["highwater".to_owned(), "other".to_owned()],
        leeway: Duration::from_secs(30),
        keys,
        trust: None,
    };
    AuthConfig { jwt: Some(jwt), ..AuthConfig::default() }
}

#[tokio::test]
async fn tokens_of_all_three_algorithms_are_taken() {
    let (ed, ec) = (Signer::ed("ed"), Signer::ec("ec"));
    let issuer = Issuer::with(&[&ed, &ec]).await;
    let rsa = json!({ "kty": "RSA", "kid": "rsa", "alg": "RS256", "n": RSA_MODULUS, "e": "AQAB" });
    issuer.adds(rsa);
    let guarded = Guarded::by(issuer.auth()).await;
    for token in [ed.sign(&claims(json!({}))), ec.sign(&claims(json!({}))), SIGNED_BY_RSA.to_owned()] {
        let answer = guarded.get("/api/events", &token).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(guarded.post("ann", SIGNED_BY_RSA).await.status, 201);
    let figure = "highwater_client_requests_total{client=\"shop\",outcome=\"admitted\"}";
    assert_eq!(guarded.counted(figure), Some(2), "a token is counted by the client that it was given to");
}

#[tokio::test]
async fn claims_are_taken_within_the_leeway_and_refused_beyond() {
    let key = Signer::ed("ed");
    let issuer = Issuer::with(&[&key]).await;
    let guarded = Guarded::by(issuer.auth()).await;
    let now = now();
    for (others, status) in [
        (json!({ "aud": ["someone", "other"] }), 200),
        (json!({ "exp": now - 20 }), 200),
        (json!({ "exp": now - 40 }), 401),
        (json!({ "nbf": now + 20 }), 200),
        (json!({ "nbf": now + 60 }), 401),
        (json!({ "exp": null }), 401),
        (json!({ "exp": "4102444800" }), 401),
        (json!({ "nbf": "0" }), 401),
        (json!({ "iss": "https://another.example" }), 401),
        (json!({ "iss": [ISSUER] }), 401),
        (json!({ "iss": null }), 401),
        (json!({ "aud": "someone" }), 401),
        (json!({ "aud": null }), 401),
        (json!({ "aud": [] }), 401),
    ] {
        // Twice: neither a good verdict nor a bad one is kept for ever.
        for _ in 0..2 {
            let answer = guarded.get("/api/events", &key.sign(&claims(others.clone()))).await;
            assert_eq!(answer.status, status, "{others} {}", answer.text());
        }
    }
}

#[tokio::test]
async fn scopes_are_a_text_or_a_list() {
    let key = Signer::ed("ed");
    let issuer = Issuer::with(&[&key]).await;
    let guarded = Guarded::by(issuer.auth()).await;
    for (others, read, write) in [
        (json!({ "scope": "events:read events:write" }), 200, 201),
        (json!({ "scope": null, "scp": ["events:read", "profile"] }), 200, 403),
        (json!({ "scope": null, "scp": "events:write" }), 403, 201),
        (json!({ "scope": "events:read", "scp": ["events:write"] }), 200, 201),
        (json!({ "scope": "events:readx" }), 403, 403),
        (json!({ "scope": null }), 403, 403),
        (json!({ "scope": "events:read:own events:write:own" }), 200, 201),
        (json!({ "scope": "events:read:own events:write:own", "sub": "bob" }), 200, 403),
        (json!({ "scope": "events:read:own events:write:own", "sub": null }), 403, 403),
    ] {
        let token = key.sign(&claims(others.clone()));
        assert_eq!(guarded.get("/api/events", &token).await.status, read, "{others}");
        assert_eq!(guarded.post("ann", &token).await.status, write, "{others}");
    }
}

#[tokio::test]
async fn the_keys_are_where_the_issuers_metadata_says() {
    let key = Signer::ec("ec");
    let issuer = Issuer::with(&[&key]).await;
    let guarded = Guarded::by(auth(&issuer.url(), KeySource::Discovery)).await;
    let token = key.sign(&claims(json!({ "iss": issuer.url() })));
    assert_eq!(guarded.get("/api/events", &token).await.status, 200);
    // Metadata of another issuer are not this one's.
    let guarded = Guarded::by(auth(&format!("{}/", issuer.url()), KeySource::Discovery)).await;
    let token = key.sign(&claims(json!({ "iss": format!("{}/", issuer.url()) })));
    let answer = guarded.get("/api/events", &token).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("10")));
}

#[tokio::test]
async fn keys_that_nobody_knows_yet_or_that_are_broken_do_not_spoil_the_others() {
    let key = Signer::ed("ed");
    let issuer = Issuer::with(&[]).await;
    for other in [
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "kid": "future", "pub": "AAAA" }),
        json!({ "kty": "RSA", "kid": "without a modulus" }),
        json!({ "kty": "EC", "crv": "P-256", "kid": "no point", "x": "AA", "y": "AA" }),
        json!({ "kty": "oct", "kid": "secret", "k": "c2VjcmV0" }),
        json!({}),
        json!(null),
        json!("text"),
    ] {
        issuer.adds(other);
    }
    issuer.adds(key.jwk());
    let guarded = Guarded::by(issuer.auth()).await;
    assert_eq!(guarded.get("/api/events", &key.sign(&claims(json!({})))).await.status, 200);
}

#[tokio::test]
async fn an_issuer_may_have_a_thousand_keys_and_of_more_none_counts() {
    let (last, other) = (Signer::ed("last"), Signer::ed("other"));
    let with = async |others: usize| {
        let issuer = Issuer::with(&[]).await;
        for number in 0..others {
            let mut key = other.jwk();
            key["kid"] = json!(format!("other {number}"));
            issuer.adds(key);
        }
        issuer.adds(last.jwk());
        let guarded = Guarded::by(issuer.auth()).await;
        guarded.get("/api/events", &last.sign(&claims(json!({})))).await.status
    };
    assert_eq!((with(999).await, with(1_000).await), (200, 503));
}

#[tokio::test]
async fn a_new_key_of_the_issuer_is_found_by_the_first_token_that_names_it() {
    let (old, new) = (Signer::ed("old"), Signer::ed("new"));
    let issuer = Issuer::with(&[&old]).await;
    let guarded = Guarded::by(issuer.auth()).await;
    assert_eq!(guarded.get("/api/events", &old.sign(&claims(json!({})))).await.status, 200);
    issuer.rotate(&[&new]);
    let token = new.sign(&claims(json!({})));
    // The issuer is asked once in ten seconds at most.
    let deadline = now() + 30;
    while guarded.get("/api/events", &token).await.status != 200 {
        assert!(now() < deadline, "the new key is not found");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let gone = guarded.get("/api/events", &old.sign(&claims(json!({})))).await;
    assert_eq!(gone.status, 401, "what the old key signed is not taken any more");
}

#[tokio::test]
async fn an_issuer_that_is_away_locks_nobody_out_whose_key_is_known() {
    let (known, unknown) = (Signer::ed("known"), Signer::ed("unknown"));
    let issuer = Issuer::with(&[&known]).await;
    let guarded = Guarded::by(issuer.auth()).await;
    assert_eq!(guarded.get("/api/events", &known.sign(&claims(json!({})))).await.status, 200);
    issuer.goes_away();
    let asked = issuer.asked.load(Ordering::SeqCst);
    for number in 0..20 {
        let another = claims(json!({ "jti": number }));
        assert_eq!(guarded.get("/api/events", &unknown.sign(&another)).await.status, 401);
        assert_eq!(guarded.get("/api/events", &known.sign(&another)).await.status, 200);
    }
    assert!(
        issuer.asked.load(Ordering::SeqCst) <= asked + 1,
        "tokens that name keys make no storm of requests"
    );
}

#[tokio::test]
async fn before_the_issuer_answers_a_token_cannot_be_checked() {
    let key = Signer::ed("ed");
    let issuer = Issuer::with(&[&key]).await;
    issuer.goes_away();
    let guarded = Guarded::by(issuer.auth()).await;
    let (problem, _) = refused(&guarded.get("/api/events", &key.sign(&claims(json!({})))).await, 503);
    assert_eq!(problem["detail"], "tokens cannot be checked now: their issuer does not answer");
}

#[tokio::test]
async fn keys_in_a_file_are_read_again_when_it_changes() {
    let (old, new) = (Signer::ed("old"), Signer::ed("new"));
    let path = std::env::temp_dir().join(format!("highwater-jwks-{}", uuid::Uuid::new_v4()));
    let write = |key: &Signer| std::fs::write(&path, json!({ "keys": [key.jwk()] }).to_string()).unwrap();
    write(&old);
    let guarded = Guarded::by(auth(ISSUER, KeySource::File(path.clone()))).await;
    let (of_old, of_new) = (old.sign(&claims(json!({}))), new.sign(&claims(json!({}))));
    assert_eq!(guarded.get("/api/events", &of_old).await.status, 200);
    write(&new);
    while guarded.get("/api/events", &of_old).await.status == 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(guarded.get("/api/events", &of_new).await.status, 200);
    std::fs::remove_file(&path).unwrap();
}
