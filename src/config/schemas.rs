//! The schemas of payloads.

use super::{
    Service,
    reader::SettingsReader,
    table::{EVENT_SCHEMAS, EVENT_SCHEMAS_MODE},
};
use crate::activity::Schemas;

/// Reads the schemas, for the service that uses them; `None` if no payload is judged.
pub(super) fn read(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
    service: &Service,
) -> Option<Schemas> {
    let (folder, mode) = (reader.value(&EVENT_SCHEMAS), reader.value(&EVENT_SCHEMAS_MODE));
    let folder = folder.filter(|_| *service == Service::Activity)?;
    let schemas = Schemas::open(folder, mode);
    if let Err(fault) = &schemas {
        let setting = (EVENT_SCHEMAS.variable, reader.text(&EVENT_SCHEMAS));
        reader.require(false, &[setting], fault);
    }
    schemas.ok()
}
