//! Certificates that change, on either side.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use highwater_web::http::{Https, HttpsFault, HttpsFiles};
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use tokio::time::sleep;

use super::{
    super::server::Server,
    client::{BOTH, Http2, connect, get_by_http1, tls},
    files::Files,
};
use crate::support::{Authority, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_changes_is_shown_to_new_clients_and_no_request_is_lost() {
    let authority = Authority::new();
    let (one, other) = (authority.server("one"), authority.server("other"));
    let files = Files::of(&one);
    let server = Server::start(files.config()).await;
    let tls = tls(&authority, None, &BOTH, &["h2"]);
    let address = server.address;
    let done = Arc::new(AtomicBool::new(false));
    // One that keeps its connection, and one that has a new one for each request.
    let asking = [true, false].map(|keeps| {
        let (tls, done) = (Arc::clone(&tls), Arc::clone(&done));
        tokio::spawn(async move {
            let mut asked = 0;
            let mut client = Http2::connect(address, &tls).await;
            while !done.load(Ordering::Relaxed) {
                if !keeps {
                    client = Http2::connect(address, &tls).await;
                }
                assert_eq!(client.ask("/", "").await.unwrap().status, 200);
                asked += 1;
            }
            asked
        })
    });
    let shown = async || {
        let stream = connect(address, &tls).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = shown().await;
    // For a while the certificate does not match the key: the one from before is shown.
    files.put("server.pem", &other.certificate);
    sleep(Duration::from_millis(1200)).await;
    assert_eq!(shown().await, first);
    files.put("server.key", &other.key);
    eventually("the other certificate is shown", async || (shown().await != first).then_some(())).await;
    done.store(true, Ordering::Relaxed);
    for asked in asking {
        let asked = asked.await.unwrap();
        assert!(asked > 10, "{asked}");
    }
}

#[tokio::test]
async fn who_shows_no_certificate_hears_how_the_service_is_and_nothing_else() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let files = Files::of(&authority.server("one"));
    files.put("clients.pem", &clients.pem());
    let server = Server::start(files.config()).await;
    for alpn in ["http/1.1", "h2"] {
        let status = async |tls, path: &str| match alpn {
            "h2" => Http2::connect(server.address, &tls).await.ask(path, "").await.unwrap().status.as_u16(),
            _ => get_by_http1(server.address, &tls, path).await.unwrap().status.as_u16(),
        };
        let known = tls(&authority, Some(&clients.client()), &BOTH, &[alpn]);
        let stranger = tls(&authority, None, &BOTH, &[alpn]);
        assert_eq!(status(known, "/").await, 200);
        for path in ["/", "/metrics", "/healthy"] {
            assert_eq!(status(Arc::clone(&stranger), path).await, 403, "{alpn} {path}");
        }
        // Which this server has not.
        for path in ["/health", "/ready", "/ready/live"] {
            assert_eq!(status(Arc::clone(&stranger), path).await, 404, "{alpn} {path}");
        }
    }
    let foreign = tls(&authority, Some(&Authority::new().client()), &BOTH, &["http/1.1"]);
    assert!(get_by_http1(server.address, &foreign, "/health").await.is_err(), "any certificate will do");
}

#[test]
fn all_that_is_wrong_with_the_files_is_told_together() {
    let authority = Authority::new();
    let (one, other) = (authority.server("one"), authority.server("other"));
    let files = Files::of(&one);
    files.put("server.key", &other.key);
    let read = |client_ca: Option<&str>| {
        let [certificate, key] = ["server.pem", "server.key"].map(|name| files.path(name));
        let client_ca = client_ca.map(|name| files.path(name));
        Https::read(HttpsFiles { certificate, key, client_ca })
    };
    assert_eq!(read(None).unwrap_err(), [HttpsFault::Key("is another certificate's".to_owned())]);
    let told = [HttpsFault::Key("is another certificate's".to_owned())];
    assert_eq!(read(Some("nowhere.pem")).unwrap_err()[..1], told);
    files.put("server.pem", "hunter2");
    files.put("server.key", "-----BEGIN PRIVATE KEY-----\nhunter2!\n-----END PRIVATE KEY-----\n");
    let faults = read(Some("nowhere.pem")).unwrap_err();
    let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "the certificate holds no certificate in PEM",
            "the key is damaged PEM",
            "the file of clients' authorities cannot be read: No such file or directory (os error 2)",
        ]
    );
}

#[test]
fn a_certificate_that_is_expired_is_told_and_kept() {
    let authority = Authority::new();
    let dated = |from, to| {
        let old = authority.certify("old", ExtendedKeyUsagePurpose::ServerAuth, |params| {
            (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        });
        Files::of(&old).config().https.unwrap().out_of_date()
    };
    let told = dated(2001, 2002).unwrap();
    assert_eq!(told, "is expired since 2002-01-01T00:00:00Z, by this machine's clock");
    let told = dated(2901, 2902).unwrap();
    assert_eq!(told, "is not valid before 2901-01-01T00:00:00Z, by this machine's clock");
    assert_eq!(dated(2001, 2902), None);
}
