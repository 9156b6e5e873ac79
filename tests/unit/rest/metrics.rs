//! `GET /metrics`.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use highwater::activity::PATHS;
use highwater_kafka::{GroupPhase, PartitionStatus};
use highwater_web::http::Traffic;
use warp::http::{Method, StatusCode};

use super::service::{Service, changed, event, event_at};

/// The value of a series, by its name and labels as they are written.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
}

#[tokio::test]
async fn metrics_are_prometheus_text_with_the_state_of_kafka_the_group_and_the_store() {
    let service = Service::new();
    service.processed(event(1, "u", "LOGIN")).await;
    service.processed(event(1, "u", "LOGIN")).await;
    service.status.send_modify(|status| {
        status.kafka.connected = true;
        status.group.phase = GroupPhase::Assigned;
        status.group.generation = 7;
        status.group.partitions = vec![
            changed(|first: &mut PartitionStatus| (first.position, first.end) = (40, 42)),
            changed(|second: &mut PartitionStatus| {
                (second.partition, second.error) = (2, Some("why".to_owned()));
            }),
        ];
    });
    let answer = service.get("/metrics").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4"));
    let text = answer.text();
    for (series, expected) in [
        ("highwater_kafka_connected", 1.0),
        ("highwater_embedded_broker", 0.0),
        ("highwater_ready", 0.0),
        ("highwater_consumer_group_phase{phase=\"assigned\",topic=\"events\"}", 1.0),
        ("highwater_consumer_group_phase{phase=\"joining\",topic=\"events\"}", 0.0),
        ("highwater_consumer_group_generation{topic=\"events\"}", 7.0),
        ("highwater_consumer_lag{partition=\"0\",topic=\"events\"}", 2.0),
        ("highwater_consumer_partition_stalled{partition=\"0\",topic=\"events\"}", 0.0),
        ("highwater_consumer_partition_stalled{partition=\"2\",topic=\"events\"}", 1.0),
        ("highwater_consumer_duplicates_total", 1.0),
        ("highwater_consumer_conflicts_total", 0.0),
        ("highwater_listings_refused_total", 0.0),
        ("highwater_event_streams", 0.0),
        ("highwater_event_streams_refused_total", 0.0),
        ("highwater_event_streams_slow_total", 0.0),
        ("highwater_store_events", 1.0),
        ("highwater_store_evicted_total", 0.0),
        ("highwater_dead_letters_total{topic=\"events\"}", 0.0),
    ] {
        assert_eq!(value(text, series), expected, "{series}");
    }
    assert!(text.contains("# TYPE highwater_consumer_duplicates_total counter\n"), "{text}");
    assert!(text.contains("# TYPE highwater_consumer_lag gauge\n"), "{text}");
}

#[tokio::test]
async fn metrics_have_the_process_and_the_age_of_the_oldest_event() {
    let service = Service::new();
    let answer = service.get("/metrics").await;
    let text = answer.text();
    assert!(value(text, "process_resident_memory_bytes") > 1e6);
    assert!(value(text, "process_virtual_memory_bytes") > value(text, "process_resident_memory_bytes"));
    assert!((3.0..1e6).contains(&value(text, "process_open_fds")));
    assert!(value(text, "process_max_fds") >= value(text, "process_open_fds"));
    assert!(value(text, "process_threads") >= 1.0);
    assert!(value(text, "process_cpu_seconds_total") >= 0.0);
    let age = Utc::now().timestamp() as f64 - value(text, "process_start_time_seconds");
    assert!((-2.0..86_400.0).contains(&age), "started {age} s ago");
    assert!(!text.contains("highwater_store_oldest_event_age_seconds"), "{text}");

    let old = Utc::now() - TimeDelta::hours(1);
    service.processed(event_at(1, "u", "LOGIN", old)).await;
    let age = value(service.get("/metrics").await.text(), "highwater_store_oldest_event_age_seconds");
    assert!((3600.0..3660.0).contains(&age), "{age}");
}

#[tokio::test]
async fn exactly_one_phase_of_the_group_is_1_whichever_it_is() {
    let service = Service::new();
    for phase in ["finding", "joining", "syncing", "assigned", "revoking", "left"] {
        service.status.send_modify(|status| {
            status.group.phase = match phase {
                "finding" => GroupPhase::Finding,
                "joining" => GroupPhase::Joining,
                "syncing" => GroupPhase::Syncing,
                "assigned" => GroupPhase::Assigned,
                "revoking" => GroupPhase::Revoking,
                _ => GroupPhase::Left,
            }
        });
        let answer = service.get("/metrics").await;
        let phases: Vec<&str> =
            answer.text().lines().filter(|line| line.starts_with("highwater_consumer_group_phase")).collect();
        let current = format!("highwater_consumer_group_phase{{phase=\"{phase}\",topic=\"events\"}} 1");
        assert_eq!(phases.iter().filter(|line| line.ends_with(" 1")).collect::<Vec<_>>(), [&current]);
    }
}

#[test]
fn requests_are_counted_by_route_method_and_status_with_unknown_paths_as_one_series() {
    let traffic = Traffic::new(&PATHS).unwrap();
    let count = |path: &str, method, status| {
        traffic.count(path, &method, StatusCode::from_u16(status).unwrap(), Duration::from_millis(3), None);
    };
    for id in ["1", "2", "3"] {
        count(&format!("/events/processed/{id}"), Method::GET, 404);
        count(&format!("/made/up/{id}"), Method::from_bytes(id.as_bytes()).unwrap(), 404);
    }
    count("/events/generate", Method::POST, 201);
    count("/events/generate/", Method::POST, 201);
    count("/events/generate", Method::POST, 503);
    count("/events/generate", Method::POST, 418);
    count("/events/processed/", Method::GET, 200);
    count("/api/events/user/a/b", Method::GET, 404);
    count("/", Method::GET, 404);

    let text = prometheus::TextEncoder::new().encode_to_string(&traffic.families()).unwrap();
    let requests = |route: &str, method: &str, status: u16| {
        let labels = format!("{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}");
        value(&text, &format!("highwater_http_requests_total{labels}"))
    };
    assert_eq!(requests("/events/processed/{eventId}", "GET", 404), 3.0);
    assert_eq!(requests("other", "other", 404), 3.0);
    assert_eq!(requests("other", "GET", 404), 2.0);
    assert_eq!(requests("/events/generate", "POST", 201), 2.0);
    assert_eq!(requests("/events/generate", "POST", 503), 1.0);
    assert_eq!(requests("/events/generate", "POST", 418), 1.0);
    assert_eq!(requests("/events/processed", "GET", 200), 1.0);

    let bucket = |bound: &str| {
        let labels = format!("{{method=\"POST\",route=\"/events/generate\",le=\"{bound}\"}}");
        value(&text, &format!("highwater_http_request_duration_seconds_bucket{labels}"))
    };
    assert_eq!((bucket("0.0025"), bucket("0.005"), bucket("+Inf")), (0.0, 4.0, 4.0));
}

#[tokio::test]
async fn openmetrics_are_what_the_text_format_has_where_they_are_asked_for() {
    let service = Service::new();
    service.get("/events/processed").await;
    let ask = async |accept: &str| {
        service.send(warp::test::request().path("/metrics").header("accept", accept)).await
    };
    let usual = ask("*/*").await;
    // As Prometheus asks.
    let prometheus =
        "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.4";
    let open = ask(prometheus).await;
    assert_eq!(usual.header("content-type"), Some("text/plain; version=0.0.4"));
    assert_eq!(
        open.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(open.text().ends_with("\n# EOF\n"));
    let series = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
    };
    assert_eq!(series(open.text()), series(usual.text()));
    for (usual_line, open_line) in [
        (
            "# TYPE highwater_consumer_duplicates_total counter",
            "# TYPE highwater_consumer_duplicates counter",
        ),
        ("# TYPE highwater_ready gauge", "# TYPE highwater_ready gauge"),
    ] {
        assert!(usual.text().lines().any(|line| line == usual_line), "{}", usual.text());
        assert!(open.text().lines().any(|line| line == open_line), "{}", open.text());
    }
    assert_eq!(
        ask("text/plain,application/openmetrics-text;q=0.5").await.header("content-type"),
        usual.header("content-type")
    );
}
