//! The in-process Kafka broker, for trying and for tests; speaks the protocol over TCP and nothing else.
