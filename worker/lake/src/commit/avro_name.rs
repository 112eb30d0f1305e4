//! Names of partition fields in manifests: what Avro takes for a name.
//!
//! A partition field may be named as anything; a field of an Avro record may not. Iceberg's Java and Python write such a
//! name in the way of Java's `AvroSchemaUtil.sanitize`, and everybody finds the field by its id. The crate writes it as it
//! is, which Avro libraries then refuse to read, and finds fields by name.

use std::borrow::Cow;

use iceberg::spec::PartitionSpec;

/// Whether all names of a spec are Avro's.
pub(crate) fn has_avro_names(spec: &PartitionSpec) -> bool {
    spec.fields().iter().all(|field| matches!(avro_name(&field.name), Cow::Borrowed(_)))
}

/// The spec as a manifest has to have it.
///
/// # Errors
/// `serde_json`'s, never met: a spec that is written is read.
pub(super) fn with_avro_names(spec: &PartitionSpec) -> serde_json::Result<Cow<'_, PartitionSpec>> {
    if has_avro_names(spec) {
        return Ok(Cow::Borrowed(spec));
    }
    let mut json = serde_json::to_value(spec)?;
    for field in json["fields"].as_array_mut().into_iter().flatten() {
        let name = avro_name(field["name"].as_str().unwrap_or_default()).into_owned();
        field["name"] = name.into();
    }
    serde_json::from_value(json).map(Cow::Owned)
}

// A letter or `_`, then letters, digits and `_`; anything else becomes `_x` and its number, a digit at the beginning `_`
// and itself.
fn avro_name(name: &str) -> Cow<'_, str> {
    let fits = |(at, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit());
    if !name.is_empty() && name.char_indices().all(fits) {
        return Cow::Borrowed(name);
    }
    let mut avro = String::with_capacity(name.len() + 4);
    for (at, c) in name.char_indices() {
        match c {
            c if fits((at, c)) => avro.push(c),
            c if c.is_ascii_digit() => avro.extend(['_', c]),
            c => avro.push_str(&format!("_x{:X}", u32::from(c))),
        }
    }
    Cow::Owned(avro)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_java_does() {
        for (name, avro) in [
            ("origin_bucket", "origin_bucket"),
            ("a.b", "a_x2Eb"),
            ("9", "_9"),
            ("tail no", "tail_x20no"),
            ("x9", "x9"),
        ] {
            assert_eq!(avro_name(name), avro);
        }
    }
}
