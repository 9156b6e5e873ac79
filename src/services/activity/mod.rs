//! The activity service: events in over REST, through Kafka, stored once, out over REST.
