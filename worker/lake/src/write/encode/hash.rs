//! What the hash tables of dictionaries have in common.

/// Slots looked at for one value; more of them means that somebody made the values collide.
pub(super) const LONGEST_PROBE: usize = 256;

/// A word, mixed. Both halves of the product count, so that words that are multiples of each other become words that are not.
#[inline]
pub(super) fn fold(word: u64) -> u64 {
    let product = u128::from(word ^ 0xA076_1D64_78BD_642F) * 0xE703_7ED1_A0B4_28DB;
    (product as u64) ^ (product >> 64) as u64
}
