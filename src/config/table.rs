//! The table of all settings: variable, default, bounds and description.
//!
//! `--help` is made from it. Tests compare `.env.example`, docs/operating/settings.md and the Compose files with it. A flag
//! is the variable in lower case with dashes: `KAFKA_TOPIC` is `--kafka-topic`.

use std::time::Duration;

use highwater_kafka::{OffsetReset, group::GroupProtocol, security::SaslMechanism};
use highwater_web::http::AccessLog;

pub(super) use super::setting::{Describe, Description, Setting};
use super::values::{
    Assignors, Attributes, AuthMethods, AwsEndpoint, Brokers, Directives, Durations, EventTypes, Extensions,
    File, Folder, HTTP_JSON, HeaderNames, Headers, Host, HostNames, HttpUrl, InstanceId, Jwks, MILLISECONDS,
    Mechanism, Networks, OneOf, Or, Origins, Password, Protocol, RatesASecond, Ratio, SAMPLERS, Sampling,
    Share, Size, Text, Token, TopicName, TrustedOrigins, Whole,
};
use crate::{
    activity::{SchemaMode, record},
    telemetry::Format,
};

/// Declares each setting as a static of its own type, and all of them, in order, as `ALL`.
macro_rules! settings {
    ($($group:literal { $($variable:ident: $kind:ty = $default:literal, $values:expr, $sentence:literal;)+ })+) => {
        $($(pub(super) static $variable: Setting<$kind> = Setting {
            variable: stringify!($variable),
            group: $group,
            default: $default,
            values: $values,
            sentence: $sentence,
        };)+)+

        /// Every setting, in the order of `--help`.
        pub(super) static ALL: &[&dyn Describe] = &[$($(&$variable,)+)+];
    };
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

const fn days(count: u64) -> Duration {
    minutes(24 * 60 * count)
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

settings! {
    "Server" {
        HOST: Host = "0.0.0.0", Host,
            "The address to listen on; 0.0.0.0 is every IPv4 address of the machine.";
        PORT: Whole<u16> = "8000", Whole::from(0).to(65_535),
            "The port to listen on; 0 lets the system choose one.";
        OPS_PORT: Or<Whole<u16>> = "", Or::unset(Whole::from(0).to(65_535)),
            "A second port for /health, /ready and /metrics alone, which clients cannot exhaust; unset, none.";
        METRICS_PORT: Or<Whole<u16>> = "", Or::unset(Whole::from(0).to(65_535)),
            "A port for /metrics alone, which the service's own port then lacks; unset, none.";
        HTTPS_CERTIFICATE: Or<File> = "", Or::unset(File),
            "The server's certificate chain, in PEM; unset, HTTP without TLS.";
        HTTPS_KEY: Or<File> = "", Or::unset(File),
            "The key of HTTPS_CERTIFICATE, in PEM, not encrypted.";
        HTTPS_CLIENT_CA: Or<File> = "", Or::unset(File),
            "The authorities whose clients may ask, in PEM; unset, clients need no certificate.";
        MAX_CONNECTIONS: Whole<usize> = "10000", Whole::from(1).to(1_000_000),
            "The most open connections; beyond it idle ones are closed, then further clients get 503.";
        MAX_CONNECTIONS_PER_ADDRESS: Or<Whole<usize>> = "", Or::unset(Whole::from(1).to(1_000_000)),
            "The most connections from one address; unset, no limit, as behind a load balancer.";
        HTTP_MAX_BYTES: Or<Size<usize>> = "", Or::unset(Size::from(4 * MIB).to(1024 * GIB)),
            "The most memory of requests and answers; unset, a fifth of the container's limit, or 256MiB.";
        MAX_BODY_BYTES: Size<usize> = "64KiB", Size::from(KIB).to(64 * MIB),
            "The largest body of a request; a larger one gets 413.";
        MAX_DEPTH: Whole<usize> = "64", Whole::from(1).to(record::MAX_DEPTH as u64),
            "The deepest nesting of JSON in a body; a deeper one gets 400.";
        HEADER_TIMEOUT: Durations = "10s", Durations::from(ms(100)).to(minutes(10)),
            "How long a client may take to send the head of a request.";
        BODY_TIMEOUT: Durations = "10s", Durations::from(ms(100)).to(minutes(10)),
            "How long a client may take to send the body of a request.";
        REQUEST_TIMEOUT: Durations = "35s", Durations::from(ms(100)).to(minutes(10)),
            "How long an answer may take to begin; longer than PRODUCE_TIMEOUT.";
        ALLOWED_HOSTS: Or<HostNames> = "", Or::unset(HostNames),
            "Hosts that requests may be for; unset, any, or localhost alone where HOST is a loopback address.";
        TRUSTED_ORIGINS: Or<TrustedOrigins> = "", Or::unset(TrustedOrigins),
            "Origins whose pages may write here, beside the service's own origin.";
        CORS_ORIGINS: Or<Origins> = "", Or::unset(Origins),
            "The origins whose pages may call the service (CORS); unset, none.";
        CORS_HEADERS: Or<HeaderNames> = "", Or::unset(HeaderNames),
            "Request headers that such pages may send, beside those that the service reads.";
        CORS_CREDENTIALS: OneOf<bool> = "no", OneOf(&[("no", false), ("yes", true)]),
            "Whether browsers send cookies and client certificates with such calls.";
        TRUSTED_PROXIES: Or<Networks> = "", Or::unset(Networks),
            "Proxies whose X-Forwarded-For is believed for the client address in the access log.";
        ACCESS_LOG: OneOf<AccessLog> = "off",
            OneOf(&[("off", AccessLog::Off), ("errors", AccessLog::Errors), ("all", AccessLog::All)]),
            "The answers that are logged; errors means at most ten a second.";
        EVENT_TYPES: EventTypes = "LOGIN,LOGOUT,PRODUCT_VIEW", EventTypes,
            "The event types that POST /events/generate and /events/batch take; all else takes any.";
        EVENT_SCHEMAS: Or<Folder> = "", Or::unset(Folder),
            "The folder of JSON Schemas, one an event type, that judge payloads; read again when they change.";
        EVENT_SCHEMAS_MODE: OneOf<SchemaMode> = "enforce",
            OneOf(&[("enforce", SchemaMode::Enforce), ("report", SchemaMode::Report)]),
            "Whether an event that breaks its schema is refused, or is taken and reported.";
        BATCH_MAX_EVENTS: Whole<usize> = "10000", Whole::from(1).to(1_000_000),
            "The most events of a batch that is a JSON array; NDJSON has no such bound.";
        MAX_BATCH_BYTES: Size<usize> = "1MiB", Size::from(KIB).to(GIB),
            "The largest batch that is a JSON array; MAX_BODY_BYTES where that is larger.";
        MAX_EVENT_STREAMS: Or<Whole<usize>> = "", Or::unset(Whole::from(1).to(1_000_000)),
            "The most readers of GET /events/stream at a time; unset, half of MAX_CONNECTIONS.";
        STREAM_PAUSE: Durations = "1m", Durations::from(ms(100)).to(minutes(60)),
            "How long a stream of events (NDJSON) may pause; a blank line is a sign of life.";
    }
    "Access" {
        AUTH: AuthMethods = "none", AuthMethods,
            "The ways in which clients authenticate; with none, everybody is let in.";
        API_KEYS_FILE: Or<File> = "", Or::unset(File),
            "The file of API keys, which highwater keys writes; it is read again when it changes.";
        JWT_ISSUER: Or<HttpUrl> = "", Or::unset(HttpUrl),
            "The issuer of tokens (iss); without JWT_JWKS, OIDC discovery finds its keys.";
        JWT_JWKS: Or<Jwks> = "", Or::unset(Jwks),
            "The issuer's keys, instead of discovery; a file is read again when it changes.";
        JWT_AUDIENCE: Or<EventTypes> = "", Or::unset(EventTypes),
            "The audiences (aud) of which a token must have one.";
        JWT_LEEWAY: Durations = "30s", Durations::from(ms(0)).to(minutes(10)),
            "The difference that is allowed between the issuer's clock and this one.";
        JWT_CA: Or<File> = "", Or::unset(File),
            "The authorities to trust for the issuer's certificate, in PEM; unset, those of the system.";
        LIMIT_CLIENT: Or<RatesASecond> = "", Or::unset(RatesASecond),
            "The most that each key or subject may send to this instance a second; unset, no limit.";
        LIMIT_USER: Or<RatesASecond> = "", Or::unset(RatesASecond),
            "The most that may be sent to this instance a second for each userId; unset, no limit.";
        LIMIT_TOTAL: Or<RatesASecond> = "", Or::unset(RatesASecond),
            "The most that all clients together may send to this instance a second; unset, no limit.";
        SELFTEST_TOKEN: Or<Password> = "", Or::unset(Password),
            "The key or token that highwater selftest sends to the running service.";
        TRANSFER_TOKEN: Or<Password> = "", Or::unset(Password),
            "The key or token that highwater import and export send to the running service.";
    }
    "Kafka" {
        KAFKA_BROKERS: Or<Brokers> = "", Or::unset(Brokers),
            "The addresses of Kafka; unset, an embedded broker starts, which keeps nothing (not for orders).";
        EMBEDDED: OneOf<bool> = "no", OneOf(&[("no", false), ("yes", true)]),
            "Confirms the embedded broker where other KAFKA_ variables are set without KAFKA_BROKERS.";
        KAFKA_CLIENT_ID: Text = "highwater", Text { longest: 249 },
            "The name that brokers see in their logs and quotas.";
        KAFKA_SECURITY_PROTOCOL: OneOf<Protocol> = "PLAINTEXT",
            OneOf(&[
                ("PLAINTEXT", Protocol { tls: false, sasl: false }),
                ("SSL", Protocol { tls: true, sasl: false }),
                ("SASL_PLAINTEXT", Protocol { tls: false, sasl: true }),
                ("SASL_SSL", Protocol { tls: true, sasl: true }),
            ]),
            "The security protocol of the brokers' listener.";
        KAFKA_SASL_MECHANISM: Or<OneOf<Mechanism>> = "",
            Or::unset(OneOf(&[
                ("PLAIN", Mechanism::Password(SaslMechanism::Plain)),
                ("SCRAM-SHA-256", Mechanism::Password(SaslMechanism::ScramSha256)),
                ("SCRAM-SHA-512", Mechanism::Password(SaslMechanism::ScramSha512)),
                ("OAUTHBEARER", Mechanism::OauthBearer),
            ])),
            "The SASL mechanism, with SASL_PLAINTEXT or SASL_SSL.";
        KAFKA_SASL_USERNAME: Or<Text> = "", Or::unset(Text { longest: 1_000 }),
            "The SASL user of this service.";
        KAFKA_SASL_PASSWORD: Or<Password> = "", Or::unset(Password),
            "That user's password.";
        KAFKA_SASL_PASSWORD_FILE: Or<File> = "", Or::unset(File),
            "A file with the password, instead of KAFKA_SASL_PASSWORD.";
        KAFKA_SASL_OAUTH_TOKEN_URL: Or<HttpUrl> = "", Or::unset(HttpUrl),
            "The token endpoint for OAUTHBEARER, by client credentials (RFC 6749).";
        KAFKA_SASL_OAUTH_CLIENT_ID: Or<Text> = "", Or::unset(Text { longest: 1_000 }),
            "The client id at the token endpoint.";
        KAFKA_SASL_OAUTH_CLIENT_SECRET: Or<Password> = "", Or::unset(Password),
            "That client's secret.";
        KAFKA_SASL_OAUTH_CLIENT_SECRET_FILE: Or<File> = "", Or::unset(File),
            "A file with the secret, instead of KAFKA_SASL_OAUTH_CLIENT_SECRET.";
        KAFKA_SASL_OAUTH_SCOPE: Or<Text> = "", Or::unset(Text { longest: 1_000 }),
            "The scope that tokens are asked for; unset, the server's default.";
        KAFKA_SASL_OAUTH_EXTENSIONS: Or<Extensions> = "", Or::unset(Extensions),
            "Extensions for brokers beside the token (KIP-342), such as a logicalCluster.";
        KAFKA_SASL_OAUTH_CA: Or<File> = "", Or::unset(File),
            "The authorities to trust at the token endpoint, in PEM; unset, those of the system.";
        KAFKA_SSL_CA: Or<File> = "", Or::unset(File),
            "The authorities to trust, in PEM; unset, those of the system.";
        KAFKA_SSL_CERTIFICATE: Or<File> = "", Or::unset(File),
            "This client's certificate, in PEM, for brokers that ask for one.";
        KAFKA_SSL_KEY: Or<File> = "", Or::unset(File),
            "The key of KAFKA_SSL_CERTIFICATE, in PEM, not encrypted.";
        KAFKA_CONNECT_TIMEOUT: Durations = "1s", Durations::from(ms(10)).to(minutes(1)),
            "How long connecting to a broker may take.";
        KAFKA_REQUEST_TIMEOUT: Durations = "5s", Durations::from(ms(100)).to(minutes(5)),
            "How long one request to a broker may take.";
        KAFKA_TOPIC: TopicName = "user-activity-events", TopicName,
            "The topic of the events; created when missing.";
        KAFKA_DEAD_LETTER_TOPIC: Or<TopicName> = "", Or::unset(TopicName),
            "The topic of records that cannot be processed; unset, KAFKA_TOPIC with the suffix .dlq.";
        KAFKA_TOPIC_PARTITIONS: Whole<i32> = "3", Whole::from(1).to(10_000),
            "The number of partitions of a created topic.";
        KAFKA_TOPIC_REPLICATION_FACTOR: Or<Whole<i16>> = "", Or::unset(Whole::from(1).to(100)),
            "Replicas of a created topic; unset, 3 or one a broker if fewer, and at least those of a deleted one.";
        KAFKA_TOPIC_RETENTION: Or<Durations> = "7d", Or::word("none", Durations::from(minutes(1)).to(days(3_650))),
            "How long a created topic keeps records; none means for ever.";
        KAFKA_TOPIC_MAX_MESSAGE_BYTES: Size<i32> = "1048588", Size::from(KIB).to(GIB),
            "The largest record batch that a created topic takes.";
    }
    "Producer" {
        PRODUCE_TIMEOUT: Durations = "5s", Durations::from(ms(100)).to(minutes(5)),
            "How long an event may take to be acknowledged, retries included.";
        PRODUCE_QUEUE_EVENTS: Whole<usize> = "10000", Whole::from(1).to(10_000_000),
            "The most events that wait for Kafka; further ones get 503.";
        PRODUCE_QUEUE_BYTES: Size<usize> = "64MiB", Size::from(64 * KIB).to(16 * GIB),
            "The most bytes that wait for Kafka; at least MAX_BODY_BYTES.";
        BATCH_MAX_BYTES: Size<usize> = "512KiB", Size::from(KIB).to(GIB),
            "The largest batch of the producer; at most KAFKA_TOPIC_MAX_MESSAGE_BYTES.";
        ENABLE_IDEMPOTENCE: OneOf<bool> = "yes", OneOf(&[("yes", true), ("no", false)]),
            "Whether Kafka recognises a batch that is sent again, so that no retry writes an event twice.";
        BREAKER_AFTER: Durations = "3s", Durations::from(ms(100)).to(minutes(5)),
            "A broker that does not answer for this long gets no events until it answers again; events get 503.";
    }
    "Consumer" {
        KAFKA_GROUP_ID: Text = "user-activity-consumer-group", Text { longest: 249 },
            "The consumer group; instances of one group share the partitions.";
        GROUP_PROTOCOL: OneOf<GroupProtocol> = "classic",
            OneOf(&[
                ("classic", GroupProtocol::Classic),
                ("consumer", GroupProtocol::Consumer),
                ("auto", GroupProtocol::Auto),
            ]),
            "The group protocol; consumer is that of KIP-848 (Kafka 4.0), auto uses it where the brokers have it.";
        KAFKA_PARTITION_ASSIGNMENT_STRATEGY: Assignors = "cooperative-sticky", Assignors,
            "The assignors of the classic protocol; range suits clients that know no other.";
        KAFKA_GROUP_INSTANCE_ID: Or<InstanceId> = "", Or::unset(InstanceId { longest: 249 }),
            "The unique name of this instance; a restart within the session then moves no partition.";
        GROUP_ON_STOP: OneOf<bool> = "auto", OneOf(&[("auto", false), ("leave", true)]),
            "Whether a stopping instance leaves the group; auto, not with a KAFKA_GROUP_INSTANCE_ID.";
        KAFKA_SESSION_TIMEOUT: Durations = "10s", Durations::from(ms(1_000)).to(minutes(30)),
            "An instance without a heartbeat for this long loses its partitions.";
        KAFKA_HEARTBEAT_INTERVAL: Durations = "3s", Durations::from(ms(100)).to(minutes(10)),
            "How often an instance sends a heartbeat; at most a third of KAFKA_SESSION_TIMEOUT.";
        KAFKA_REBALANCE_TIMEOUT: Durations = "60s", Durations::from(ms(1_000)).to(minutes(60)),
            "How long instances may take to drain and join again; at least twice KAFKA_SESSION_TIMEOUT.";
        MAX_PROCESSING: Durations = "5m", Durations::from(ms(100)).to(days(1)),
            "An instance that takes longer for one batch leaves the group until it is done.";
        COMMIT_INTERVAL: Durations = "1s", Durations::from(ms(10)).to(minutes(10)),
            "How often offsets are committed.";
        OFFSET_RESET: OneOf<OffsetReset> = "earliest",
            OneOf(&[("earliest", OffsetReset::Earliest), ("latest", OffsetReset::Latest)]),
            "Where to start without a committed offset, or where the log no longer has it.";
        METADATA_MAX_AGE: Durations = "30s", Durations::from(ms(100)).to(minutes(60)),
            "How often to look for new partitions.";
        FETCH_MAX_BYTES: Size<i32> = "1MiB", Size::from(KIB).to(GIB),
            "The most bytes of one fetch from one partition; a larger record arrives whole.";
    }
    "Dead letters" {
        ADMIN_TOKEN: Or<Token> = "", Or::unset(Token),
            "The token for dead letters, and for the addresses in /health; unset, neither is accessible.";
        ADMIN_TOKEN_FILE: Or<File> = "", Or::unset(File),
            "A file with the token, instead of ADMIN_TOKEN.";
        REDRIVE_MAX: Whole<u32> = "3", Whole::from(0).to(1_000),
            "How often a record is sent back from the dead letters before it stays there.";
    }
    "Store" {
        STORE_MAX_EVENTS: Whole<u64> = "1000000", Whole::from(1).to(1_000_000_000),
            "The most events in memory, divided among the partitions; the oldest leave first.";
        STORE_MAX_BYTES: Size<u64> = "640MiB", Size::from(MIB).to(1024 * GIB),
            "The most memory of the events, divided in the same way.";
        STORE_URL: Or<Password> = "", Or::unset(Password),
            "The PostgreSQL database that keeps events, postgres://user:password@host/database; unset, memory.";
        STORE_URL_FILE: Or<File> = "", Or::unset(File),
            "Where the URL is read from, in place of STORE_URL.";
        STORE_SCHEMA: Text = "highwater", Text { longest: 63 },
            "The schema of its tables in the database: one for each topic.";
        STORE_MIGRATE: OneOf<bool> = "yes", OneOf(&[("yes", true), ("no", false)]),
            "Whether a start brings the schema up to date; no leaves that to highwater migrate.";
        STORE_WRITE_CONNECTIONS: Whole<usize> = "4", Whole::from(1).to(1_000),
            "The most connections to the database that write; each partition that is read uses one at most.";
        STORE_READ_CONNECTIONS: Whole<usize> = "8", Whole::from(1).to(1_000),
            "The most connections to the database that answer queries.";
        STORE_CONNECT_TIMEOUT: Durations = "5s", Durations::from(ms(100)).to(minutes(1)),
            "How long a connection to the database may take to be made.";
        STORE_TIMEOUT: Durations = "10s", Durations::from(ms(100)).to(minutes(10)),
            "How long a statement may take; shorter than MAX_PROCESSING and REQUEST_TIMEOUT.";
        STORE_RETENTION: Or<Durations> = "", Or::unset(Durations::from(minutes(1)).to(days(36_500))),
            "How long an event stays in the store, which goes on knowing its id; unset, there is no such bound.";
    }
    "Users and orders" {
        USERS_PORT: Whole<u16> = "5001", Whole::from(0).to(65_535),
            "The port of the user service, instead of PORT.";
        ORDERS_PORT: Whole<u16> = "5002", Whole::from(0).to(65_535),
            "The port of the order service, instead of PORT.";
        USER_EVENTS_TOPIC: TopicName = "user-events", TopicName,
            "The topic of users; created when missing, not compacted, kept without limit.";
        ORDER_EVENTS_TOPIC: TopicName = "order-events", TopicName,
            "The topic of orders; created when missing, not compacted, kept without limit.";
        STATE_PARTITIONS: Whole<i32> = "3", Whole::from(1).to(1_000),
            "The partitions of these topics; the same in all instances, and not changed once they have records.";
        STATE_MAX_BYTES: Size<usize> = "512MiB", Size::from(MIB).to(1024 * GIB),
            "The approximate memory of users and orders; beyond it new ones get 503.";
        ORDERS_GROUP_ID: Text = "order-service-group", Text { longest: 249 },
            "The consumer group of the order service, instead of KAFKA_GROUP_ID.";
    }
    "Event log" {
        EVENTLOG_PORT: Whole<u16> = "5003", Whole::from(0).to(65_535),
            "The port of the event log, instead of PORT.";
        EVENTLOG_MAX_BODY_BYTES: Size<usize> = "1MiB", Size::from(KIB).to(6 * MIB),
            "The largest body of a request to the event log, instead of MAX_BODY_BYTES.";
        EVENTLOG_TIMEOUT: Durations = "10s", Durations::from(ms(100)).to(minutes(5)),
            "How long a request may take in both databases, retries included.";
        EVENTLOG_CORS_ORIGINS: Or<Origins> = "", Or::unset(Origins),
            "The origins whose pages may call the event log, instead of CORS_ORIGINS.";
        SQLSERVER_HOST: Text = "localhost", Text { longest: 253 },
            "The host of SQL Server, which keeps the metadata.";
        SQLSERVER_PORT: Whole<u16> = "1433", Whole::from(1).to(65_535),
            "The port of SQL Server.";
        SQLSERVER_DATABASE: Text = "eventlog", Text { longest: 128 },
            "The database; migrate creates it when it is missing.";
        SQLSERVER_USERNAME: Or<Text> = "", Or::unset(Text { longest: 128 }),
            "The login of SQL Server; required by the event log.";
        SQLSERVER_PASSWORD: Or<Password> = "", Or::unset(Password),
            "That login's password.";
        SQLSERVER_PASSWORD_FILE: Or<File> = "", Or::unset(File),
            "A file with the password, instead of SQLSERVER_PASSWORD.";
        SQLSERVER_CA: Or<File> = "", Or::unset(File),
            "A certificate authority to trust beside those of the system, in PEM.";
        SQLSERVER_TRUST_CERTIFICATE: OneOf<bool> = "no", OneOf(&[("no", false), ("yes", true)]),
            "Whether any certificate is accepted, for servers with self-signed ones.";
        SQLSERVER_CONNECTIONS: Whole<usize> = "8", Whole::from(1).to(1_000),
            "The most connections to SQL Server; a Lambda function's instance needs one.";
        SQLSERVER_CONNECT_TIMEOUT: Durations = "3s", Durations::from(ms(10)).to(minutes(1)),
            "How long connecting to SQL Server may take, login included.";
        DYNAMODB_TABLE: Text = "eventlog-details", Text { longest: 255 },
            "The DynamoDB table, which keeps the details.";
        AWS_ENDPOINT_URL_DYNAMODB: Or<AwsEndpoint> = "", Or::unset(AwsEndpoint),
            "The endpoint of DynamoDB, such as DynamoDB Local; unset, the region's own.";
        AWS_REGION: Text = "us-east-1", Text { longest: 64 },
            "The region of DynamoDB.";
        AWS_ACCESS_KEY_ID: Or<Text> = "", Or::unset(Text { longest: 128 }),
            "The access key for DynamoDB; DynamoDB Local takes any.";
        AWS_SECRET_ACCESS_KEY: Or<Password> = "", Or::unset(Password),
            "The secret of AWS_ACCESS_KEY_ID.";
        AWS_SESSION_TOKEN: Or<Password> = "", Or::unset(Password),
            "The session token of a temporary access key.";
    }
    "Traces" {
        OTEL_EXPORTER_OTLP_ENDPOINT: Or<HttpUrl> = "", Or::unset(HttpUrl),
            "The collector that spans are sent to, at /v1/traces below this URL; unset, no spans are made.";
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: Or<HttpUrl> = "", Or::unset(HttpUrl),
            "The URL that spans are sent to as it is, instead of OTEL_EXPORTER_OTLP_ENDPOINT.";
        OTEL_EXPORTER_OTLP_PROTOCOL: Or<OneOf<()>> = "http/json", Or::unset(HTTP_JSON),
            "The protocol to the collector: OTLP over HTTP, in JSON; there is neither protobuf nor gRPC.";
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: Or<OneOf<()>> = "", Or::unset(HTTP_JSON),
            "For spans, instead of OTEL_EXPORTER_OTLP_PROTOCOL.";
        OTEL_EXPORTER_OTLP_HEADERS: Or<Headers> = "", Or::unset(Headers),
            "Headers of requests to the collector, such as a key; values may be percent-encoded.";
        OTEL_EXPORTER_OTLP_TRACES_HEADERS: Or<Headers> = "", Or::unset(Headers),
            "For spans, instead of OTEL_EXPORTER_OTLP_HEADERS.";
        OTEL_EXPORTER_OTLP_CERTIFICATE: Or<File> = "", Or::unset(File),
            "The authorities to trust for the collector, in PEM; unset, those of the system.";
        OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE: Or<File> = "", Or::unset(File),
            "For spans, instead of OTEL_EXPORTER_OTLP_CERTIFICATE.";
        OTEL_EXPORTER_OTLP_TIMEOUT: Whole<usize> = "10000", MILLISECONDS,
            "How long a request to the collector may take, in milliseconds.";
        OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: Or<Whole<usize>> = "", Or::unset(MILLISECONDS),
            "For spans, instead of OTEL_EXPORTER_OTLP_TIMEOUT.";
        OTEL_TRACES_EXPORTER: OneOf<bool> = "otlp", OneOf(&[("otlp", true), ("none", false)]),
            "Where spans go; with none, no spans are made, whatever else is set.";
        OTEL_SERVICE_NAME: Or<Text> = "", Or::unset(Text { longest: 255 }),
            "The service's name in traces; unset, highwater, with -users or the like for the other services.";
        OTEL_RESOURCE_ATTRIBUTES: Or<Attributes> = "", Or::unset(Attributes),
            "Further attributes of the service in traces.";
        OTEL_TRACES_SAMPLER: OneOf<Sampling> = "parentbased_always_on", OneOf(SAMPLERS),
            "The traces that are recorded; with parentbased, a request's traceparent decides where it has one.";
        OTEL_TRACES_SAMPLER_ARG: Or<Ratio> = "", Or::unset(Ratio),
            "The share of traces that the samplers with traceidratio record; unset, all.";
        OTEL_SDK_DISABLED: OneOf<bool> = "false", OneOf(&[("false", false), ("true", true)]),
            "Whether no spans are made, whatever else is set.";
        OTEL_BSP_SCHEDULE_DELAY: Whole<u64> = "5000", Whole::from(1).to(600_000),
            "How long spans wait for a batch to fill, in milliseconds.";
        OTEL_BSP_MAX_QUEUE_SIZE: Whole<usize> = "2048", Whole::from(1).to(1_000_000),
            "The most spans that wait for the collector; further ones are dropped and counted.";
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE: Whole<usize> = "512", Whole::from(1).to(1_000_000),
            "The most spans of a request to the collector; at most OTEL_BSP_MAX_QUEUE_SIZE.";
    }
    "Process" {
        RUST_LOG: Directives = "info,rskafka=warn,tracing=warn,tiberius=off,lambda_runtime=warn", Directives,
            "The log filter, as env_logger reads it; debug alone includes the libraries' debug lines.";
        LOG_FORMAT: Or<OneOf<Format>> = "", Or::unset(OneOf(&[("text", Format::Text), ("json", Format::Json)])),
            "The format of log lines; unset, text on a terminal and json elsewhere.";
        LOG_EVENTS: Share = "all", Share,
            "The events that are logged, two lines each; warnings and errors are always logged.";
        DRAIN_DELAY: Durations = "0s", Durations::from(ms(0)).to(minutes(5)),
            "How long a stopping service still serves while /ready is 503; at most half of SHUTDOWN_TIMEOUT.";
        SHUTDOWN_TIMEOUT: Durations = "10s", Durations::from(ms(100)).to(minutes(10)),
            "How long a graceful stop may take, DRAIN_DELAY included; then the process exits with code 1.";
    }
}
