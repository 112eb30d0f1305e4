//! The last line end that is not between quotes, in one pass over a text of well formed fields.

use super::dialect::Marks;
use super::index::{Masks, masks, prefix_xor};

/// Some quote opens no field and closes none, so that quotes cannot be taken in pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stray;

/// One past the last line end outside of quotes, of a text that starts with a record; `None`: there is none.
///
/// # Errors
/// When a quote is a stray one.
pub(super) fn last_line_end(text: &[u8], marks: Marks, quote: u8) -> Result<Option<usize>, Stray> {
    #[cfg(target_arch = "x86_64")]
    if let Some(found) = wide::last_line_end(text, marks, quote) {
        return found;
    }
    last_line_end_portable(text, marks, quote)
}

fn last_line_end_portable(text: &[u8], marks: Marks, quote: u8) -> Result<Option<usize>, Stray> {
    last_line_end_with(text, |word| masks::<true>(word, marks.delimiter, marks.eol, quote), prefix_xor)
}

/// The same pass for processors that compare 32 bytes at once.
#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::{_mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi8, _mm256_set1_epi8};

    use super::super::index::{Masks, equal, halves};
    use super::{Marks, Stray, last_line_end_with};

    /// `None` when the processor lacks the instructions.
    pub(super) fn last_line_end(text: &[u8], marks: Marks, quote: u8) -> Option<Result<Option<usize>, Stray>> {
        if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("pclmulqdq")) {
            return None;
        }
        #[allow(unsafe_code, reason = "the function is safe but for the instructions that it is compiled to")]
        // SAFETY: the processor has just been asked whether it has them.
        Some(unsafe { last_line_end_wide(text, marks, quote) })
    }

    #[target_feature(enable = "avx2,pclmulqdq")]
    fn last_line_end_wide(text: &[u8], marks: Marks, quote: u8) -> Result<Option<usize>, Stray> {
        let all = |byte: u8| _mm256_set1_epi8(byte as i8);
        let (delimiter, eol, quote) = (all(marks.delimiter), all(marks.eol), all(quote));
        let masks = |word: &[u8; 64]| {
            let halves = halves(word);
            Masks { delimiter: equal(halves, delimiter), eol: equal(halves, eol), quote: equal(halves, quote) }
        };
        // The product with all ones, without carries, is the exclusive or of all bits up to each.
        let prefix_xor = |bits: u64| {
            let product = _mm_clmulepi64_si128(_mm_set_epi64x(0, bits as i64), _mm_set1_epi8(-1), 0);
            _mm_cvtsi128_si64(product) as u64
        };
        last_line_end_with(text, masks, prefix_xor)
    }
}

#[inline(always)]
fn last_line_end_with(
    text: &[u8],
    masks: impl Fn(&[u8; 64]) -> Masks,
    prefix_xor: impl Fn(u64) -> u64,
) -> Result<Option<usize>, Stray> {
    // A quote that opens a field stands at the start of the text, or after one of these; after a quote it is a doubled one.
    let mut may_open = 1;
    let (mut inside, mut stray, mut last) = (0, 0, (0, 0));
    let mut pass = |at: usize, masks: Masks| {
        let between = prefix_xor(masks.quote) ^ inside;
        let borders = masks.delimiter | masks.eol | masks.quote;
        stray |= masks.quote & between & !(borders << 1 | may_open);
        let ends = masks.eol & !between;
        if ends != 0 {
            last = (at, ends);
        }
        may_open = borders >> 63;
        inside = ((between as i64) >> 63) as u64;
    };
    let (words, rest) = text.as_chunks::<64>();
    for (number, word) in words.iter().enumerate() {
        pass(64 * number, masks(word));
    }
    if !rest.is_empty() {
        let mut word = [0; 64];
        word[..rest.len()].copy_from_slice(rest);
        let (found, valid) = (masks(&word), (1_u64 << rest.len()) - 1);
        let found = Masks { delimiter: found.delimiter & valid, eol: found.eol & valid, quote: found.quote & valid };
        pass(64 * words.len(), found);
    }
    let (at, ends) = last;
    if stray != 0 {
        return Err(Stray);
    }
    Ok((ends != 0).then(|| at + 64 - ends.leading_zeros() as usize))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::cut::last_line_end_by_gaps;
    use super::*;

    const MARKS: Marks = Marks { delimiter: b',', eol: b'\n', quote: Some(b'"'), trim_cr: true };

    fn by_gaps(text: &[u8]) -> Option<usize> {
        let first = memchr::memchr(b'"', text).unwrap_or(text.len());
        if first == text.len() {
            return memchr::memrchr(b'\n', text).map(|at| at + 1);
        }
        last_line_end_by_gaps(text, first, MARKS, b'"')
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_going_from_quote_to_quote_finds(text in "([a-z]{0,40}[,\n\"]{1,3}){0,60}") {
            let text = text.as_bytes();
            let found = last_line_end(text, MARKS, b'"');
            prop_assert_eq!(found, last_line_end_portable(text, MARKS, b'"'));
            if let Ok(found) = found {
                prop_assert_eq!(found, by_gaps(text));
            }
        }

        #[test]
        fn well_formed_fields_are_always_understood(text in "(([a-z]{0,20}|\"([a-z,\n]|\"\"){0,60}\")[,\n]){0,60}(\"[a-z,\n]{0,9})?") {
            let text = text.as_bytes();
            prop_assert_eq!(last_line_end(text, MARKS, b'"'), Ok(by_gaps(text)));
        }
    }

    #[test]
    fn a_quote_in_the_middle_of_a_field_is_seen() {
        for at in [1, 62, 63, 64, 65, 127, 128] {
            let text = ["x".repeat(at).as_str(), "\",\n"].concat();
            assert_eq!(last_line_end(text.as_bytes(), MARKS, b'"'), Err(Stray), "{at}");
            assert_eq!(last_line_end_portable(text.as_bytes(), MARKS, b'"'), Err(Stray), "{at}");
        }
    }
}
