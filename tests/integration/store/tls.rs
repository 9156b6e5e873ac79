//! TLS to PostgreSQL.

use std::fs;

use highwater::store::{PostgresConfig, PostgresStore, PostgresUrl};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use uuid::Uuid;

use super::{server::Server, stores::Stores};

#[tokio::test(flavor = "multi_thread")]
async fn only_the_named_host_with_a_certificate_of_the_named_authority_is_trusted() {
    let Some(server) = Server::start().await else { return };
    let (config, _) = Stores::in_postgres().unwrap().database().await.unwrap();
    let connects = async |host: &str, parameters: &str| {
        let url = server.url.replace("127.0.0.1", host);
        let url = PostgresUrl::parse(&format!("{url}?application_name=tested{parameters}")).unwrap();
        PostgresStore::migrate(&PostgresConfig { url, ..config.clone() }).await
    };
    let authority = server.authority();
    let own = format!("&sslmode=verify-full&sslrootcert={}", authority.display());
    connects("localhost", &own).await.unwrap();

    let refused = connects("127.0.0.1", &own).await.unwrap_err();
    assert!(
        refused.to_string().contains("certificate") && refused.to_string().contains("127.0.0.1"),
        "{refused}"
    );
    let other = std::env::temp_dir().join(format!("highwater-authority-{}.pem", Uuid::new_v4()));
    let CertifiedKey { cert, .. } = generate_simple_self_signed(["another".to_owned()]).unwrap();
    fs::write(&other, cert.pem()).unwrap();
    let refused = connects("localhost", &format!("&sslmode=verify-full&sslrootcert={}", other.display()))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("certificate") && refused.to_string().contains("UnknownIssuer"),
        "{refused}"
    );
    // That of the system does not know it either.
    connects("localhost", "&sslmode=verify-full").await.unwrap_err();
    fs::remove_file(other).unwrap();

    // A server that demands TLS: whoever encrypts is let in, without a look at the certificate.
    server.psql("ALTER SYSTEM SET ssl TO on").await;
    let demand = "COPY (SELECT 'hostssl all all 127.0.0.1/32 scram-sha-256') TO PROGRAM 'cat > pg_hba.conf'";
    server.psql(demand).await;
    server.does("reload").await;
    connects("127.0.0.1", "&sslmode=require").await.unwrap();
    connects("127.0.0.1", "&sslmode=prefer").await.unwrap();
    let refused = connects("127.0.0.1", "&sslmode=disable").await.unwrap_err();
    assert!(refused.to_string().contains("no encryption"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_a_server_is_refused_by_whoever_requires_it() {
    let Some(server) = Server::start().await else { return };
    let (config, _) = Stores::in_postgres().unwrap().database().await.unwrap();
    server.psql("ALTER SYSTEM SET ssl TO off").await;
    server.does("restart").await;
    for (mode, connects) in [("require", false), ("verify-full", false), ("prefer", true), ("disable", true)]
    {
        let url = PostgresUrl::parse(&format!("{}?sslmode={mode}", server.url)).unwrap();
        let outcome = PostgresStore::migrate(&PostgresConfig { url, ..config.clone() }).await;
        assert_eq!(outcome.is_ok(), connects, "{mode}: {outcome:?}");
        if let Err(refused) = outcome {
            assert!(refused.to_string().contains("TLS"), "{refused}");
        }
    }
}
