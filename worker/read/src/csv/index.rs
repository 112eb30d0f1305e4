//! Where fields end: all delimiters and line ends of a window in one pass.

use super::dialect::Marks;

/// What a pass found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Whole rows with the right number of fields. The ends of their fields are in the index.
    pub(super) rows: usize,
    /// Quotes in those rows.
    pub(super) quotes: usize,
    /// Whether the row after them does not have as many fields as it must.
    pub(super) irregular: bool,
}

/// One bit a byte of a word of 64 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Masks {
    pub(super) delimiter: u64,
    pub(super) eol: u64,
    pub(super) quote: u64,
}

/// A stretch of text whose first byte starts a record.
#[derive(Clone, Copy)]
pub(super) struct Stretch<'a> {
    pub(super) text: &'a [u8],
    pub(super) start: usize,
    pub(super) end: usize,
    /// Fields of a row.
    pub(super) columns: usize,
    /// Whether there may be quotes.
    pub(super) quotes: bool,
}

/// Finds the ends of the fields of a stretch and counts its whole rows. `ends[0]` is set to the byte before the
/// first field; `ends[1 + n]` to the end of field n. `ends` must have room for one entry a byte, and 64.
///
/// Quotes are taken in pairs. That is right only when every quoted field is well formed and no other field has a
/// quote; the caller proves it with the number of quotes.
pub(super) fn index(marks: Marks, stretch: Stretch<'_>, ends: &mut [u32]) -> Found {
    #[cfg(target_arch = "x86_64")]
    if let Some(found) = wide::index(marks, stretch, ends) {
        return found;
    }
    index_portable(marks, stretch, ends)
}

fn index_portable(marks: Marks, stretch: Stretch<'_>, ends: &mut [u32]) -> Found {
    match marks.quote {
        Some(quote) if stretch.quotes => {
            index_with::<true>(|word| masks::<true>(word, marks.delimiter, marks.eol, quote), stretch, ends)
        }
        _ => index_with::<false>(|word| masks::<false>(word, marks.delimiter, marks.eol, 0), stretch, ends),
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use wide::{equal, halves};

/// The same pass for processors that compare 32 bytes at once and count bits in one instruction.
#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::{__m256i, _mm256_cmpeq_epi8, _mm256_movemask_epi8, _mm256_set_epi64x, _mm256_set1_epi8};

    use super::{Found, Marks, Masks, Stretch, index_with};

    /// `None` when the processor lacks the instructions.
    pub(super) fn index(marks: Marks, stretch: Stretch<'_>, ends: &mut [u32]) -> Option<Found> {
        if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") && is_x86_feature_detected!("bmi1"))
        {
            return None;
        }
        #[allow(unsafe_code, reason = "the function is safe but for the instructions that it is compiled to")]
        // SAFETY: the processor has just been asked whether it has them.
        Some(unsafe { index_wide(marks, stretch, ends) })
    }

    #[target_feature(enable = "avx2,popcnt,bmi1")]
    fn index_wide(marks: Marks, stretch: Stretch<'_>, ends: &mut [u32]) -> Found {
        let all = |byte: u8| _mm256_set1_epi8(byte as i8);
        let (delimiter, eol, quote) = (all(marks.delimiter), all(marks.eol), all(marks.quote.unwrap_or(0)));
        if stretch.quotes && marks.quote.is_some() {
            let masks = |word: &[u8; 64]| {
                let halves = halves(word);
                Masks { delimiter: equal(halves, delimiter), eol: equal(halves, eol), quote: equal(halves, quote) }
            };
            return index_with::<true>(masks, stretch, ends);
        }
        let masks = |word: &[u8; 64]| {
            let halves = halves(word);
            Masks { delimiter: equal(halves, delimiter), eol: equal(halves, eol), quote: 0 }
        };
        index_with::<false>(masks, stretch, ends)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in super::super) fn halves(word: &[u8; 64]) -> (__m256i, __m256i) {
        let (quarters, _) = word.as_chunks::<8>();
        let part = |at: usize| i64::from_le_bytes(quarters[at]);
        let half = |at: usize| _mm256_set_epi64x(part(at + 3), part(at + 2), part(at + 1), part(at));
        (half(0), half(4))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in super::super) fn equal((low, high): (__m256i, __m256i), needle: __m256i) -> u64 {
        let mask = |bytes| u64::from(_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, needle)) as u32);
        mask(low) | mask(high) << 32
    }
}

#[inline(always)]
fn index_with<const QUOTES: bool>(masks: impl Fn(&[u8; 64]) -> Masks, stretch: Stretch<'_>, ends: &mut [u32]) -> Found {
    let Stretch { text, start, end, columns, .. } = stretch;
    ends[0] = (start - 1) as u32;
    let ends = &mut ends[1..];
    let mut found = Found { rows: 0, quotes: 0, irregular: false };
    let (mut fields, mut inside, mut quotes_seen) = (0_usize, 0_u64, 0_usize);
    let mut at = start;
    while at < end {
        let Some(word) = text[at..].first_chunk::<64>() else { break };
        let mut masks = masks(word);
        if end - at < 64 {
            let valid = (1_u64 << (end - at)) - 1;
            masks = Masks { delimiter: masks.delimiter & valid, eol: masks.eol & valid, quote: masks.quote & valid };
        }
        if QUOTES {
            let between = prefix_xor(masks.quote) ^ inside;
            inside = ((between as i64) >> 63) as u64;
            masks.delimiter &= !between;
            masks.eol &= !between;
        }
        let separators = masks.delimiter | masks.eol;
        let mut eols = masks.eol;
        while eols != 0 {
            let below = eols ^ (eols - 1);
            let count = fields + (separators & below).count_ones() as usize;
            if count != (found.rows + 1) * columns {
                found.irregular = true;
                write_ends(ends, fields, separators, at);
                return found;
            }
            found.rows += 1;
            if QUOTES {
                found.quotes = quotes_seen + (masks.quote & below).count_ones() as usize;
            }
            eols &= eols - 1;
        }
        fields += write_ends(ends, fields, separators, at);
        if QUOTES {
            quotes_seen += masks.quote.count_ones() as usize;
        }
        at += 64;
    }
    found
}

/// Writes the places of the bits; says how many. Bits are written eight at a time: to write a few too many is
/// cheaper than to branch on each.
#[inline(always)]
fn write_ends(ends: &mut [u32], fields: usize, mut bits: u64, at: usize) -> usize {
    let count = bits.count_ones() as usize;
    let at = at as u32;
    let mut written = 0;
    while written < count {
        let Some(places) = ends.get_mut(fields + written..).and_then(|rest| rest.first_chunk_mut::<8>()) else { break };
        for place in places {
            *place = at.wrapping_add(bits.trailing_zeros());
            bits &= bits.wrapping_sub(1);
        }
        written += 8;
    }
    count
}

/// Bit n: whether the number of bits up to and with n is odd.
#[inline(always)]
pub(super) fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// Eight bytes at a time in an ordinary register.
#[inline(always)]
pub(super) fn masks<const QUOTES: bool>(word: &[u8; 64], delimiter: u8, eol: u8, quote: u8) -> Masks {
    let mut masks = Masks { delimiter: 0, eol: 0, quote: 0 };
    let (parts, _) = word.as_chunks::<8>();
    for (part, bytes) in parts.iter().enumerate() {
        let bytes = u64::from_le_bytes(*bytes);
        let mask = |needle: u8| u64::from(equal_bytes(bytes, needle)) << (8 * part);
        masks.delimiter |= mask(delimiter);
        masks.eol |= mask(eol);
        if QUOTES {
            masks.quote |= mask(quote);
        }
    }
    masks
}

/// Bit n: whether byte n equals the needle.
#[inline(always)]
fn equal_bytes(bytes: u64, needle: u8) -> u8 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let differ = bytes ^ (u64::from(needle) * 0x0101_0101_0101_0101);
    // The high bit of each byte that is zero, exactly: no carry leaves a byte.
    let zero = !(((differ & LOW) + LOW) | differ | LOW);
    ((zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn masks_equal_the_plain_definition(word in proptest::collection::vec(prop_oneof![Just(b','), Just(b'\n'), Just(b'"'), any::<u8>()], 64)) {
            let word: &[u8; 64] = word.as_slice().try_into().unwrap();
            let plain = |needle: u8| (0..64).fold(0_u64, |bits, at| bits | u64::from(word[at] == needle) << at);
            let masks = masks::<true>(word, b',', b'\n', b'"');
            prop_assert_eq!((masks.delimiter, masks.eol, masks.quote), (plain(b','), plain(b'\n'), plain(b'"')));
        }

        #[test]
        fn the_wide_pass_finds_what_the_portable_one_finds(text in "([a-z]{0,9}[,\n\"]){1,200}", columns in 1_usize..4, quotes in any::<bool>()) {
            let marks = Marks { delimiter: b',', eol: b'\n', quote: Some(b'"'), trim_cr: true };
            let padded = [vec![b'\n'; 32], text.clone().into_bytes(), vec![b','; 64]].concat();
            let stretch = Stretch { text: &padded, start: 32, end: 32 + text.len(), columns, quotes };
            let (mut ends, mut portable_ends) = (vec![0; text.len() + 128], vec![0; text.len() + 128]);
            let found = index(marks, stretch, &mut ends);
            prop_assert_eq!(found, index_portable(marks, stretch, &mut portable_ends));
            let used = found.rows * columns + 1;
            prop_assert_eq!(&ends[..used], &portable_ends[..used]);
        }
    }
}
