//! The REST face of the activity service, without sockets and without Kafka.

mod finding;
mod health;
mod listing;
mod logging;
mod publishing;
mod routing;
mod service;
mod validation;
