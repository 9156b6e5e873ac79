//! The schemas of a folder, read and compiled.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use boon::{CompileError, Compiler, Draft, ErrorKind, SchemaIndex, UrlLoader, ValidationError};
use highwater_net::files::FromFiles;
use highwater_web::http::percent_decoded;
use serde_json::Value;

use super::{SchemaFault, folder::Contents};

/// The URL of the folder, for references between its files.
const BASE: &str = "file:///";
/// The most faults that are told, and the longest message, in characters.
const MAX_FAULTS: usize = 20;
const MAX_MESSAGE: usize = 200;

/// The schemas of a folder.
pub(super) struct Compiled {
    schemas: boon::Schemas,
    by_type: HashMap<String, SchemaIndex>,
}

/// Reads the schemas of a folder, and again when something in it changes.
pub(super) fn open(folder: PathBuf) -> Result<FromFiles<Compiled>, String> {
    let shown = format!("the schemas in {}", folder.display());
    let looked_at = folder.clone();
    let paths = move || {
        Contents::of(&looked_at).map_or_else(|_| vec![looked_at.clone()], |contents| contents.paths())
    };
    FromFiles::of_changing(shown, paths, move || Compiled::read(&folder), |fault| fault)
}

impl Compiled {
    /// Reads the schemas of a folder, or tells each of its faults with its file.
    fn read(folder: &Path) -> Result<Self, String> {
        let contents = Contents::of(folder).map_err(|error| format!("cannot be read: {error}"))?;
        let mut faults = Vec::new();
        let mut files = Files::default();
        for path in contents.files {
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            if let Err(fault) = files.add(&path, &name) {
                faults.push(format!("{name}: {fault}"));
            }
        }
        // A file that cannot be read would be missed by those that refer to it.
        if faults.is_empty() {
            match files.compile() {
                Ok(compiled) => return Ok(compiled),
                Err(found) => faults = found,
            }
        }
        faults.dedup();
        let further = faults.len().saturating_sub(MAX_FAULTS);
        faults.truncate(MAX_FAULTS);
        if further > 0 {
            faults.push(format!("and {further} more"));
        }
        Err(format!("has faults: {}", faults.join("; ")))
    }

    /// The types that have a schema.
    pub(super) fn types(&self) -> impl Iterator<Item = &str> {
        self.by_type.keys().map(String::as_str)
    }

    /// The faults of data of that type, one a place. The data are asked for where the type has a schema.
    pub(super) fn faults<'a>(
        &self,
        event_type: &str,
        data: impl FnOnce() -> Cow<'a, str>,
    ) -> Vec<SchemaFault> {
        let Some(schema) = self.by_type.get(event_type) else { return Vec::new() };
        // It fails for a number that is larger than any float.
        let data: Value = match serde_json::from_str(&data()) {
            Ok(data) => data,
            Err(error) => {
                let message = shortened(&format!("cannot be judged: {error}"));
                return vec![SchemaFault { pointer: String::new(), message }];
            }
        };
        self.schemas.validate(&data, *schema).err().map(|error| faults_of(&error)).unwrap_or_default()
    }
}

/// The files of a folder, before they are compiled.
#[derive(Default)]
struct Files {
    compiler: Compiler,
    /// The URLs of the schemas of types.
    by_type: BTreeMap<String, String>,
    /// The files that have an `$id`.
    by_id: HashMap<String, String>,
}

impl Files {
    /// Reads the file of that name.
    fn add(&mut self, path: &Path, name: &str) -> Result<(), String> {
        let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
        let schema: Value = serde_json::from_str(&text).map_err(|error| format!("is not JSON: {error}"))?;
        let url = url_of(name);
        if let Some(event_type) = type_of(name)? {
            if self.by_type.contains_key(&event_type) {
                return Err(format!("is another schema of {event_type}"));
            }
            self.by_type.insert(event_type, url.clone());
        }
        // Other files refer to it by this, too.
        if let Some(id) = schema.get("$id").and_then(Value::as_str).filter(|id| id.contains(':')) {
            if let Some(other) = self.by_id.insert(id.to_owned(), name.to_owned()) {
                return Err(format!("has the $id of {other}"));
            }
            self.compiler.add_resource(id, schema.clone()).map_err(|error| plain(&error.to_string()))?;
        }
        self.compiler.add_resource(&url, schema).map_err(|error| plain(&error.to_string()))
    }

    fn compile(mut self) -> Result<Compiled, Vec<String>> {
        self.compiler.set_default_draft(Draft::V2020_12);
        self.compiler.enable_format_assertions();
        self.compiler.use_loader(Box::new(NoLoader));
        let mut schemas = boon::Schemas::new();
        let (mut by_type, mut faults) = (HashMap::new(), Vec::new());
        for (event_type, url) in self.by_type {
            match self.compiler.compile(&url, &mut schemas) {
                Ok(schema) => drop(by_type.insert(event_type, schema)),
                Err(error) => faults.push(in_words(&url, &error)),
            }
        }
        if faults.is_empty() { Ok(Compiled { schemas, by_type }) } else { Err(faults) }
    }
}

/// Loads nothing: all files of the folder are known, and a schema elsewhere is not asked for.
struct NoLoader;

impl UrlLoader for NoLoader {
    fn load(&self, _url: &str) -> Result<Value, Box<dyn Error>> {
        Err("it is not in the folder, and nothing is loaded from elsewhere".into())
    }
}

/// The event type that the file of that name judges; `None` for a file that others refer to.
fn type_of(name: &str) -> Result<Option<String>, String> {
    match name.strip_suffix(".json") {
        Some(name) if !name.starts_with('_') && !name.contains('/') => percent_decoded(name)
            .map(|event_type| Some(event_type.into_owned()))
            .ok_or_else(|| "must be named by a percent-encoded event type".to_owned()),
        _ => Ok(None),
    }
}

/// The URL of the file of that name. The parser of URLs encodes the rest.
fn url_of(name: &str) -> String {
    [BASE, &name.replace('%', "%25").replace('?', "%3F").replace('#', "%23")].concat()
}

/// The fault of a schema at that URL.
fn in_words(url: &str, error: &CompileError) -> String {
    let (url, fault) = match error {
        CompileError::ValidationError { url, src } => {
            let faults = faults_of(src);
            let faults = faults.iter().map(|fault| match fault.pointer.as_str() {
                "" => fault.message.clone(),
                pointer => format!("{pointer} {}", fault.message),
            });
            (url.trim_end_matches('#'), faults.collect::<Vec<_>>().join(", "))
        }
        error => (url, format!("{error:#}")),
    };
    format!("{}: {}", plain(url), plain(&fault))
}

/// A text that names files as the folder does, on one line.
fn plain(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.replace(BASE, "").replace("%25", "%")
}

/// The faults that are the causes of all others, one a place.
fn faults_of(error: &ValidationError<'_, '_>) -> Vec<SchemaFault> {
    let mut faults = Vec::new();
    add_causes(error, " and ", &mut faults);
    for fault in &mut faults {
        fault.message = shortened(&fault.message);
    }
    faults
}

/// Adds the causes of a fault. `word` stands between those of one place.
fn add_causes(error: &ValidationError<'_, '_>, word: &str, faults: &mut Vec<SchemaFault>) {
    if !error.causes.is_empty() {
        let is_choice = matches!(error.kind, ErrorKind::AnyOf | ErrorKind::OneOf(_));
        let word = if is_choice { " or " } else { word };
        error.causes.iter().for_each(|cause| add_causes(cause, word, faults));
        return;
    }
    let (pointer, message) = (error.instance_location.to_string(), message_of(&error.kind));
    if let Some(fault) = faults.iter_mut().find(|fault| fault.pointer == pointer) {
        // Beyond it nothing is shown.
        if fault.message.len() < MAX_MESSAGE {
            fault.message.push_str(word);
            fault.message.push_str(&message);
        }
    } else if faults.len() < MAX_FAULTS {
        faults.push(SchemaFault { pointer, message });
    }
}

/// The requirement, in the words that the other faults of fields have. Where there are none here, the library's words are used.
fn message_of(kind: &ErrorKind<'_, '_>) -> String {
    let listed = |names: &[&str]| names.join(", ");
    match kind {
        ErrorKind::Type { got, want } => {
            let want: Vec<_> = want.iter().map(|kind| kind.to_string()).collect();
            format!("must be of type {}, not {got}", want.join(" or "))
        }
        ErrorKind::Required { want } => format!("must have {}", listed(want)),
        ErrorKind::AdditionalProperties { got } => {
            let got: Vec<_> = got.iter().map(|name| &**name).collect();
            format!("must not have {}", listed(&got))
        }
        ErrorKind::FalseSchema => "must not be there".to_owned(),
        ErrorKind::Format { want, .. } => format!("must be a {want}"),
        ErrorKind::Pattern { want, .. } => format!("must match {want}"),
        ErrorKind::Enum { .. } | ErrorKind::Const { .. } => {
            kind.to_string().replacen("value must", "must", 1)
        }
        kind => kind.to_string(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
