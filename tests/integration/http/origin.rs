//! Requests that a browser sends for a page.

use highwater_web::http::Config;

use super::server::{Server, config};

#[tokio::test(start_paused = true)]
async fn a_page_of_another_site_may_not_write_and_everybody_else_may() {
    let server = Server::start(config()).await;
    let mut client = server.connect().await;
    for (method, headers, status) in [
        ("POST", "sec-fetch-site: cross-site\r\n", 403),
        ("POST", "sec-fetch-site: cross-site\r\norigin: http://here:8000\r\n", 403),
        ("POST", "origin: http://elsewhere:8000\r\n", 403),
        ("POST", "origin: http://here\r\n", 403),
        ("POST", "origin: null\r\n", 403),
        ("DELETE", "origin: http://elsewhere\r\n", 403),
        ("POST", "origin: http://here:8000\r\norigin: http://elsewhere\r\n", 400),
        ("GET", "origin: http://here:8000\r\norigin: http://here:8000\r\n", 400),
        ("POST", "", 200),
        ("POST", "origin: http://HERE:8000\r\n", 200),
        // Behind a proxy the host has another name; the browser knows its own.
        ("POST", "sec-fetch-site: same-origin\r\norigin: https://shop.example\r\n", 200),
        ("POST", "sec-fetch-site: none\r\n", 200),
        ("GET", "sec-fetch-site: cross-site\r\norigin: http://elsewhere\r\n", 200),
    ] {
        let path = if method == "GET" { "/" } else { "/echo" };
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: here:8000\r\ncontent-length: 0\r\n{headers}\r\n");
        client.send(head).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "{method} {headers}");
        if status == 403 {
            let problem = answer.problem(403);
            assert!(problem["detail"].as_str().unwrap().contains("another site"), "{problem}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_left_out_is_that_of_the_scheme() {
    let server = Server::start(config()).await;
    let mut client = server.connect().await;
    for (host, origin, status) in [
        ("shop.example:80", "http://shop.example", 200),
        ("shop.example", "http://shop.example:80", 200),
        ("shop.example:443", "https://shop.example", 200),
        ("shop.example", "https://shop.example", 200),
        ("[::1]:80", "http://[::1]", 200),
        ("shop.example:443", "http://shop.example", 403),
        ("shop.example:8080", "http://shop.example", 403),
        ("shop.example", "chrome-extension://shop.example", 403),
        ("shop.example", "http://shop.example.evil.example", 403),
        ("shop.example", "shop.example", 403),
    ] {
        let head =
            format!("POST /echo HTTP/1.1\r\nhost: {host}\r\norigin: {origin}\r\ncontent-length: 0\r\n\r\n");
        client.send(head).await;
        assert_eq!(client.answer().await.status, status, "{host} {origin}");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_of_trusted_origins_may_write_behind_a_proxy_that_rewrites_the_host() {
    let trusted_origins = vec!["https://shop.example".to_owned()];
    let server = Server::start(Config { trusted_origins, ..config() }).await;
    let mut client = server.connect().await;
    for (headers, status) in [
        ("origin: https://shop.example\r\n", 200),
        ("sec-fetch-site: cross-site\r\norigin: https://shop.example\r\n", 200),
        ("origin: http://shop.example\r\n", 403),
        ("origin: https://www.shop.example\r\n", 403),
        ("sec-fetch-site: cross-site\r\n", 403),
    ] {
        let head = "POST /echo HTTP/1.1\r\nhost: 10.0.0.7:8000\r\ncontent-length: 0\r\n";
        client.send(format!("{head}{headers}\r\n")).await;
        assert_eq!(client.answer().await.status, status, "{headers}");
    }
}
