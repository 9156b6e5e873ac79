//! An OpenAPI document as a Markdown page: each route with its parameters, body and answers.

use std::collections::BTreeSet;

use serde_json::Value;

use super::schema::{fields, heading, kind, link, named};

/// An error that a route may answer: its status and headers, when that is, and an example of its body.
type Error = [String; 4];

const ERRORS: [&str; 4] = ["Status", "When", "`detail`, for example", "Beside it"];

/// The page of the document that is at that path, seen from the page.
pub(super) fn page(document: &Value, path: &str) -> String {
    let mut operations: Vec<Operation<'_>> = members(&document["paths"])
        .flat_map(|(path, methods)| {
            members(methods).map(move |(method, it)| Operation { path, method, it, errors: errors(it) })
        })
        .collect();
    let tags = items(&document["tags"]);
    operations.sort_by_key(|operation| tags.iter().position(|tag| tag["name"] == operation.it["tags"][0]));
    // Answers that any route may give are listed once.
    let (first, others) = operations.split_first().unwrap();
    let mut common = first.errors.clone();
    common.retain(|error| others.iter().all(|other| other.errors.contains(error)));

    let info = &document["info"];
    let mut page = vec![
        format!("# {}", text(&info["title"])),
        format!("Made from [the OpenAPI document]({path}) by `UPDATE=1 cargo test --test unit openapi`."),
        text(&info["description"]).to_owned(),
    ];
    let routes = operations.iter().map(|operation| {
        let title = operation.title();
        [format!("[{title}](#{})", anchor(&title)), text(&operation.it["summary"]).to_owned()]
    });
    page.push(table(["Route", "What it does"], routes.collect()));
    for tag in tags {
        page.push(format!("## {}", text(&tag["name"])));
        page.push(text(&tag["description"]).to_owned());
        for operation in operations.iter().filter(|operation| operation.it["tags"][0] == tag["name"]) {
            operation.write(document, &common, &mut page);
        }
    }
    page.push("## Errors".to_owned());
    page.push(format!(
        "The body of an error is `application/problem+json`: {}, for example",
        link("Problem")
    ));
    let example = operations.iter().find_map(|operation| {
        operation.it.pointer("/responses/400/content/application~1problem+json/examples/invalid/value")
    });
    page.extend(example.map(shown));
    page.push(
        "`type`, `title` and `status` follow from the status, so that the tables leave them out. Any route may answer:"
            .to_owned(),
    );
    page.push(table(ERRORS, common));
    page.push("## Schemas".to_owned());
    write_schemas(document, &mut page);
    page.retain(|block| !block.is_empty());
    page.join("\n\n") + "\n"
}

/// A method of a path.
struct Operation<'d> {
    path: &'d str,
    method: &'d str,
    it: &'d Value,
    errors: Vec<Error>,
}

impl Operation<'_> {
    fn title(&self) -> String {
        format!("{} {}", self.method.to_uppercase(), self.path)
    }

    fn write(&self, document: &Value, common: &[Error], page: &mut Vec<String>) {
        page.push(format!("### {}", self.title()));
        page.push(
            format!("{}. {}", text(&self.it["summary"]), text(&self.it["description"])).trim().to_owned(),
        );
        let parameters = items(&self.it["parameters"]).iter().map(|it| {
            [
                code(text(&it["name"])),
                text(&it["in"]).to_owned(),
                kind(&it["schema"]),
                text(&it["description"]).to_owned(),
            ]
        });
        page.push(table(["Parameter", "In", "Type", "Meaning"], parameters.collect()));
        for (media_type, body) in members(&self.it["requestBody"]["content"]) {
            page.push(format!("The body is `{media_type}`:"));
            page.push(fields(named(document, &body["schema"]), document));
            page.push(shown(&body["example"]));
        }
        for (status, answer) in members(&self.it["responses"]).filter(|(status, _)| *status < "400") {
            page.push(format!("**{status}**: {}{}", text(&answer["description"]), headers(answer)));
            for (media_type, body) in members(&answer["content"]) {
                page.push(format!("`{media_type}`: {}", kind(&body["schema"])));
                page.push(fields(&body["schema"], document));
                page.push(shown(&body["example"]));
            }
        }
        let own = self.errors.iter().filter(|error| !common.contains(error)).cloned().collect();
        page.push(table(ERRORS, own));
    }
}

/// The schemas that the page links to.
fn write_schemas(document: &Value, page: &mut Vec<String>) {
    let schemas = &document["components"]["schemas"];
    let mut written = BTreeSet::new();
    let is_asked_for = |name: &str, page: &[String]| page.iter().any(|block| block.contains(&link(name)));
    while let Some((name, schema)) =
        members(schemas).find(|(name, _)| !written.contains(name) && is_asked_for(name, page))
    {
        written.insert(name);
        page.push(format!("### {}", heading(name)));
        page.push(text(&schema["description"]).to_owned());
        page.push(if schema["properties"].is_object() { fields(schema, document) } else { kind(schema) });
    }
}

/// The errors of a route.
fn errors(operation: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    for (status, answer) in members(&operation["responses"]) {
        let of_all = |name: &str| name == "x-correlation-id";
        let headers = members(&answer["headers"]).filter(|(name, _)| !of_all(name));
        let status: String = headers.fold(status.to_owned(), |status, (name, _)| status + " " + &code(name));
        for (_, example) in members(&answer["content"]["application/problem+json"]["examples"]) {
            let body = &example["value"];
            let known = ["type", "title", "status", "detail"];
            let beside = members(body).filter(|(name, _)| !known.contains(name));
            let beside: Vec<_> = beside.map(|(name, value)| code(&format!("{name}: {value}"))).collect();
            let [when, detail] = [&example["summary"], &body["detail"]].map(|it| text(it).to_owned());
            errors.push([status.clone(), when, detail, beside.join(", ")]);
        }
    }
    errors
}

fn headers(answer: &Value) -> String {
    let named: Vec<String> = members(&answer["headers"])
        .map(|(name, it)| if it["required"] == true { code(name) } else { format!("{} perhaps", code(name)) })
        .collect();
    if named.is_empty() { String::new() } else { format!(" Headers: {}.", named.join(", ")) }
}

pub(super) fn table<const COLUMNS: usize>(head: [&str; COLUMNS], rows: Vec<[String; COLUMNS]>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let cell = |cell: String| cell.replace('|', "\\|").replace('\n', " ");
    let head = [line(head.map(str::to_owned).to_vec()), format!("|{}", "---|".repeat(COLUMNS))];
    head.into_iter()
        .chain(rows.into_iter().map(|row| line(row.map(cell).to_vec())))
        .collect::<Vec<_>>()
        .join("\n")
}

fn shown(example: &Value) -> String {
    match example {
        Value::Null => String::new(),
        Value::String(text) => format!("```\n{}\n```", text.trim_end()),
        json => format!("```json\n{json:#}\n```"),
    }
}

pub(super) fn code(text: &str) -> String {
    format!("`{text}`")
}

/// The anchor that GitHub makes of a heading.
pub(super) fn anchor(heading: &str) -> String {
    let kept = |char: &char| char.is_alphanumeric() || "-_ ".contains(*char);
    heading.to_lowercase().replace(|char| !kept(&char), "").replace(' ', "-")
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}
