//! The document, Swagger UI and the live page, as clients get them.

use std::io::Read as _;

use flate2::read::GzDecoder;

use super::service::{Answer, Service};

const FILES: [(&str, &str); 8] = [
    ("/openapi.json", "application/json"),
    ("/swagger", "text/html; charset=utf-8"),
    ("/swagger/start.js", "text/javascript; charset=utf-8"),
    ("/swagger/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ("/swagger/swagger-ui.css", "text/css; charset=utf-8"),
    ("/console", "text/html; charset=utf-8"),
    ("/console/console.js", "text/javascript; charset=utf-8"),
    ("/console/style.css", "text/css; charset=utf-8"),
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
async fn a_page_loads_only_files_of_this_service() {
    for page in ["/swagger/", "/console/"] {
        let page = get(page, &[]).await;
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        for attribute in ["src=\"", "href=\""] {
            for loaded in page.text().split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap()) {
                let is_here = loaded.starts_with('#') || loaded == "data:,";
                assert!(is_here || get(loaded, &[]).await.status() == 200, "{loaded}");
            }
        }
    }
}

#[tokio::test]
async fn the_live_page_is_served_with_every_file_of_its_folder() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/activity/console");
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        let (name, text) = (file.file_name().into_string().unwrap(), std::fs::read_to_string(file.path()));
        let path = if name == "index.html" { "/console".to_owned() } else { format!("/console/{name}") };
        assert_eq!(get(&path, &[]).await.text(), text.unwrap(), "{path}");
    }
}

#[tokio::test]
async fn the_live_page_runs_no_script_and_takes_no_style_that_is_written_into_it() {
    let page = get("/console", &[]).await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(policy.ends_with("require-trusted-types-for 'script'"), "{policy}");
    assert!(!page.text().contains("style=") && !page.text().contains("<style"));
    assert_eq!(
        page.text().matches("<script").count(),
        page.text().matches("<script type=\"module\" src=").count()
    );
}

#[tokio::test]
async fn a_file_that_a_page_does_not_have_is_404() {
    get("/swagger/index.html", &[]).await.problem(404);
    get("/swagger/start.js/more", &[]).await.problem(404);
    get("/console/index.html", &[]).await.problem(404);
    get("/console/console.js/more", &[]).await.problem(404);
    get("/consoles", &[]).await.problem(404);
}
