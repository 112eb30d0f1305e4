//! Why a record does not fit, in words.

use moulin_core::ContractMode;

use super::Objects;
use super::scan::{Broken, Layout, Scan, Str};
use super::shape::Shape;
use super::value::{Misfit, Unfit};
use crate::code::Code;
use crate::fault::{Bad, shown};
use crate::iceberg_type_name;

/// A record that is no JSON: it stands at `at..end`.
pub(super) fn broken(format: &Objects, text: &[u8], at: usize, end: usize, broken: Broken) -> Bad {
    let record = text[at..end].trim_ascii_end();
    if std::str::from_utf8(record).is_err() {
        return Bad::row(Code::Utf8, format!("row `{}` is not UTF-8", shown(record)));
    }
    let whole = if format.layout == Layout::Lines { "line" } else { "element" };
    if broken.code() == Code::JsonDepth {
        let reason = format!(
            "row has more than {} levels of objects and lists, at character {} of the {whole}",
            format.max_depth,
            broken.at - at + 1
        );
        return Bad::row(Code::JsonDepth, reason);
    }
    let found = shown(&text[broken.at.min(end)..end]);
    let found = if found.trim().is_empty() { format!("the end of the {whole}") } else { format!("`{found}`") };
    let reason = format!(
        "row is not valid JSON: found {found} at character {} of the {whole}, expected {}",
        broken.at - at + 1,
        broken.expected
    );
    Bad::row(Code::JsonSyntax, reason)
}

/// A record that starts with something else than a brace.
pub(super) fn not_an_object(scan: &Scan<'_>) -> Unfit {
    let mut rest = Scan { ..*scan };
    let is_value = rest.value().is_ok();
    let end = rest.at;
    rest.blanks();
    if !is_value || !rest.at_record_end() {
        return Unfit::Broken(Broken { at: scan.at, expected: "an object" });
    }
    let reason = format!("row is `{}`, expected an object", shown(&scan.text[scan.at..end]));
    Unfit::Bad(Box::new(Bad::row(Code::JsonNotAnObject, reason)))
}

/// A value that is none of its column's type.
pub(super) fn misfit(format: &Objects, place: usize, text: &[u8], misfit: &Misfit) -> Bad {
    let column = &format.members.list[place].name;
    let value = &text[misfit.start..misfit.end];
    let path = format!("{column}{}", misfit.path);
    if misfit.surrogate {
        let reason =
            format!("field {path} has value `{}`, in which half of a surrogate pair is no character", shown(value));
        return Bad { column: column.clone(), ..Bad::row(Code::JsonSurrogate, reason) };
    }
    if let (Some(ty), true) = (misfit.ty, misfit.path.is_empty()) {
        let mut bad = Bad::value(column, ty, value, format.inferred[place]);
        if let Shape::Plain { texts: Some(texts), .. } = &format.members.list[place].shape
            && let Some(expected) = texts.expected()
            && bad.code != Code::Utf8
        {
            bad.reason.push_str(&format!(", {expected}"));
        }
        return bad;
    }
    let expected = match misfit.ty {
        Some(ty) => ty.to_string(),
        None if misfit.path.is_empty() => iceberg_type_name(format.schema.field(place).data_type()),
        None => "an object or a list, as the column's type says".to_owned(),
    };
    let mut reason = format!("field {path} has value `{}`, expected {expected}", shown(value));
    if format.inferred[place] {
        reason.push_str("; the type was inferred from a sample of the first file: declare the column's type");
    }
    Bad { column: column.clone(), ..Bad::row(Code::TypeNested, reason) }
}

/// A key that comes twice, where that makes a bad row.
pub(super) fn duplicate_key(text: &[u8], key: Str) -> Bad {
    let reason = format!("row has the key `{}` twice in one object", shown(&text[key.start..key.end]));
    Bad::row(Code::JsonDuplicateKey, reason)
}

/// A key that is no column, where the contract does not take it.
pub(super) fn contract_column(key: &str, mode: ContractMode) -> Bad {
    let reason = format!("row has the key `{key}`, which is no column, and contract.columns is {}", mode.as_str());
    Bad { column: key.to_owned(), stops: mode == ContractMode::Freeze, ..Bad::row(Code::ContractColumn, reason) }
}

/// The first field of an object that is longer than the limit.
pub(super) fn long_field(mut scan: Scan<'_>, limit: usize) -> Option<Bad> {
    scan.blanks();
    scan.open().ok()?;
    let mut more = scan.peek() != b'}';
    while more {
        let key = scan.key().ok()?;
        let start = scan.at;
        scan.value().ok()?;
        let bytes = scan.at - start;
        if bytes > limit {
            let column = shown(&scan.text[key.start..key.end]);
            let reason = format!("field {column} has {bytes} bytes, and limits.field_bytes is {limit}");
            return Some(Bad { column, ..Bad::row(Code::JsonFieldBytes, reason) });
        }
        more = scan.another(b'}').ok()?;
    }
    None
}
