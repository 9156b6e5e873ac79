//! Variables of the platform whose names look like settings of this program.

/// The protocols of a Service's ports, as Kubernetes writes them into names.
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// Whether Kubernetes made this variable of a Service's name, as Docker's links did. Each pod of the namespace has them:
/// for a Service `users` there are `USERS_SERVICE_HOST`, `USERS_SERVICE_PORT`, `USERS_PORT=tcp://…`,
/// `USERS_PORT_5001_TCP` and more. Names with a port number or `SERVICE` identify them, since no setting has such a name;
/// the value identifies `USERS_PORT`.
pub fn is_of_a_service(name: &str, value: &str) -> bool {
    let is_address = || {
        let scheme = value.trim().split_once("://").map(|(scheme, _)| scheme);
        scheme.is_some_and(|scheme| PROTOCOLS.iter().any(|known| known.eq_ignore_ascii_case(scheme)))
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.match_indices("_PORT_").any(|(at, found)| is_of_a_port(&name[at + found.len()..]))
        || (name.ends_with("_PORT") && is_address())
}

/// Whether the part after `_PORT_` is `5001_TCP`, `5001_TCP_ADDR` or the like.
fn is_of_a_port(rest: &str) -> bool {
    let mut parts = rest.split('_');
    parts.next().is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
        && parts.next().is_some_and(|protocol| PROTOCOLS.contains(&protocol))
        && matches!((parts.next(), parts.next()), (None | Some("PROTO" | "PORT" | "ADDR"), None))
}

/// Whether Kafka's own scripts and images read this variable, such as `KAFKA_HEAP_OPTS`.
pub(super) fn is_kafkas_own(name: &str) -> bool {
    let own = ["KAFKA_HOME", "KAFKA_VERSION", "KAFKA_DEBUG", "KAFKA_MODE"];
    name.starts_with("KAFKA_") && (name.ends_with("_OPTS") || own.contains(&name))
}
