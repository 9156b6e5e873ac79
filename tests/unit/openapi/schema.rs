//! A JSON Schema in words.

use serde_json::Value;

use super::markdown::{anchor, code, items, members, table, text};

/// The type of a value, in a few words.
pub(super) fn kind(schema: &Value) -> String {
    let bound = |name: &str| schema[name].as_u64();
    let any_of = |kinds: &[Value]| kinds.iter().map(kind).collect::<Vec<_>>().join(" or ");
    if let Some(reference) = schema["$ref"].as_str() {
        return link(reference.rsplit('/').next().unwrap());
    }
    if let Some(value) = schema.get("const") {
        return code(&value.to_string());
    }
    // A list as long as that of the currencies is for the document.
    if let Some(values) = schema["enum"].as_array().filter(|values| values.len() <= 20) {
        return values.iter().map(|value| code(&value.to_string())).collect::<Vec<_>>().join(" or ");
    }
    if let Some(kinds) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        return any_of(kinds);
    }
    if let Some(kinds) = schema["type"].as_array() {
        let one = |kind: &Value| {
            let mut schema = schema.clone();
            schema["type"] = kind.clone();
            schema
        };
        return any_of(&kinds.iter().map(one).collect::<Vec<_>>());
    }
    match text(&schema["type"]) {
        "" if schema["allOf"].is_array() => "object".to_owned(),
        "" => "any JSON value".to_owned(),
        "array" => format!("array of {}", kind(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("object of {}", kind(&schema["additionalProperties"]))
        }
        "integer" => match (bound("minimum"), bound("maximum")) {
            (Some(least), Some(most)) => format!("integer from {least} to {most}"),
            _ => "integer".to_owned(),
        },
        "string" => match (text(&schema["format"]), bound("maxLength")) {
            ("uuid", _) => "UUID".to_owned(),
            ("date-time", _) => "date and time".to_owned(),
            (_, Some(most)) => format!("string of {} to {most} characters", bound("minLength").unwrap_or(0)),
            _ => "string".to_owned(),
        },
        other => other.to_owned(),
    }
}

/// A table of an object's fields, and of those of objects within it that have no name.
pub(super) fn fields(schema: &Value, document: &Value) -> String {
    let mut rows = Vec::new();
    gather("", schema, document, &mut rows);
    table(["Field", "Type", "Meaning"], rows)
}

fn gather(place: &str, schema: &Value, document: &Value, rows: &mut Vec<[String; 3]>) {
    for part in items(&schema["allOf"]) {
        gather(place, named(document, part), document, rows);
    }
    if let Some(items) = schema.get("items") {
        gather(&format!("{place}[]"), items, document, rows);
    }
    let is_required = |name: &str| items(&schema["required"]).iter().any(|required| required == name);
    let mut properties: Vec<_> = members(&schema["properties"]).collect();
    properties.sort_by_key(|(name, _)| !is_required(name));
    for (name, property) in properties {
        let place = if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
        let optional = if is_required(name) { "" } else { ", optional" };
        rows.push([code(&place), kind(property) + optional, text(&property["description"]).to_owned()]);
        gather(&place, property, document, rows);
    }
}

/// A schema itself, where there is its name.
pub(super) fn named<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    schema["$ref"].as_str().and_then(|name| document.pointer(name.trim_start_matches('#'))).unwrap_or(schema)
}

/// To where a schema of that name is told.
pub(super) fn link(name: &str) -> String {
    format!("[{name}](#{})", anchor(&heading(name)))
}

/// A tag may have the same name.
pub(super) fn heading(name: &str) -> String {
    format!("{name} (schema)")
}
