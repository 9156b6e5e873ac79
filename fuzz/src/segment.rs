//! The calls and batches of Segment's tracking API.

use hyper::{HeaderMap, StatusCode};

use crate::service::Service;

const CALLS: [&str; 8] = ["track", "identify", "page", "screen", "group", "alias", "batch", "b"];

thread_local! {
    /// It stores nothing, so an input leaves nothing to the next one. To make it takes as long as to ask it. It
    /// is not dropped: at the thread's end the store's maps are gone before.
    static SERVICE: &'static Service = Box::leak(Box::new(Service::new()));
}

/// The first byte says which call the rest is.
pub fn segment(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    let call = CALLS[usize::from(*kind) % CALLS.len()];
    let (answer, taken) = SERVICE
        .with(|service| (service.post(&format!("/v1/{call}"), &HeaderMap::new(), body), service.taken()));
    let told = answer.json();
    let is_batch = call.starts_with('b');
    if answer.status == StatusCode::OK {
        assert_eq!(told["success"], true);
        assert!(is_batch || taken.len() == 1);
        // The payload of one is the call as it came, but for blanks.
        for event in taken.iter().filter(|_| !is_batch) {
            assert!(event.payload().len() <= body.len());
        }
    } else {
        // The members that its clients look for.
        assert!(told["code"].is_string() && told["message"].is_string(), "{told}");
        assert!(is_batch || taken.is_empty());
    }
}
