//! Identities, by one rule for REST and for records.

use uuid::Uuid;

/// A UUID as RFC 9562 writes it (section 4), in either case, or its 32 digits without the hyphens. Braces and `urn:uuid:`
/// are refused. The nil UUID (5.9) and the max UUID (5.10) are refused: clients that set no id send nil, so their events
/// would merge.
///
/// # Errors
///
/// The requirement.
pub fn uuid(text: &str) -> Result<Uuid, &'static str> {
    let id = Uuid::try_parse(text).map_err(|_| "must be a UUID")?;
    if !matches!(text.len(), 32 | 36) {
        return Err("must be a UUID without braces or urn:uuid:");
    }
    if is_none(id) {
        return Err("must not be the nil or the max UUID, which stand for no value (RFC 9562, 5.9, 5.10)");
    }
    Ok(id)
}

/// Whether the id stands for no value.
pub fn is_none(id: Uuid) -> bool {
    id.is_nil() || id.is_max()
}
