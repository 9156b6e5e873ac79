//! Secrets, given in a variable or in a file.

use std::path::Path;

use highwater_kafka::security::{Credential, Secret};
use highwater_net::files;
use highwater_web::http::BearerToken;

use super::{
    reader::SettingsReader,
    table::{ADMIN_TOKEN, ADMIN_TOKEN_FILE, Setting},
    values::{File, Or, Password, Token, Values as _},
};

/// The text of a secret's file, without the line end. A file that cannot be read is reported.
pub(super) fn first_line(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
    file: &(&'static str, String),
    path: &Path,
) -> Option<String> {
    let read = files::first_line(path);
    let read = read.map_err(|error| {
        reader.require(false, std::slice::from_ref(file), &format!("cannot be read: {error}"));
    });
    read.ok()
}

/// The admin token, from ADMIN_TOKEN or the file ADMIN_TOKEN_FILE.
pub(super) fn admin(reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>) -> Option<BearerToken> {
    let given = reader.value(&ADMIN_TOKEN);
    let Some(path) = reader.value(&ADMIN_TOKEN_FILE) else { return given };
    let file = (ADMIN_TOKEN_FILE.variable, reader.text(&ADMIN_TOKEN_FILE));
    let shown = (ADMIN_TOKEN.variable, reader.shown(&ADMIN_TOKEN));
    reader.require(given.is_none(), &[shown, file.clone()], "set one of them");
    let bearer = Token.parse(&first_line(reader, &file, &path)?);
    reader.require(bearer.is_some(), &[file], &format!("must hold {}", Token.allowed()));
    bearer
}

/// A password, from its variable or its file.
pub(super) fn of(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
    variable: &Setting<Or<Password>>,
    in_file: &Setting<Or<File>>,
) -> Option<Secret> {
    let given = reader.value(variable);
    let Some(path) = reader.value(in_file) else { return given };
    let file = (in_file.variable, reader.text(in_file));
    let shown = (variable.variable, reader.shown(variable));
    reader.require(given.is_none(), &[shown, file.clone()], "set one of them");
    // A fault of the file is enough; the password is not reported as missing as well.
    let text = first_line(reader, &file, &path).unwrap_or_default();
    let holds_one = !text.is_empty() && !text.contains('\0');
    reader.require(holds_one, &[file], "holds no password");
    Some(Secret::new(text))
}

/// As [`of`], but a file is read again when it changes.
pub(super) fn renewed(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
    variable: &Setting<Or<Password>>,
    in_file: &Setting<Or<File>>,
) -> Option<Credential> {
    let given = reader.value(variable);
    let Some(path) = reader.value(in_file) else { return given.map(Credential::new) };
    let file = (in_file.variable, reader.text(in_file));
    let shown = (variable.variable, reader.shown(variable));
    reader.require(given.is_none(), &[shown, file.clone()], "set one of them");
    match Credential::from_file(path) {
        Ok(credential) => Some(credential),
        Err(fault) => {
            reader.require(false, &[file], &fault);
            // The fault is reported already.
            Some(Credential::new(Secret::new("")))
        }
    }
}
