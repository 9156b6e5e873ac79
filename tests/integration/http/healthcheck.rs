//! The healthcheck of a container.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::Duration,
};

use highwater::config;
use highwater_web::http;

#[tokio::test]
async fn a_healthcheck_waits_for_a_service_whose_databases_hang() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("--port={}", listener.local_addr().unwrap().port());
    let service = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut request = [0; 256];
        assert_ne!(client.read(&mut request).unwrap(), 0);
        // The event log gives both two seconds; the rest is a busy machine's.
        #[expect(clippy::disallowed_methods, reason = "a thread of its own, and the system's own clock")]
        thread::sleep(Duration::from_millis(2200));
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    });
    let args = ["highwater", "healthcheck", "--host=127.0.0.1", &port].map(Into::into);
    let config = config::parse(args, &config::Environment::new(), "").unwrap().config;
    assert!(http::is_healthy(&config.http).await.unwrap());
    service.join().unwrap();
}
