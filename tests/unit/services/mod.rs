//! The parts of the user and the order service, without Kafka.

mod emails;
mod idempotency;
mod orders;
mod pages;
mod prices;
mod requests;
mod status;
mod table;
mod timestamps;
