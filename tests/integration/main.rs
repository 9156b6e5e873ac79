//! A service, a broker, real HTTP: on the embedded broker, or on the cluster TEST_KAFKA_BROKERS names.

mod http;
mod messaging;
mod support;
