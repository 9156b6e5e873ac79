//! The command `selftest`: a test of a running service over HTTP, for an image that contains no other program.
//!
//! The running service gets only requests that leave no trace: for its health, bad requests, listings. For everything that
//! writes, the command starts a second service of the same code and settings inside this process. That one has topics and
//! groups of its own, which are deleted afterwards.

mod checks;
mod flow;
mod live;
mod report;
mod second;

use std::io::Write;

use futures::future::BoxFuture;
use highwater_web::shutdown::Shutdown;
use uuid::Uuid;

use crate::config::Config;
use checks::ServiceUnderTest;
use report::Report;

/// Tests the service that runs with these settings, and then a second one. Each check is a line on `out`. Returns whether
/// all of them passed. A shutdown ends it early; its topics and groups are deleted all the same.
pub fn run<'a>(
    config: Config,
    shutdown: &'a Shutdown,
    out: &'a mut (dyn Write + Send),
) -> BoxFuture<'a, bool> {
    // The box makes the compiler compile it here, and not again in each program that runs it.
    Box::pin(check(config, shutdown, out))
}

async fn check(config: Config, shutdown: &Shutdown, out: &mut (dyn Write + Send)) -> bool {
    // A prefix that no other user or topic has.
    let name = format!("highwater-selftest-{}", Uuid::new_v4().simple());
    let mut report = Report::new(out);
    let service = ServiceUnderTest::at(config.http.own_address(), config.http.https.clone())
        .with_token(config.selftest_token.clone());
    report.heading(&format!("the service at {}, which keeps no trace of this", service.address()));
    live::check(&service, &config, &name, &mut report).await;
    report.heading(&format!("a second one, on topic and group {name}"));
    flow::check(config, &name, shutdown, &mut report).await;
    report.end()
}
