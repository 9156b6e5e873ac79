//! Variables that nobody has set for this program, though their names look as if.

/// The protocols of a Service's ports, as Kubernetes writes them into names.
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// Whether Kubernetes makes such a variable of a Service's name, as Docker's links did. It puts them into each pod of
/// the namespace: of a Service `users` come `USERS_SERVICE_HOST`, `USERS_SERVICE_PORT`, `USERS_PORT=tcp://…`,
/// `USERS_PORT_5001_TCP` and more. Those with a port's number or `SERVICE` in them are told by their names,
/// and no setting has such a name; `USERS_PORT` by its value.
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

/// What stands behind `_PORT_`: `5001_TCP`, `5001_TCP_ADDR` and the like.
fn is_of_a_port(rest: &str) -> bool {
    let mut parts = rest.split('_');
    parts.next().is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
        && parts.next().is_some_and(|protocol| PROTOCOLS.contains(&protocol))
        && matches!((parts.next(), parts.next()), (None | Some("PROTO" | "PORT" | "ADDR"), None))
}

/// Whether Kafka's own scripts and images read it: `KAFKA_HEAP_OPTS` and the like say nothing of a client.
pub(super) fn is_kafkas_own(name: &str) -> bool {
    let own = ["KAFKA_HOME", "KAFKA_VERSION", "KAFKA_DEBUG", "KAFKA_MODE"];
    name.starts_with("KAFKA_") && (name.ends_with("_OPTS") || own.contains(&name))
}
