//! A crash at every step between the two writes: no acknowledged event is lost, and none is half visible.
//!
//! A crash is a call that begins and never returns, and a request that is dropped there.

use futures::FutureExt as _;
use uuid::Uuid;

use super::fakes::{GRACE, Service, Trouble, body};

/// Every step: which call of which database, and whether it was done before the end.
const STEPS: [(&str, &str, bool); 4] =
    [("dynamo", "put", false), ("dynamo", "put", true), ("sql", "insert", false), ("sql", "insert", true)];

/// A service that died at this step while it recorded event 7 of ann.
fn crashed_at((database, call, done): (&str, &'static str, bool)) -> Service {
    let service = Service::new();
    let script = if database == "sql" { &service.metadata.script } else { &service.details.script };
    script.set(call, if done { Trouble::HangsAfter } else { Trouble::Hangs }, 1);
    assert!(service.post(body(7, "ann", 1)).now_or_never().is_none(), "it was not acknowledged");
    service
}

fn is_put(step: (&str, &str, bool)) -> bool {
    step != STEPS[0]
}

/// The listing has the whole event, or nothing of it.
async fn shown(service: &Service) -> bool {
    let listed = service.get("/events/ann").await.ok(200);
    match listed.as_array().unwrap().as_slice() {
        [] => false,
        [event] => {
            assert_eq!(event["details"]["n"], 7, "half shown: {event}");
            true
        }
        more => panic!("more than once: {more:?}"),
    }
}

#[tokio::test]
async fn after_a_crash_the_event_is_whole_or_not_there() {
    for step in STEPS {
        let service = crashed_at(step);
        assert_eq!(shown(&service).await, step == STEPS[3], "{step:?}");
    }
}

#[tokio::test]
async fn a_sweep_completes_what_was_put_and_nothing_else() {
    for step in STEPS {
        let service = crashed_at(step);
        let swept = service.sweep_after(GRACE * 2).await.unwrap();
        assert_eq!(swept.completed, u64::from(is_put(step) && step != STEPS[3]), "{step:?}");
        assert_eq!(shown(&service).await, is_put(step), "{step:?}");
        assert_eq!(service.rows(), service.items(), "{step:?}");
    }
}

#[tokio::test]
async fn asking_again_records_it_once_before_a_sweep_and_after() {
    for step in STEPS {
        for sweep_first in [false, true] {
            let service = crashed_at(step);
            if sweep_first {
                service.sweep_after(GRACE * 2).await.unwrap();
            }
            let again = service.post(body(7, "ann", 1)).await.ok(201);
            assert_eq!(again["eventId"], Uuid::from_u128(7).to_string());
            service.sweep_after(GRACE * 2).await.unwrap();
            assert!(shown(&service).await, "{step:?}");
            assert_eq!((service.rows(), service.items()), (1, 1), "{step:?}");
        }
    }
}

#[tokio::test]
async fn a_sweep_that_crashes_at_any_call_is_made_good_by_the_next() {
    for (database, call, done) in [
        ("sql", "swept_until", false),
        ("dynamo", "recorded", false),
        ("sql", "known", false),
        ("dynamo", "event", false),
        ("sql", "insert", false),
        ("sql", "insert", true),
        ("sql", "sweep_reached", false),
        ("sql", "sweep_reached", true),
    ] {
        let service = crashed_at(STEPS[1]);
        let script = if database == "sql" { &service.metadata.script } else { &service.details.script };
        script.set(call, if done { Trouble::HangsAfter } else { Trouble::Hangs }, 1);
        assert!(service.sweep_after(GRACE * 2).now_or_never().is_none(), "{call}");
        service.sweep_after(GRACE * 3).await.unwrap();
        assert!(shown(&service).await, "{call} {done}");
        assert_eq!((service.rows(), service.items()), (1, 1));
    }
}

#[tokio::test]
async fn two_sweeps_and_a_client_at_once_make_one_event() {
    let service = crashed_at(STEPS[1]);
    let (one, other, posted) = tokio::join!(
        service.sweep_after(GRACE * 2),
        service.sweep_after(GRACE * 2),
        service.post(body(7, "ann", 1))
    );
    one.unwrap();
    other.unwrap();
    posted.ok(201);
    assert!(shown(&service).await);
    assert_eq!((service.rows(), service.items()), (1, 1));
}
