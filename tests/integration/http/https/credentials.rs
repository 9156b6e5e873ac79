//! The credentials of requests on one connection of HTTP/2, which remembers the last one, and has several at a time.

use std::path::PathBuf;

use futures::future::join_all;
use highwater_web::{
    auth::{
        AuthConfig, KeyFile, Scope,
        cli::{self, KeyCommand},
    },
    http::Config,
};

use super::{
    super::server::Server,
    client::{BOTH, Http2, tls},
    files::Files,
};
use crate::support::{Authority, eventually};

/// A server of HTTPS with its keys.
struct Guarded {
    server: Server,
    client: Http2,
    keys: PathBuf,
    _files: Files,
}

impl Guarded {
    /// With a key of each of these names and scopes; the keys.
    async fn with<const N: usize>(names: [(&str, Scope); N]) -> (Self, [String; N]) {
        let authority = Authority::new();
        let files = Files::of(&authority.server("one"));
        let path = files.path("keys");
        let keys = names.map(|(name, scope)| {
            let add = KeyCommand::Add {
                name: name.to_owned(),
                scopes: vec![scope],
                expires: None,
                requests_per_second: None,
                events_per_second: None,
            };
            let mut said = Vec::new();
            cli::run(add, &path, &mut said).unwrap();
            String::from_utf8(said).unwrap().trim_end().to_owned()
        });
        let auth = AuthConfig { keys: Some(KeyFile::read(&path).unwrap()), ..AuthConfig::default() };
        let server = Server::start(Config { auth, ..files.config() }).await;
        let client = Http2::connect(server.address, &tls(&authority, None, &BOTH, &["h2"])).await;
        (Self { server, client, keys: path, _files: files }, keys)
    }

    async fn reads_with(&self, key: &str) -> u16 {
        self.client.status("/", "", ("authorization", &format!("Bearer {key}"))).await
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.server.shutdown.request();
    }
}

#[tokio::test]
async fn each_of_several_requests_at_a_time_counts_by_its_own_credential() {
    let names = [("reads", Scope::Read), ("writes", Scope::Write), ("revoked", Scope::Read)];
    let (guarded, [reads, writes, revoked]) = Guarded::with(names).await;
    let [reader, writer] = [&reads, &writes].map(|key| format!("Bearer {key}"));
    let guess = format!("Bearer hw_{}", "A".repeat(43));
    let cases = [
        ("/", "", ("authorization", &*reader), 200),
        ("/", "", ("authorization", &*writer), 403),
        ("/echo", "{}", ("authorization", &*writer), 200),
        ("/echo", "{}", ("authorization", &*reader), 403),
        ("/", "", ("x-api-key", &*reads), 200),
        ("/", "", ("authorization", &*guess), 401),
        ("/", "", ("accept", "*/*"), 401),
        ("/", "", ("authorization", &reader[..reader.len() - 1]), 401),
    ];
    for round in 1..=8 {
        // Each comes after every other one.
        let several = (0..64).map(|at| cases[at * round % cases.len()]);
        let asking = several.map(async |(path, body, header, expected)| {
            assert_eq!(guarded.client.status(path, body, header).await, expected, "{path} {header:?}");
        });
        join_all(asking).await;
    }

    // The remembered client counts no more than its key does.
    assert_eq!(guarded.reads_with(&revoked).await, 200);
    let revoke = KeyCommand::Revoke { name: "revoked".to_owned() };
    cli::run(revoke, &guarded.keys, &mut Vec::new()).unwrap();
    let refused = async || (guarded.reads_with(&revoked).await == 401).then_some(());
    eventually("the revoked key is refused", refused).await;
    assert_eq!(guarded.reads_with(&reads).await, 200);
}
