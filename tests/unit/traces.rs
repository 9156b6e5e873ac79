//! The context of traces: as its headers have it, in work, and in records.

use std::{panic::catch_unwind, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::Utc;
use highwater_kafka::{Interceptor, Message, PublishError, Receipt, Record, dead_letter};
use highwater_net::client::Url;
use highwater_web::trace::{
    Exporting, RecordTraces, Share, TraceConfig, TraceContext, TraceSampler, context_of, current, within,
};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn parse(parent: &str) -> Option<TraceContext> {
    TraceContext::parse(parent.as_bytes(), None)
}

fn written(context: &TraceContext) -> String {
    String::from_utf8(context.traceparent().to_vec()).unwrap()
}

#[test]
fn a_traceparent_is_written_as_it_was_read() {
    for flags in ["00", "01", "02", "03"] {
        let text = format!("{}{flags}", &PARENT[..53]);
        assert_eq!(written(&parse(&text).unwrap()), text);
    }
    let context = parse(PARENT).unwrap();
    assert_eq!(context.trace_id.to_string(), PARENT[3..35]);
    assert_eq!(context.span_id.to_string(), PARENT[36..52]);
    assert!(context.is_sampled());
}

#[test]
fn a_malformed_traceparent_is_none() {
    let zeros =
        |from: usize, to: usize| format!("{}{}{}", &PARENT[..from], "0".repeat(to - from), &PARENT[to..]);
    for text in [
        "",
        &PARENT[..54],
        &format!("{PARENT}-"),
        &format!("{PARENT}-00"),
        &format!("ff{}", &PARENT[2..]),
        &format!("01{}00", &PARENT[2..]),
        &PARENT.to_uppercase(),
        &PARENT.replace('-', "_"),
        &PARENT.replace('f', "g"),
        &zeros(3, 35),
        &zeros(36, 52),
        "ü0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ] {
        assert_eq!(parse(text), None, "{text}");
    }
}

#[test]
fn a_later_version_is_read_as_far_as_it_is_known_and_goes_on_as_version_00() {
    for more in ["", "-", "-what-comes-later"] {
        let later = parse(&format!("cc{}{more}", &PARENT[2..])).unwrap();
        assert_eq!(written(&later), PARENT);
    }
    assert_eq!(written(&parse(&format!("{}ff", &PARENT[..53])).unwrap()), format!("{}03", &PARENT[..53]));
}

#[test]
fn a_tracestate_that_nobody_has_to_carry_is_left_out_and_the_parent_stays() {
    let state = |state: &str| {
        let context = TraceContext::parse(PARENT.as_bytes(), Some(state.as_bytes())).unwrap();
        context.state().map(str::to_owned)
    };
    assert_eq!(state("shop=1,other=x y").as_deref(), Some("shop=1,other=x y"));
    assert_eq!(state(&"x".repeat(512)), Some("x".repeat(512)));
    for left_out in ["", &"x".repeat(513), "a=\u{7f}", "a=ü", "a=\n"] {
        assert_eq!(state(left_out), None, "{left_out:?}");
    }
}

#[test]
fn work_is_within_its_context_and_what_follows_is_not_even_after_a_panic() {
    let (outer, inner) = (parse(PARENT), parse(&PARENT.replace("b7", "c8")));
    assert_eq!(current(), None);
    within(outer.clone(), || {
        within(inner.clone(), || assert_eq!(current(), inner));
        let panicked = catch_unwind(|| within(inner.clone(), || panic!("it is caught")));
        assert!(panicked.is_err());
        within(None, || assert_eq!(current(), outer, "nothing else is told"));
        assert_eq!(current(), outer);
    });
    assert_eq!(current(), None);
}

fn record(headers: &[(&str, &str)]) -> Record {
    let header =
        |(name, value): &(&str, &str)| ((*name).to_owned(), Some(Bytes::copy_from_slice(value.as_bytes())));
    Record {
        partition: 0,
        offset: 0,
        leader_epoch: None,
        timestamp: Utc::now(),
        key: None,
        value: None,
        headers: headers.iter().map(header).collect(),
    }
}

#[test]
fn a_record_has_the_context_of_its_last_traceparent() {
    let other = PARENT.replace("b7", "c8");
    let found =
        context_of(&record(&[("traceparent", &other), ("tracestate", "a=1"), ("traceparent", PARENT)]));
    assert_eq!(found, TraceContext::parse(PARENT.as_bytes(), Some(b"a=1")));
    for none in [&[][..], &[("trace", PARENT)], &[("traceparent", "no"), ("tracestate", "a=1")]] {
        assert_eq!(context_of(&record(none)), None);
    }
}

fn message(headers: &[(&str, &str)]) -> Message {
    let headers =
        headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    Message { key: None, value: Some(Vec::new()), headers, timestamp: Utc::now(), partition: None }
}

/// The `traceparent` of a message that is sent within a context, by its text.
fn sent(traces: &dyn Interceptor, headers: &[(&str, &str)], context: Option<&str>) -> Option<String> {
    let mut message = message(headers);
    let hears = within(context.and_then(parse), || traces.on_send(&Arc::from("events"), &mut message));
    if let Some(hears) = hears {
        hears(&Ok(Receipt { partition: 1, offset: Some(7) }));
    }
    let parents: Vec<_> = message.headers.iter().filter(|(name, _)| name == "traceparent").collect();
    assert!(parents.len() <= 1, "{parents:?}");
    parents.first().map(|(_, value)| String::from_utf8(value.clone()).unwrap())
}

#[test]
fn without_a_tracer_a_message_gets_the_context_as_it_came_and_none_of_its_own() {
    let traces = RecordTraces::new(None);
    assert_eq!(sent(&traces, &[], Some(PARENT)).as_deref(), Some(PARENT));
    assert_eq!(sent(&traces, &[], None), None);
    let other = PARENT.replace("b7", "c8");
    assert_eq!(sent(&traces, &[("traceparent", PARENT)], Some(&other)).as_deref(), Some(PARENT));
}

fn exporting(sampler: TraceSampler, max_queue: usize) -> Exporting {
    Exporting::start(TraceConfig {
        // Nothing listens there.
        endpoint: Url::parse("http://127.0.0.1:9/v1/traces").unwrap(),
        headers: Vec::new(),
        timeout: Duration::from_secs(1),
        trust: None,
        sampler,
        service_name: "tests".to_owned(),
        resource: Vec::new(),
        max_queue,
        max_batch: max_queue,
        delay: Duration::from_secs(600),
    })
}

#[tokio::test]
async fn a_dead_letter_and_a_redrive_keep_the_headers_of_a_record_that_came_without_a_context() {
    let exporting = exporting(TraceSampler { parent_based: true, share: Share::ALL }, 10);
    let traces = RecordTraces::new(Some(exporting.tracer()));
    assert!(sent(&traces, &[("name", "value")], None).is_some(), "any other message begins a trace");
    for header in [dead_letter::ERROR, dead_letter::REDRIVES] {
        assert_eq!(sent(&traces, &[(header, "1")], None), None);
        assert_eq!(sent(&traces, &[(header, "1"), ("traceparent", PARENT)], None).as_deref(), Some(PARENT));
    }
    exporting.finish(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_parent_decides_about_its_children_and_the_share_about_the_rest() {
    let unsampled = format!("{}00", &PARENT[..53]);
    for (parent_based, share, below_sampled, below_unsampled, root) in [
        (true, Share::ALL, true, false, true),
        (true, Share::NONE, true, false, false),
        (false, Share::ALL, true, true, true),
        (false, Share::NONE, false, false, false),
    ] {
        let exporting = exporting(TraceSampler { parent_based, share }, 100);
        let traces = RecordTraces::new(Some(exporting.tracer()));
        for (parent, is_sampled) in
            [(Some(PARENT), below_sampled), (Some(&*unsampled), below_unsampled), (None, root)]
        {
            let sent = sent(&traces, &[], parent).unwrap();
            let context = parse(&sent).unwrap();
            assert_eq!(context.is_sampled(), is_sampled, "{parent_based} {share:?} {parent:?}");
            if let Some(parent) = parent {
                assert_eq!(sent[..35], parent[..35], "the same trace");
                let is_own = is_sampled || parent == PARENT;
                assert_eq!(sent[36..52] != parent[36..52], is_own, "unless nothing tells the two apart");
            } else {
                assert!(
                    sent.ends_with(if is_sampled { "03" } else { "02" }),
                    "a random id, as Level 2 says: {sent}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_share_takes_about_as_many_new_traces_and_all_that_take_it_take_the_same() {
    let quarter = TraceSampler { parent_based: true, share: Share::from_ratio(0.25).unwrap() };
    let exporting = exporting(quarter, 1);
    let traces = RecordTraces::new(Some(exporting.tracer()));
    let roots: Vec<_> = (0..4_000).filter_map(|_| parse(&sent(&traces, &[], None)?)).collect();
    let sampled = roots.iter().filter(|context| context.is_sampled()).count();
    assert!((800..1_200).contains(&sampled), "{sampled} of 4000");

    let own = self::exporting(TraceSampler { parent_based: false, ..quarter }, 1);
    let others = RecordTraces::new(Some(own.tracer()));
    for root in roots {
        let again = parse(&sent(&others, &[], Some(&written(&root))).unwrap()).unwrap();
        assert_eq!(again.is_sampled(), root.is_sampled());
    }
    for no_share in [-0.1, 1.1, f64::NAN] {
        assert_eq!(Share::from_ratio(no_share), None);
    }
}

#[tokio::test]
async fn spans_beyond_the_queue_are_dropped_and_counted() {
    let exporting = exporting(TraceSampler::default(), 3);
    let tracer = exporting.tracer();
    let traces = RecordTraces::new(Some(tracer.clone()));
    for _ in 0..5 {
        sent(&traces, &[], Some(PARENT));
    }
    assert_eq!(tracer.counts(), (0, 2));
    // What nobody takes at the end is dropped, too.
    exporting.finish(Duration::from_secs(20)).await;
    assert_eq!(tracer.counts(), (0, 5));
}

#[tokio::test]
async fn a_span_that_is_given_up_counts_and_one_that_is_not_acknowledged_does() {
    let exporting = exporting(TraceSampler::default(), 100);
    let tracer = exporting.tracer();
    let traces = RecordTraces::new(Some(tracer.clone()));
    let topic = Arc::from("events");
    let hears = within(parse(PARENT), || traces.on_send(&topic, &mut message(&[]))).unwrap();
    drop(hears);
    let hears = within(parse(PARENT), || traces.on_send(&topic, &mut message(&[]))).unwrap();
    hears(&Err(PublishError::QueueFull));
    exporting.finish(Duration::from_secs(20)).await;
    assert_eq!(tracer.counts(), (0, 2));
}
