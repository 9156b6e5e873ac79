//! The table of routes and scopes in the documents, held against the routes that there are.

use std::fs;

use highwater::activity;
use highwater_commerce::{orders, users};
use highwater_eventlog as eventlog;
use highwater_web::auth::Need;
use warp::http::Method;

/// Whether that method is for admins alone, also where nobody is authenticated.
fn is_admins(need: Need, method: &Method) -> bool {
    need == Need::Admin || need == Need::ErasableEvents && !method.is_safe()
}

#[test]
fn the_table_in_the_documents_has_each_route_of_each_service_and_none_beyond() {
    let services = [
        ("activity", &activity::PATHS),
        ("users", &users::PATHS),
        ("orders", &orders::PATHS),
        ("eventlog", &eventlog::PATHS),
    ];
    let mut expected = Vec::new();
    for (service, paths) in services {
        for (path, methods, need) in paths.all() {
            for method in methods.split(", ").filter(|method| !["HEAD", "OPTIONS"].contains(method)) {
                let verb = method.parse().unwrap();
                let scopes = need.scopes(&verb);
                let mut scopes: Vec<_> = scopes.iter().map(|scope| format!("`{scope}`")).collect();
                if scopes.is_empty() {
                    scopes.push("—".to_owned());
                }
                let without = if is_admins(*need, &verb) { "`ADMIN_TOKEN`" } else { "—" };
                let scopes = scopes.join(" or ");
                expected.push(format!("| {service} | `{method} {path}` | {scopes} | {without} |"));
            }
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating/access.md");
    let text = fs::read_to_string(path).unwrap();
    let services = ["| activity |", "| users |", "| orders |", "| eventlog |"];
    let found: Vec<_> =
        text.lines().filter(|line| services.iter().any(|service| line.starts_with(service))).collect();
    assert!(found == expected, "docs/operating/access.md is to have:\n{}", expected.join("\n"));
}
