//! The settings of the HTTP server.

use std::{net::IpAddr, time::Duration};

use highwater_web::http::{AllowedHosts, AllowedOrigins, Config, Cors};

use super::{Service, auth, https, reader::SettingsReader, table};

/// The settings that each service has of its own.
pub(super) struct OwnSettings {
    pub(super) host: IpAddr,
    pub(super) port: u16,
    /// The largest body of a request, in bytes.
    pub(super) max_body_bytes: usize,
}

/// Reads the settings of the HTTP server.
pub(super) fn read(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
    service: &Service,
    own: OwnSettings,
    has_admin_token: bool,
    stop_timeout: Duration,
) -> Config {
    let OwnSettings { host, port, max_body_bytes } = own;
    Config {
        host,
        port,
        hosts: match reader.value(&table::ALLOWED_HOSTS) {
            Some(names) => AllowedHosts::Named(names),
            None if host.is_loopback() => AllowedHosts::Loopback,
            None => AllowedHosts::Any,
        },
        trusted_origins: reader.value(&table::TRUSTED_ORIGINS).unwrap_or_default(),
        trusted_proxies: reader.value(&table::TRUSTED_PROXIES).unwrap_or_default(),
        access_log: reader.value(&table::ACCESS_LOG),
        https: https::read(reader),
        ops_port: reader.value(&table::OPS_PORT),
        max_connections: reader.value(&table::MAX_CONNECTIONS),
        max_connections_per_address: reader.value(&table::MAX_CONNECTIONS_PER_ADDRESS),
        max_bytes: reader.value(&table::HTTP_MAX_BYTES),
        max_body_bytes,
        max_depth: reader.value(&table::MAX_DEPTH),
        header_timeout: reader.value(&table::HEADER_TIMEOUT),
        body_timeout: reader.value(&table::BODY_TIMEOUT),
        request_timeout: reader.value(&table::REQUEST_TIMEOUT),
        metrics_port: reader.value(&table::METRICS_PORT),
        cors: cors(reader, service),
        auth: auth::read(reader, service, has_admin_token),
        tracer: None,
        stop_timeout,
    }
}

/// The CORS settings of the service, if pages of other sites may call it.
fn cors(reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>, service: &Service) -> Option<Cors> {
    let (all, of_event_log) =
        (reader.value(&table::CORS_ORIGINS), reader.value(&table::EVENTLOG_CORS_ORIGINS));
    let headers = reader.value(&table::CORS_HEADERS).unwrap_or_default();
    let credentials = reader.value(&table::CORS_CREDENTIALS);
    let (origins, setting) = match service {
        Service::EventLog(_) if of_event_log.is_some() => (of_event_log, &table::EVENTLOG_CORS_ORIGINS),
        _ => (all, &table::CORS_ORIGINS),
    };
    let pair = [
        (setting.variable, reader.text(setting)),
        (table::CORS_CREDENTIALS.variable, reader.text(&table::CORS_CREDENTIALS)),
    ];
    let is_any = origins == Some(AllowedOrigins::Any);
    reader.require(!credentials || !is_any, &pair, "credentials are for sites that are named");
    origins.map(|origins| Cors { origins, headers, credentials })
}
