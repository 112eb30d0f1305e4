//! Texts that a configuration only names: `{ env = "NAME" }` or `{ file = "/path" }` wherever a text may stand, so that
//! no secret has to be written into the file.

use std::fs;

use toml::{Table, Value};

/// Puts the texts in the place of their names; whether there was one.
///
/// # Errors
/// In words, with the key: the variable is not set, or the file cannot be read.
pub(super) fn resolve(table: &mut Table, var: &impl Fn(&str) -> Option<String>) -> Result<bool, String> {
    resolve_under("", table, var)
}

fn resolve_under(above: &str, table: &mut Table, var: &impl Fn(&str) -> Option<String>) -> Result<bool, String> {
    let mut named = false;
    for (key, value) in table.iter_mut() {
        let key = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
        named |= resolve_value(&key, value, var)?;
    }
    Ok(named)
}

fn resolve_value(key: &str, value: &mut Value, var: &impl Fn(&str) -> Option<String>) -> Result<bool, String> {
    match value {
        Value::Table(inner) => match text_of(key, inner, var)? {
            Some(text) => {
                *value = Value::String(text);
                Ok(true)
            }
            None => resolve_under(key, inner, var),
        },
        Value::Array(entries) => {
            let mut named = false;
            for (at, entry) in entries.iter_mut().enumerate() {
                named |= resolve_value(&format!("{key}[{at}]"), entry, var)?;
            }
            Ok(named)
        }
        _ => Ok(false),
    }
}

fn text_of(key: &str, table: &Table, var: &impl Fn(&str) -> Option<String>) -> Result<Option<String>, String> {
    let mut entries = table.iter();
    let (Some((kind, Value::String(name))), None) = (entries.next(), entries.next()) else { return Ok(None) };
    match kind.as_str() {
        "env" => match var(name) {
            Some(text) => Ok(Some(text)),
            None => Err(format!("{key} names the environment variable {name}, which is not set")),
        },
        "file" => match fs::read_to_string(name) {
            // Editors and `echo` end a line that is no part of the secret.
            Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) => Err(format!("{key} names the file {name}, which cannot be read: {error}")),
        },
        _ => Ok(None),
    }
}
