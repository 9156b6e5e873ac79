//! The correlation id of a request, which every answer has.

use std::sync::{Arc, Mutex};

use highwater_web::http::{CorrelationId, correlation};
use warp::{Filter, Reply, reply::Response};

use super::{
    client::{Answer, Client},
    server::{Server, config},
};

const ID: &str = "x-correlation-id";

async fn post(client: &mut Client, path: &str, id: Option<&str>) -> Answer {
    let id = id.map(|id| format!("{ID}: {id}\r\n")).unwrap_or_default();
    client.send(format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n{id}\r\n")).await;
    client.answer().await
}

#[tokio::test(start_paused = true)]
async fn whatever_is_asked_is_answered_with_an_id() {
    let server = Server::start(config()).await;
    let mut client = server.connect().await;
    let mut seen = Vec::new();
    for (path, status) in
        [("/echo", 200), ("/nowhere", 404), ("/panic", 500), ("/never", 503), ("/echo", 200)]
    {
        let answer = post(&mut client, path, None).await;
        assert_eq!(answer.status, status, "{path}");
        let id = answer.header(ID).unwrap_or_else(|| panic!("{path}: {answer:?}")).to_owned();
        assert!(!id.is_empty() && !seen.contains(&id), "{path}: {id}");
        seen.push(id);
        assert_eq!(post(&mut client, path, Some("given")).await.header(ID), Some("given"), "{path}");
    }
    let read = client.get("/").await;
    assert!(read.header(ID).is_some_and(|id| !seen.iter().any(|known| known == id)), "{read:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_given_up_is_answered_with_the_id_that_its_handler_worked_with() {
    let worked = Arc::new(Mutex::new(Vec::new()));
    let ids = Arc::clone(&worked);
    let never = warp::any().and(correlation()).then(move |id: CorrelationId| {
        ids.lock().unwrap().push(id.as_str().to_owned());
        std::future::pending::<Response>()
    });
    let server = Server::serve(config(), never.map(Reply::into_response)).await;
    let mut client = server.connect().await;
    for _ in 0..2 {
        let answer = post(&mut client, "/", None).await;
        answer.problem(503);
        assert_eq!(answer.header(ID), worked.lock().unwrap().last().map(String::as_str));
    }
    let worked = worked.lock().unwrap();
    assert_ne!(worked[0], worked[1]);
}
