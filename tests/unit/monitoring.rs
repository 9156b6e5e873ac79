//! The profile `monitoring` of Compose: its files name each other as they are called.

use std::{fs, path::Path};

use serde_json::Value;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text of a service of docker-compose.yml.
fn service(compose: &str, name: &str) -> String {
    let text = compose.split(&format!("\n  {name}:\n")).nth(1);
    let text = text.unwrap_or_else(|| panic!("Compose has no service {name}"));
    text.lines()
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .fold(String::new(), |text, line| text + line + "\n")
}

/// The values of that key in a text of YAML.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let lines = text.lines().map(|line| line.trim_start().trim_start_matches("- "));
    lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).collect()
}

/// Fails unless that `host:port` is a service of Compose, which listens there.
fn assert_serves(compose: &str, address: &str) {
    let (name, port) = address.split_once(':').expect("a host and its port");
    let text = service(compose, name);
    assert!(text.contains(&format!(":{port}\"\n")), "{name} does not listen on {port}: {text}");
}

fn data_sources() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ops/grafana/provisioning/datasources");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.map(|file| fs::read_to_string(file).unwrap()).collect()
}

#[test]
fn the_data_sources_of_grafana_are_services_of_compose() {
    let compose = file("docker-compose.yml");
    let sources = data_sources();
    let urls = values(&sources, "url");
    assert_eq!(urls.len(), values(&sources, "uid").len(), "each has a URL: {sources}");
    for url in urls {
        assert_serves(&compose, url.strip_prefix("http://").expect("it is within the network of Compose"));
    }
}

#[test]
fn the_dashboard_asks_data_sources_that_are_there_and_is_where_grafana_looks_for_it() {
    fn named<'a>(json: &'a Value, found: &mut Vec<&'a str>) {
        match json {
            Value::Array(items) => items.iter().for_each(|item| named(item, found)),
            Value::Object(members) => {
                found.extend(members.get("datasource").and_then(|source| source["uid"].as_str()));
                members.values().for_each(|item| named(item, found));
            }
            _ => {}
        }
    }
    let dashboard: Value = serde_json::from_str(&file("ops/grafana/dashboard.json")).unwrap();
    let sources = data_sources();
    let (known, mut asked) = (values(&sources, "uid"), values(&sources, "datasourceUid"));
    named(&dashboard, &mut asked);
    assert!(asked.len() > 10, "{asked:?}");
    asked.retain(|uid| !known.contains(uid) && *uid != "-- Grafana --");
    assert!(asked.is_empty(), "{asked:?} of {known:?}");

    let grafana = service(&file("docker-compose.yml"), "grafana");
    let provider = file("ops/grafana/provisioning/dashboards/highwater.yml");
    let folder = values(&provider, "path")[0];
    assert!(
        grafana.contains(&format!("./ops/grafana/dashboard.json:{folder}/dashboard.json:ro\n")),
        "{grafana}"
    );
    assert_eq!(
        values(&grafana, "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"),
        [format!("{folder}/dashboard.json")]
    );
    assert!(grafana.contains("./ops/grafana/provisioning:/etc/grafana/provisioning:ro\n"), "{grafana}");
}

#[test]
fn prometheus_scrapes_the_services_of_compose_where_they_listen() {
    let compose = file("docker-compose.yml");
    let config = file("ops/prometheus/prometheus.yml");
    let list = |text: &str| text.trim_matches(['[', ']']).split(", ").map(str::to_owned).collect::<Vec<_>>();
    let names = values(&config, "names").into_iter().flat_map(list);
    let by_name = names.zip(values(&config, "port")).map(|(name, port)| format!("{name}:{port}"));
    let targets: Vec<String> = by_name.chain(values(&config, "targets").into_iter().flat_map(list)).collect();
    assert_eq!(targets.len(), config.matches("job_name").count(), "{targets:?}");
    for target in &targets {
        assert_serves(&compose, target);
    }
    let prometheus = service(&compose, "prometheus");
    assert!(prometheus.contains("./ops/prometheus:/etc/prometheus:ro\n"), "{prometheus}");
    assert!(prometheus.contains("--config.file=/etc/prometheus/prometheus.yml\n"), "{prometheus}");
    assert!(config.contains("\n  - rules.yml\n") && !file("ops/prometheus/rules.yml").is_empty());
}
