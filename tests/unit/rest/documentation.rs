//! The document and Swagger UI, as clients get them.

use std::io::Read as _;

use flate2::read::GzDecoder;

use super::service::{Answer, Service};

const FILES: [(&str, &str); 5] = [
    ("/openapi.json", "application/json"),
    ("/swagger", "text/html; charset=utf-8"),
    ("/swagger/start.js", "text/javascript; charset=utf-8"),
    ("/swagger/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ("/swagger/swagger-ui.css", "text/css; charset=utf-8"),
];

async fn get(path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = warp::test::request().path(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Service::new().send(request).await
}

#[tokio::test]
async fn a_file_is_sent_as_gzip_to_clients_that_accept_it_and_plain_to_others() {
    for (path, media_type) in FILES {
        let plain = get(path, &[]).await;
        assert_eq!((plain.status(), plain.header("content-type")), (200, Some(media_type)), "{path}");
        assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("accept-encoding")));
        for accepts in ["gzip", "deflate, GZIP;q=0.5", "*"] {
            let packed = get(path, &[("accept-encoding", accepts)]).await;
            assert_eq!((packed.status(), packed.header("content-encoding")), (200, Some("gzip")), "{path}");
            let mut unpacked = String::new();
            GzDecoder::new(&packed.0.body()[..]).read_to_string(&mut unpacked).unwrap();
            assert!(unpacked == plain.text(), "{path}");
            assert_ne!(packed.header("etag"), plain.header("etag"), "{path}");
        }
        for refuses in ["", "br", "gzip;q=0", "gzip;q=0, *"] {
            let answer = get(path, &[("accept-encoding", refuses)]).await;
            assert!(
                answer.header("content-encoding").is_none() && answer.text() == plain.text(),
                "{path} {refuses}"
            );
        }
    }
}

#[tokio::test]
async fn a_client_with_the_current_file_gets_304() {
    for (path, _) in FILES {
        for accepts in ["gzip", "identity"] {
            let first = get(path, &[("accept-encoding", accepts)]).await;
            let etag = first.header("etag").unwrap();
            for tags in [etag.to_owned(), format!("\"other\", W/{etag}"), "*".to_owned()] {
                let again = get(path, &[("accept-encoding", accepts), ("if-none-match", &tags)]).await;
                assert_eq!((again.status(), again.text()), (304, ""), "{path} {tags}");
                assert_eq!(again.header("etag"), Some(etag));
            }
            let other = get(path, &[("accept-encoding", accepts), ("if-none-match", "\"other\"")]).await;
            assert_eq!(other.status(), 200, "{path}");
        }
    }
}

#[tokio::test]
async fn the_swagger_page_loads_only_files_of_this_service() {
    let page = get("/swagger/", &[]).await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    for attribute in ["src=\"", "href=\""] {
        for loaded in page.text().split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(loaded == "data:," || get(loaded, &[]).await.status() == 200, "{loaded}");
        }
    }
}

#[tokio::test]
async fn a_file_that_swagger_ui_does_not_have_is_404() {
    get("/swagger/index.html", &[]).await.problem(404);
    get("/swagger/start.js/more", &[]).await.problem(404);
}
