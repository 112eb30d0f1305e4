//! The schema in the bytes of a footer, looked at before it is decoded.
//!
//! The decoder goes into its levels by recursion, and makes room for as many children as an element is said to have: both
//! end the whole process when a footer lies. What cannot be followed here is not handed to it.

use moulin_core::{PlannedFile, ReadLimits};

use super::footer::damaged;
use super::thrift::Thrift;
use crate::Error;

/// Levels of Parquet that any stack has room for.
const MOST_LEVELS: u32 = 600;

/// Levels that a footer may have: no list or map is more than three of them, and the whole and the values are some too.
fn most_levels(limits: &ReadLimits) -> u32 {
    limits.depth.saturating_mul(3).saturating_add(4).min(MOST_LEVELS)
}

/// # Errors
/// `BadFile` when the footer is none, or its schema has more levels or children than it can have.
pub(super) fn check(file: &PlannedFile, footer: &[u8], limits: &ReadLimits) -> Result<(), Error> {
    let Some(schema) = children(footer) else { return Err(damaged(file, "its footer is none of a Parquet file")) };
    let most = most_levels(limits);
    let more = schema.len().saturating_sub(1) as u64;
    if let Some(said) = schema.iter().find(|said| **said > more) {
        let reason = format!("its schema has {more} elements in all, and {said} of them are said to be in one");
        return Err(damaged(file, reason));
    }
    if has_more_levels(&schema, most as usize) {
        return Err(damaged(
            file,
            format!("its schema has more than {most} levels, and limits.depth = {}", limits.depth),
        ));
    }
    Ok(())
}

/// Whether the tree of these elements, each with as many children as it says, has more than so many levels.
fn has_more_levels(schema: &[u64], most: usize) -> bool {
    // Children to come on each level.
    let mut open: Vec<u64> = Vec::new();
    for said in schema {
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if open.len() >= most {
            return true;
        }
        if *said > 0 {
            open.push(*said);
        }
    }
    false
}

/// How many children each element of the schema is said to have. `None`: that is no footer.
///
/// The decoder takes a field for what its number says, not its type: one of another type is followed by neither.
fn children(footer: &[u8]) -> Option<Vec<u64>> {
    let mut thrift = Thrift::new(footer);
    let (mut id, mut schema) = (0, None);
    while let Some((field, kind)) = thrift.field(id)? {
        match (field, kind) {
            (2, Thrift::LIST) if schema.is_none() => schema = Some(elements(&mut thrift)?),
            (1, Thrift::I32) | (3, 6) | (4 | 5 | 7, Thrift::LIST) | (6 | 9, 8) | (8, Thrift::STRUCT) => {
                thrift.skip(kind, Thrift::DEPTH)?;
            }
            (10..=0x7fff, _) => thrift.skip(kind, Thrift::DEPTH)?,
            _ => return None,
        }
        id = field;
    }
    schema
}

fn elements(thrift: &mut Thrift<'_>) -> Option<Vec<u64>> {
    let (many, kind) = thrift.list()?;
    if kind != Thrift::STRUCT {
        return None;
    }
    (0..many).map(|_| element(thrift)).collect()
}

fn element(thrift: &mut Thrift<'_>) -> Option<u64> {
    let (mut id, mut children) = (0, 0);
    while let Some((field, kind)) = thrift.field(id)? {
        match (field, kind) {
            (5, Thrift::I32) => children = u64::try_from(thrift.zigzag()?).ok()?,
            (1..=3 | 6..=9, Thrift::I32) | (4, 8) | (10, Thrift::STRUCT) | (11..=0x7fff, _) => {
                thrift.skip(kind, Thrift::DEPTH)?;
            }
            _ => return None,
        }
        id = field;
    }
    Some(children)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_counted_through_all_elements() {
        // The root, a group of two columns, a column, and a group in a group.
        let schema = [3, 2, 0, 0, 0, 1, 1, 0];
        assert!(!has_more_levels(&schema, 4));
        assert!(has_more_levels(&schema, 3));
        // Elements that nobody is said to have, and children that do not come.
        assert!(!has_more_levels(&[1, 0, 0, 0], 2));
        assert!(!has_more_levels(&[3, 0], 2));
        assert!(!has_more_levels(&[], 1));
    }

    #[test]
    fn what_the_decoder_would_read_otherwise_is_no_footer() {
        // Version, and a schema of a group with one child: `[15 02] [19 2c (35 02 18 01 67 15 02 00) (..)]`.
        let group = [0x35, 2, 0x18, 1, b'g', 0x15, 2, 0];
        let leaf = [0x15, 2, 0x25, 2, 0x18, 1, b'x', 0];
        let footer = |group: &[u8]| [&[0x15, 2, 0x19, 0x2c][..], group, &leaf, &[0]].concat();
        assert_eq!(children(&footer(&group)), Some(vec![1, 0]));
        let as_a_flag = [0x35, 2, 0x18, 1, b'g', 0x11, 0];
        let negative = [0x35, 2, 0x18, 1, b'g', 0x15, 1, 0];
        for other in [&as_a_flag[..], &negative, &group[..4]] {
            assert_eq!(children(&footer(other)), None, "{other:x?}");
        }
        let endless = [0x15, 2, 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 7];
        assert_eq!(children(&endless), None);
    }
}
