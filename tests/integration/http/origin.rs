//! Requests that a browser sends for a page.

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
