//! CloudEvents: in by each mode of the HTTP binding, out again in a listing, and in once more.

use hyper::{HeaderMap, Request, header::HeaderValue};
use serde_json::value::RawValue;

use crate::{routes::headers, service::Service};

const ONE: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

// Neither stores anything, so an input leaves nothing to the next one. To make them takes as long as to ask them. They are not
// dropped: at the thread's end the store's maps are gone before.
thread_local! {
    static SERVICE: &'static Service = Box::leak(Box::new(Service::new()));
    static UNBOUNDED: &'static Service = Box::leak(Box::new(Service::unbounded()));
}

/// The first byte says by which mode. Of the binary mode, the headers come before the body.
pub fn cloud_events(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    let (answer, taken) = SERVICE.with(|service| {
        let answer = match kind % 3 {
            0 => service.post("/events/generate", &of(ONE), body),
            1 => {
                let (mut headers, body) = headers(body);
                headers.entry("ce-specversion").or_insert(HeaderValue::from_static("1.0"));
                service.post("/events/generate", &headers, body)
            }
            _ => service.post("/events/batch", &of(BATCH), body),
        };
        (answer, service.taken())
    });
    match answer.status.as_u16() {
        201 => assert_eq!(taken.len(), 1),
        207 => assert_eq!(answer.json()["stored"], taken.len()),
        _ => assert!(taken.is_empty()),
    }
    for event in taken {
        // As a listing has it, it may be longer and deeper than it came.
        let there = Service::new();
        there.processed(0, event.clone());
        let listing = Request::get("/events/processed").header("accept", BATCH);
        let listed = there.ask(listing.body(Default::default()).expect("a request"));
        let [listed] = serde_json::from_str::<[&RawValue; 1]>(listed.text()).expect("one event");
        let (answer, again) = UNBOUNDED.with(|service| {
            (service.post("/events/generate", &of(ONE), listed.get().as_bytes()), service.taken())
        });
        assert_eq!(answer.status, 201, "{}: {}", answer.text(), listed.get());
        let [back] = <[_; 1]>::try_from(again).expect("one event");
        assert_eq!(back, event, "it comes back as another event");
    }
}

fn of(content_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(hyper::header::CONTENT_TYPE, HeaderValue::from_static(content_type))])
}
