//! OpenTelemetry's kinds of values, as its environment variables have them.

use highwater_web::{
    http::{HeaderName, HeaderValue, percent_decoded},
    trace,
};

use super::{OneOf, Values, Whole};

/// Pairs of keys and percent-encoded values (W3C Baggage, without properties).
fn pairs(text: &str) -> Option<Vec<(&str, String)>> {
    text.split(',').filter(|pair| !pair.trim().is_empty()).map(pair).collect()
}

fn pair(pair: &str) -> Option<(&str, String)> {
    let (key, value) = pair.trim().split_once('=')?;
    let key = key.trim_end();
    (!key.is_empty()).then_some((key, percent_decoded(value.trim_start())?.into_owned()))
}

/// Attributes of a resource.
pub(in crate::config) struct Attributes;

impl Values for Attributes {
    type Value = Vec<(String, String)>;

    fn parse(&self, text: &str) -> Option<Self::Value> {
        Some(pairs(text)?.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    fn allowed(&self) -> String {
        "pairs such as service.namespace=shop with commas between them".into()
    }
}

/// The headers that frame a request and find its server.
const FRAMING: [&str; 3] = ["connection", "host", "transfer-encoding"];

/// Headers, whose values may be secrets.
pub(in crate::config) struct Headers;

impl Values for Headers {
    type Value = Vec<(HeaderName, HeaderValue)>;

    fn parse(&self, text: &str) -> Option<Self::Value> {
        let header = |(name, value): (&str, String)| {
            let name: HeaderName = name.parse().ok()?;
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            // These headers are the exporter's.
            let is_free = !name.as_str().starts_with("content-") && !FRAMING.contains(&name.as_str());
            is_free.then_some((name, value))
        };
        pairs(text)?.into_iter().map(header).collect()
    }

    fn allowed(&self) -> String {
        "pairs such as api-key=… with commas between them, which are never shown".into()
    }

    fn is_secret(&self, _: &str) -> bool {
        true
    }
}

/// A share of traces.
pub(in crate::config) struct Ratio;

impl Values for Ratio {
    type Value = trace::Share;

    fn parse(&self, text: &str) -> Option<trace::Share> {
        trace::Share::from_ratio(text.parse().ok()?)
    }

    fn allowed(&self) -> String {
        "a number from 0 to 1, such as 0.01".into()
    }
}

/// A sampler, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Sampling {
    pub(in crate::config) parent_based: bool,
    /// `None` is the ratio of OTEL_TRACES_SAMPLER_ARG.
    pub(in crate::config) share: Option<trace::Share>,
}

const fn sampling(parent_based: bool, share: Option<trace::Share>) -> Sampling {
    Sampling { parent_based, share }
}

/// The samplers of OTEL_TRACES_SAMPLER.
pub(in crate::config) const SAMPLERS: &[(&str, Sampling)] = &[
    ("parentbased_always_on", sampling(true, Some(trace::Share::ALL))),
    ("parentbased_traceidratio", sampling(true, None)),
    ("parentbased_always_off", sampling(true, Some(trace::Share::NONE))),
    ("always_on", sampling(false, Some(trace::Share::ALL))),
    ("traceidratio", sampling(false, None)),
    ("always_off", sampling(false, Some(trace::Share::NONE))),
];

/// The protocols by which spans are sent.
pub(in crate::config) const HTTP_JSON: OneOf<()> = OneOf(&[("http/json", ())]);

/// The time-outs of requests to a collector, in milliseconds.
pub(in crate::config) const MILLISECONDS: Whole<usize> = Whole::from(1).to(600_000);
