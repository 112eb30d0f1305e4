//! The types of columns, nested ones among them, in Iceberg's words.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::PrimitiveType;

/// Levels of nested types at the most.
const MAX_DEPTH: usize = 64;

/// The type of a column: `long`, `list<string>`, `struct<a: int, b: map<string, double>>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// One value.
    Primitive(PrimitiveType),
    /// `struct<name: type, ...>`
    Struct(Vec<TypeField>),
    /// `list<type>`
    List(Box<ColumnType>),
    /// `map<string, type>`: what JSON objects are.
    Map(Box<ColumnType>),
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TypeField {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: ColumnType,
}

impl ColumnType {
    /// The type, when it is primitive.
    #[must_use]
    pub fn primitive(&self) -> Option<PrimitiveType> {
        if let Self::Primitive(ty) = self { Some(*ty) } else { None }
    }
}

impl From<PrimitiveType> for ColumnType {
    fn from(ty: PrimitiveType) -> Self {
        Self::Primitive(ty)
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primitive(ty) => ty.fmt(f),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::Map(value) => write!(f, "map<string, {value}>"),
            Self::Struct(fields) => {
                f.write_str("struct<")?;
                for (at, field) in fields.iter().enumerate() {
                    write!(f, "{}{}: {}", if at == 0 { "" } else { ", " }, field.name, field.ty)?;
                }
                f.write_str(">")
            }
        }
    }
}

impl FromStr for ColumnType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.matches(['(', '<']).count() > text.matches([')', '>']).count() {
            return Err(format!(
                "`{text}` is not a whole column type; where it stands between {{ }} or [ ] of YAML, a comma ends it \
                 unless it is in quotes: \"decimal(9,2)\""
            ));
        }
        parse(text.trim(), 0)
    }
}

fn parse(text: &str, depth: usize) -> Result<ColumnType, String> {
    if depth > MAX_DEPTH {
        return Err(format!("a type has at most {MAX_DEPTH} levels"));
    }
    let inner = |word: &str| text.strip_prefix(word)?.trim_start().strip_prefix('<')?.strip_suffix('>').map(str::trim);
    if let Some(item) = inner("list") {
        return Ok(ColumnType::List(Box::new(parse(item, depth + 1)?)));
    }
    if let Some(pair) = inner("map") {
        return match parts(pair).as_slice() {
            [key, value] if key.trim() == "string" => Ok(ColumnType::Map(Box::new(parse(value.trim(), depth + 1)?))),
            _ => Err(format!("`{text}` is not a column type; a map is written map<string, type>")),
        };
    }
    let Some(fields) = inner("struct") else { return text.parse().map(ColumnType::Primitive) };
    let mut found: Vec<TypeField> = Vec::new();
    for field in parts(fields) {
        let (name, ty) = field
            .split_once(':')
            .ok_or_else(|| format!("`{text}` is not a column type; a struct is written struct<name: type, ...>"))?;
        let name = name.trim().to_owned();
        if name.is_empty() || found.iter().any(|other| other.name == name) {
            return Err(format!("`{text}`: each field of a struct has a name of its own"));
        }
        found.push(TypeField { name, ty: parse(ty.trim(), depth + 1)? });
    }
    Ok(ColumnType::Struct(found))
}

/// The parts between commas that stand in no brackets.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, character) in text.char_indices() {
        match character {
            '<' | '(' => depth += 1,
            '>' | ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

impl Serialize for ColumnType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ColumnType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_types_come_back_from_their_text() {
        for text in [
            "long",
            "list<string>",
            "map<string, decimal(9,2)>",
            "struct<a: int, b: list<struct<c: date, d: map<string, list<double>>>>>",
        ] {
            assert_eq!(text.parse::<ColumnType>().unwrap().to_string(), text);
        }
        assert_eq!(
            "struct< a : int,b:decimal( 5 , 0 ) >".parse::<ColumnType>().unwrap().to_string(),
            "struct<a: int, b: decimal(5,0)>"
        );
    }

    #[test]
    fn a_wrong_nested_type_says_how_it_is_written() {
        for (text, part) in [
            ("list<money>", "`money` is not a column type"),
            ("map<int, long>", "map<string, type>"),
            ("struct<a>", "struct<name: type"),
            ("struct<a: int, a: int>", "a name of its own"),
            ("decimal(9", "in quotes: \"decimal(9,2)\""),
            ("map<string", "is not a whole column type"),
        ] {
            let error = text.parse::<ColumnType>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let deep = format!("{}int{}", "list<".repeat(70), ">".repeat(70));
        assert!(deep.parse::<ColumnType>().unwrap_err().contains("levels"));
    }
}
