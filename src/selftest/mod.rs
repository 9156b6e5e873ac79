//! The service tries itself, for an image that has nothing but this program.
//!
//! The running service is asked only what leaves no trace: how it is, what it refuses, what it lists. Whatever
//! writes goes through a second service of the same code and settings inside this process, with topics and
//! groups of its own that are deleted afterwards.

mod checks;
mod flow;
mod live;
mod report;
mod second;

use std::io::Write;

use highwater_web::shutdown::Shutdown;
use uuid::Uuid;

use crate::config::Config;
use checks::Service;
use report::Report;

/// Tries the service that runs with these settings and then a second one; a line a check on `out`. Whether
/// all of it went well. When a stop is requested it ends early, and what it made is deleted all the same.
pub async fn run(config: Config, shutdown: &Shutdown, out: &mut (dyn Write + Send)) -> bool {
    // Nobody else's users and topics begin so.
    let name = format!("highwater-selftest-{}", Uuid::new_v4().simple());
    let mut report = Report::new(out);
    let service = Service::at(config.http.own_address());
    report.heading(&format!("the service at {}, which keeps no trace of this", service.address()));
    live::check(&service, &config, &name, &mut report).await;
    report.heading(&format!("a second one, on topic and group {name}"));
    flow::check(config, &name, shutdown, &mut report).await;
    report.end()
}
