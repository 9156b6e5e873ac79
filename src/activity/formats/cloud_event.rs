//! CloudEvents 1.0: the JSON format, alone and batched, and the binary mode of its HTTP binding; in, and out again.
//!
//! The `subject` is the user, the `type` the type, the `data` the payload. Attributes that an event here has no field for go
//! into the payload's member [`KEPT`]: the source, an id that is no UUID, extensions, and data that is no JSON object.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::{BufMut as _, BytesMut};
use chrono::DateTime;
use highwater_web::{
    http::{self, FieldError, Problem, json_text},
    identity,
    object::{REPEATED, members},
    timestamp,
};
use serde_json::value::RawValue;
use uuid::{Uuid, uuid};
use warp::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::not_too_deep;
use crate::{
    activity::{
        Api,
        faults::FieldFaults,
        fields::{Checked, bounded_text, optional, text, visible_text},
        request::{AllowedTypes, NewEvent},
        schemas::{Data, Judged},
    },
    store::ActivityEvent,
};

/// One event in the JSON format.
pub(in crate::activity) const ONE: &str = "application/cloudevents+json";
/// Events in the JSON format, in an array.
pub(in crate::activity) const BATCH: &str = "application/cloudevents-batch+json";
/// The header that each event of the binary mode has.
pub(in crate::activity) const VERSION_HEADER: &str = "ce-specversion";

/// The member of a payload that has the parts of a CloudEvent without a place in an event of ours.
const KEPT: &str = "_cloudevent";
/// The source of events that have none.
const OWN_SOURCE: &str = "\"/highwater\"";
/// The namespace of ids that follow from a source and an id.
const IDS: Uuid = uuid!("2c1f9a57-6f0d-4a52-8b0e-5b8a2f6f1d3a");

/// The attributes that have a place in an event of ours, or need no place.
const ATTRIBUTES: [&str; 6] = ["specversion", "id", "source", "type", "subject", "time"];
/// The members that are the data, and no attribute.
const DATA: [&str; 2] = ["data", "data_base64"];

/// The mode in which a request carries CloudEvents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::activity) enum Mode {
    /// Attributes in headers, the data in the body.
    Binary,
    /// One event in the body.
    Structured,
    /// An array of events in the body.
    Batched,
}

impl Mode {
    /// The mode of a request with that `Content-Type` and that [`VERSION_HEADER`]; `None` where it carries no CloudEvents. (HTTP
    /// binding, 3: the media type decides, whatever headers there are beside it.)
    pub(in crate::activity) fn of(
        content_type: Option<&HeaderValue>,
        version: Option<&HeaderValue>,
    ) -> Option<Self> {
        match content_type {
            Some(value) if http::is_media_type(value.as_bytes(), ONE) => Some(Self::Structured),
            Some(value) if http::is_media_type(value.as_bytes(), BATCH) => Some(Self::Batched),
            _ => version.map(|_| Self::Binary),
        }
    }
}

/// Reads the event of a request to a route that takes one.
pub(in crate::activity) fn read_one(api: &Api, headers: &HeaderMap, body: &[u8]) -> Result<Judged, Problem> {
    match Mode::of(headers.get(header::CONTENT_TYPE), headers.get(VERSION_HEADER)) {
        Some(Mode::Structured) => read(api, body),
        Some(Mode::Batched) => Err(batch_elsewhere()),
        _ => read_binary(api, headers, body),
    }
}

/// 415 of a route that takes one event.
pub(in crate::activity) fn batch_elsewhere() -> Problem {
    let detail = "a batch of CloudEvents goes to POST /events/batch";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
}

/// 415 of a route that takes many.
pub(in crate::activity) fn one_elsewhere() -> Problem {
    let detail = format!("one CloudEvent goes to POST /events/generate; a batch of them is {BATCH}");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
}

/// 400 of a route that takes many: headers could be the attributes of one.
pub(in crate::activity) fn no_binary_batch() -> Problem {
    Problem::bad_request(format!(
        "headers ce-… are the attributes of one CloudEvent, which goes to POST /events/generate; a batch of them is {BATCH}, \
         without such headers"
    ))
}

/// Reads an event in the JSON format.
pub(in crate::activity) fn read(api: &Api, text: &[u8]) -> Result<Judged, Problem> {
    let text = json_text(text, api.limits.max_depth)?;
    let members = members::<String>(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::bad_request("the body must be a JSON object"),
        _ => Problem::bad_request(format!("the body is not JSON: {error}")),
    })?;
    let members = members.into_iter().map(|(name, value)| (Cow::Owned(name), Cow::Borrowed(value.get())));
    let (data, attributes) = members.partition(|(name, _): &Member<'_>| DATA.contains(&&**name));
    CloudEvent { attributes, data }.judged(api)
}

/// Reads an event whose attributes are headers.
fn read_binary(api: &Api, headers: &HeaderMap, body: &[u8]) -> Result<Judged, Problem> {
    let mut attributes = Vec::new();
    for (name, value) in headers {
        let name = match name.as_str().strip_prefix("ce-") {
            Some(name) => name,
            None if *name == header::CONTENT_TYPE => "datacontenttype",
            None => continue,
        };
        let Some(value) = header_text(value) else {
            let fault = FieldError::new(name.to_owned(), "is not percent-encoded UTF-8");
            return Err(Problem::invalid(vec![fault]));
        };
        attributes.push((Cow::Owned(name.to_owned()), json_string(&value)));
    }
    let is_json = headers.get(header::CONTENT_TYPE).is_none_or(|value| http::is_json(value.as_bytes()));
    let data = match std::str::from_utf8(body) {
        _ if body.is_empty() => None,
        _ if is_json => {
            let text = json_text(body, api.limits.max_depth)?;
            serde_json::from_str::<&RawValue>(text)
                .map_err(|error| Problem::bad_request(format!("the body is not JSON: {error}")))?;
            Some(("data", Cow::Borrowed(text.trim_ascii())))
        }
        Ok(text) => Some(("data", json_string(text))),
        Err(_) => Some(("data_base64", json_string(&BASE64_STANDARD.encode(body)))),
    };
    let data = data.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect();
    CloudEvent { attributes, data }.judged(api)
}

/// The text of a header: quoted or not, percent-encoded (HTTP binding, 3.1.3.2). Clients that do not encode send UTF-8 or
/// ISO 8859-1.
fn header_text(value: &HeaderValue) -> Option<String> {
    let bytes = value.as_bytes();
    let text = std::str::from_utf8(bytes)
        .map_or_else(|_| bytes.iter().copied().map(char::from).collect(), str::to_owned);
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return http::percent_decoded(&text).map(Cow::into_owned);
    };
    let mut unescaped = String::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        unescaped.push(if character == '\\' { characters.next()? } else { character });
    }
    http::percent_decoded(&unescaped).map(Cow::into_owned)
}

fn json_string(text: &str) -> Cow<'static, str> {
    serde_json::Value::from(text).to_string().into()
}

/// A name and its value, which is JSON.
type Member<'a> = (Cow<'a, str>, Cow<'a, str>);

/// An event as it came.
struct CloudEvent<'a> {
    attributes: Vec<Member<'a>>,
    /// One of [`DATA`], or several, or none.
    data: Vec<Member<'a>>,
}

impl CloudEvent<'_> {
    fn judged(self, api: &Api) -> Result<Judged, Problem> {
        let event = self.into_event(AllowedTypes::Only(&api.config.event_types))?;
        api.judge(not_too_deep(event)?, Data::Payload)
    }

    fn into_event(self, allowed: AllowedTypes<'_>) -> Result<ActivityEvent, Problem> {
        let mut faults = FieldFaults::default();
        let mut known: [Option<Cow<'_, str>>; ATTRIBUTES.len()] = Default::default();
        let mut kept: Vec<Member<'_>> = Vec::new();
        // Null counts as absent.
        for (name, value) in self.attributes.into_iter().filter(|(_, value)| value != "null") {
            match ATTRIBUTES.iter().position(|attribute| *attribute == name) {
                Some(index) if known[index].is_some() => faults.note(ATTRIBUTES[index], REPEATED),
                Some(index) => known[index] = Some(value),
                None if kept.iter().any(|(other, _)| *other == name) => {
                    faults.note(name.into_owned(), REPEATED);
                }
                None if !is_attribute(&name) => {
                    let rule = "must be a name of lower-case letters and digits, other than data";
                    faults.note(name.into_owned(), rule);
                }
                None if value.starts_with(['{', '[']) => {
                    faults.note(name.into_owned(), "must be a string, a number or a boolean");
                }
                None => kept.push((name, value)),
            }
        }
        let [version, id, source, event_type, subject, time] = known.each_ref().map(Option::as_deref);
        let version = faults.check("specversion", version_1_0(version));
        let id = faults.check("id", visible_text(id));
        let source = faults.check("source", visible_text(source));
        let event_type = faults.check("type", allowed.check(event_type));
        let user_id = faults.check("subject", bounded_text(subject));
        let timestamp = faults.check("time", optional(time, timestamp::parse));
        let data = faults.check("data", one_of(self.data));
        let event_id = id.as_deref().and_then(|id| {
            identity::uuid(id).ok().or_else(|| source.as_deref().map(|source| id_of(source, id)))
        });
        let known = event_id.filter(|_| !faults.has("id") && !faults.has("source"));
        match (version, id, source, event_type, user_id, timestamp, data) {
            (
                Some(()),
                Some(id),
                Some(source),
                Some(event_type),
                Some(user_id),
                Some(timestamp),
                Some(data),
            ) if faults.is_empty() => {
                if event_id.is_none_or(|event_id| event_id.hyphenated().to_string() != id) {
                    kept.push((Cow::Borrowed("id"), json_string(&id)));
                }
                kept.push((Cow::Borrowed("source"), json_string(&source)));
                kept.retain(|(name, value)| name != "datacontenttype" || value != "\"application/json\"");
                let payload = payload_of(data, kept)?;
                let payload = Some(&*payload);
                Ok(NewEvent { id: event_id, user_id, event_type, timestamp, payload }.into_event())
            }
            _ => Err(faults.into_problem(known)),
        }
    }
}

/// The id of an event whose own is no UUID: the same for each copy of it.
fn id_of(source: &str, id: &str) -> Uuid {
    Uuid::new_v5(&IDS, [source, "\0", id].concat().as_bytes())
}

/// Whether it is a name of an attribute (CloudEvents 1.0, "Naming Conventions").
fn is_attribute(name: &str) -> bool {
    !name.is_empty()
        && !DATA.contains(&name)
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn version_1_0(version: Option<&str>) -> Checked<()> {
    match text(version)?.as_ref() {
        "1.0" => Ok(()),
        _ => Err("must be 1.0".into()),
    }
}

/// The data, of which there is at most one.
fn one_of(data: Vec<Member<'_>>) -> Checked<Option<Member<'_>>> {
    let mut data = data.into_iter().filter(|(_, value)| value != "null");
    let one = data.next();
    if data.next().is_some() {
        return Err("is given more than once: give one of data and data_base64".into());
    }
    match &one {
        Some((name, value)) if name == "data_base64" && !value.starts_with('"') => {
            Err("must be a string where it is data_base64".into())
        }
        Some((_, value)) if value.starts_with('{') && has_kept(value) => {
            Err(format!("must have no member {KEPT}").into())
        }
        _ => Ok(one),
    }
}

/// Whether it has that member, by its name in any writing. Other names may have escapes that stand for nothing.
fn has_kept(object: &str) -> bool {
    let members = members::<&RawValue>(object).unwrap_or_default();
    members.iter().any(|(name, _)| text(Some(name.get())).is_ok_and(|name| name == KEPT))
}

/// The payload: the data where that is an object, and the members that are kept beside it.
fn payload_of<'a>(data: Option<Member<'a>>, mut kept: Vec<Member<'a>>) -> Result<Box<RawValue>, Problem> {
    let mut payload = "{".to_owned();
    match data {
        Some((name, data)) if data.starts_with('{') => {
            let members = data[1..data.len() - 1].trim_ascii();
            if members.is_empty() {
                // No data would look the same.
                kept.push((name, Cow::Borrowed("{}")));
            } else {
                payload.push_str(members);
                payload.push(',');
            }
        }
        Some(data) => kept.push(data),
        None => {}
    }
    let kept: Vec<_> = kept.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    payload.push_str(&format!("\"{KEPT}\":{{{}}}}}", kept.join(",")));
    // Its parts were read as JSON.
    RawValue::from_string(payload).map_err(|_| Problem::internal())
}

/// Appends an event in the JSON format. A CloudEvent goes out as it came in.
pub(in crate::activity) fn push(to: &mut BytesMut, event: &ActivityEvent) {
    let payload = event.payload();
    let kept = KeptAttributes::of(payload);
    let own_id = json_string(&event.id().hyphenated().to_string());
    let time = DateTime::from_timestamp_millis(event.timestamp_millis()).unwrap_or_default();
    let member = |to: &mut BytesMut, name: &str, value: &str| {
        let separator = if to.ends_with(b"{") { "" } else { "," };
        to.put_slice([separator, "\"", name, "\":", value].concat().as_bytes());
    };
    to.put_slice(b"{");
    member(to, "specversion", "\"1.0\"");
    member(to, "id", kept.value("id").unwrap_or(&own_id));
    member(to, "source", kept.value("source").unwrap_or(OWN_SOURCE));
    member(to, "type", &json_string(&event.event_type()));
    member(to, "subject", &json_string(&event.user_id()));
    member(to, "time", &json_string(&timestamp::format(&time)));
    let others = kept.members.iter().filter(|(name, _)| is_attribute(name) && !ATTRIBUTES.contains(&&**name));
    for (name, value) in others {
        member(to, name, value.get());
    }
    if let Some((name, data)) = kept.data(payload) {
        if data.starts_with('{') && kept.value("datacontenttype").is_none() {
            member(to, "datacontenttype", "\"application/json\"");
        }
        member(to, name, data);
    }
    to.put_slice(b"}");
}

/// The data in a payload. They are the payload without the member that keeps the rest of a CloudEvent. Data that are no object
/// are in that member. Without data it is `{}`.
pub(in crate::activity) fn data_of(payload: &str) -> Cow<'_, str> {
    let kept = KeptAttributes::of(payload);
    match kept.data(payload) {
        // Nothing is kept, as of most payloads.
        Some(_) if kept.rest.is_none() => Cow::Borrowed(payload),
        Some((_, data)) => Cow::Owned(data.to_owned()),
        None => Cow::Borrowed("{}"),
    }
}

/// The attributes of a CloudEvent that its payload keeps.
#[derive(Default)]
struct KeptAttributes<'a> {
    members: Vec<(String, &'a RawValue)>,
    /// The payload without it; `None` where nothing is kept.
    rest: Option<String>,
}

impl<'a> KeptAttributes<'a> {
    fn of(payload: &'a str) -> Self {
        // Most payloads have none, which is seen sooner than read.
        if !payload.contains(KEPT) {
            return Self::default();
        }
        // Names stay as they were written, too: an escape in one may stand for nothing.
        let all = members::<&RawValue>(payload).unwrap_or_default();
        let is_kept = |name: &RawValue| name.get()[1..].strip_suffix('"') == Some(KEPT);
        let found = all.iter().find(|(name, _)| is_kept(name));
        let Some(kept) = found.and_then(|(_, value)| members(value.get()).ok()) else {
            return Self::default();
        };
        let rest = all.iter().filter(|(name, _)| !is_kept(name));
        let rest: Vec<_> = rest.map(|(name, value)| [name.get(), ":", value.get()].concat()).collect();
        Self { members: kept, rest: Some(format!("{{{}}}", rest.join(","))) }
    }

    fn data<'s>(&'s self, payload: &'s str) -> Option<(&'static str, &'s str)> {
        match self.rest.as_deref() {
            None => Some(("data", payload)),
            Some("{}") => DATA.into_iter().find_map(|name| Some((name, self.value(name)?))),
            Some(rest) => Some(("data", rest)),
        }
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, value)| value.get())
    }
}
