//! Media types, of a body and of the answers that a client accepts.

use hyper::{HeaderMap, header::CONTENT_TYPE};

/// Newline-delimited JSON.
pub const NDJSON: &str = "application/x-ndjson";
/// JSON.
pub const JSON: &str = "application/json";

/// Server-sent events, which have no end.
pub const EVENT_STREAM: &str = "text/event-stream";

/// Whether an answer has no end.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|content_type| content_type == EVENT_STREAM)
}

/// Whether a Content-Type names JSON: `application/json` or `application/<anything>+json`, with any parameters, in any case.
/// The caller judges an absent one.
pub fn is_json(content_type: &[u8]) -> bool {
    let essence = essence(content_type);
    const APPLICATION: &[u8] = b"application/";
    if essence.len() < APPLICATION.len() || !essence[..APPLICATION.len()].eq_ignore_ascii_case(APPLICATION) {
        return false;
    }
    let subtype = &essence[APPLICATION.len()..];
    subtype.eq_ignore_ascii_case(b"json")
        || (subtype.len() > 5 && subtype[subtype.len() - 5..].eq_ignore_ascii_case(b"+json"))
}

/// Whether an Accept header asks for this media type rather than the usual one: it names the type, and does not name the
/// usual one with a higher quality. Ranges such as `*/*` do not name it.
pub fn prefers(accept: &[u8], media_type: &str, usual: &str) -> bool {
    let (mut wanted, mut others) = (0, 0);
    for item in accept.split(|byte| *byte == b',') {
        if is_media_type(item, media_type) {
            wanted = wanted.max(quality(item));
        } else if is_media_type(item, usual) {
            others = others.max(quality(item));
        }
    }
    wanted > 0 && wanted >= others
}

/// Whether a Content-Type, or an item of an Accept, names that media type, with any parameters and in any case.
pub fn is_media_type(value: &[u8], media_type: &str) -> bool {
    essence(value).eq_ignore_ascii_case(media_type.as_bytes())
}

/// Whether a Content-Type names NDJSON, by any of its names.
pub(super) fn is_ndjson(content_type: &[u8]) -> bool {
    const NAMES: [&str; 4] = [NDJSON, "application/ndjson", "application/jsonl", "application/jsonlines"];
    NAMES.iter().any(|name| is_media_type(content_type, name))
}

/// Whether an Accept-Encoding accepts gzip.
pub(super) fn accepts_gzip(accept_encoding: &[u8]) -> bool {
    coding_weight(accept_encoding, "gzip") > 0
}

/// The weight of a content coding in an Accept-Encoding: by its name, else by `*`; 0 where it is not accepted.
pub(super) fn coding_weight(accept_encoding: &[u8], coding: &str) -> u32 {
    let weight_of = |coding: &str| {
        let mut items = accept_encoding.split(|byte| *byte == b',');
        items.find(|item| essence(item).eq_ignore_ascii_case(coding.as_bytes())).map(quality)
    };
    weight_of(coding).or_else(|| weight_of("*")).unwrap_or(0)
}

fn essence(media_type: &[u8]) -> &[u8] {
    media_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

/// The weight in thousandths (RFC 9110, section 12.4.2); an unreadable one counts as 1.
fn quality(item: &[u8]) -> u32 {
    item.split(|byte| *byte == b';')
        .skip(1)
        .filter_map(|parameter| std::str::from_utf8(parameter).ok())
        .filter_map(|parameter| parameter.trim().split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("q"))
        .and_then(|(_, value)| value.parse::<f32>().ok())
        .map_or(1000, |weight| (weight.clamp(0.0, 1.0) * 1000.0) as u32)
}
