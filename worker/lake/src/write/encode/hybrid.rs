//! Parquet's RLE / bit-packing hybrid.
//!
//! Source: the Parquet format, "Run Length Encoding / Bit-Packing Hybrid (RLE = 3)".

/// A run shorter than this is cheaper packed.
const SHORTEST_RUN: usize = 8;

/// Appends values of `width` bits (1 to 32) without a length.
pub(super) fn encode(values: &[u32], width: u32, out: &mut Vec<u8>) {
    let mut packed_from = 0;
    let mut at = 0;
    while at + SHORTEST_RUN <= values.len() {
        // Groups of packed values have eight members: a run can only begin where a group ends.
        let first = values[at];
        if values[at..at + SHORTEST_RUN].iter().any(|v| *v != first) {
            at += SHORTEST_RUN;
            continue;
        }
        let length = values[at..].iter().take_while(|v| **v == first).count();
        pack(&values[packed_from..at], width, out);
        run(first, length, width, out);
        at += length;
        packed_from = at;
    }
    pack(&values[packed_from..], width, out);
}

/// Appends bits, given as bytes with the first bit lowest; all of them set when `bits` is `None`.
pub(super) fn encode_bits(bits: Option<&[u8]>, length: usize, out: &mut Vec<u8>) {
    match bits {
        None => run(1, length, 1, out),
        Some(bits) => {
            let groups = length.div_ceil(8);
            varint(groups << 1 | 1, out);
            out.extend_from_slice(&bits[..groups]);
        }
    }
}

fn run(value: u32, length: usize, width: u32, out: &mut Vec<u8>) {
    varint(length << 1, out);
    let bytes = width.div_ceil(8) as usize;
    out.extend_from_slice(&value.to_le_bytes()[..bytes]);
}

fn pack(values: &[u32], width: u32, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(8);
    varint(groups << 1 | 1, out);
    out.reserve(groups * width as usize + 8);
    let end = out.len() + groups * width as usize;
    let (mut bits, mut filled) = (0u64, 0u32);
    for value in values {
        bits |= u64::from(*value) << filled;
        filled += width;
        if filled >= 32 {
            out.extend_from_slice(&(bits as u32).to_le_bytes());
            bits >>= 32;
            filled -= 32;
        }
    }
    out.extend_from_slice(&bits.to_le_bytes());
    // The last group is filled up with zeros; what was written too much goes.
    out.resize(end, 0);
}

fn varint(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bits that hold every index of a dictionary with so many entries; never 0, which some readers refuse.
pub(super) fn index_width(entries: usize) -> u32 {
    let last = entries.saturating_sub(1);
    (usize::BITS - last.leading_zeros()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The plain reading of the format, value by value.
    fn decode(bytes: &[u8], width: u32, length: usize) -> Vec<u32> {
        let (mut at, mut out) = (0, Vec::new());
        while out.len() < length {
            let (mut header, mut shift) = (0usize, 0);
            loop {
                let byte = bytes[at];
                at += 1;
                header |= ((byte & 0x7f) as usize) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            if header & 1 == 0 {
                let size = width.div_ceil(8) as usize;
                let mut value = [0; 4];
                value[..size].copy_from_slice(&bytes[at..at + size]);
                at += size;
                out.extend(std::iter::repeat_n(u32::from_le_bytes(value), header >> 1));
            } else {
                for n in 0..(header >> 1) * 8 {
                    let bit = |b: u32| {
                        u32::from(bytes[at + (n * width as usize + b as usize) / 8] >> ((n as u32 * width + b) % 8) & 1)
                    };
                    out.push((0..width).map(|b| bit(b) << b).sum());
                }
                at += (header >> 1) * width as usize;
            }
        }
        assert_eq!(at, bytes.len(), "bytes are left over");
        out.truncate(length);
        out
    }

    proptest::proptest! {
        #[test]
        fn what_is_encoded_comes_back(
            width in 1u32..=32,
            runs in proptest::collection::vec((0u32..=u32::MAX, 1usize..40), 0..40),
        ) {
            let values: Vec<u32> = runs
                .iter()
                .flat_map(|(value, length)| std::iter::repeat_n(value >> (32 - width), if length % 3 == 0 { *length } else { 1 }))
                .collect();
            let mut out = Vec::new();
            encode(&values, width, &mut out);
            proptest::prop_assert_eq!(decode(&out, width, values.len()), values);
        }
    }

    #[test]
    fn a_long_run_takes_a_few_bytes() {
        let mut out = Vec::new();
        encode(&vec![5; 1_000_000], 3, &mut out);
        assert_eq!(out.len(), 4);
        assert_eq!(
            (index_width(1), index_width(2), index_width(3), index_width(256), index_width(257)),
            (1, 1, 2, 8, 9)
        );
    }
}
