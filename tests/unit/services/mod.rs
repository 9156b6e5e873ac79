//! What the user and the order service are made of, without Kafka.

mod emails;
mod idempotency;
mod orders;
mod pages;
mod prices;
mod requests;
mod status;
mod table;
mod timestamps;
