use proptest::prelude::*;

use crate::values::{
    WideDecimal, boolean, date, decimal, double, float, hex, int, long, time, timestamp, timestamptz, wide_date,
    wide_moment, wide_uint,
};

/// A text in the middle of others, as in a block.
fn in_block(text: &str) -> (Vec<u8>, usize, usize) {
    let block = format!("{}{text}{}", "12345678".repeat(4), "987654321,".repeat(7));
    (block.into_bytes(), 32, 32 + text.len())
}

proptest! {
    #[test]
    fn wide_parsers_agree_with_plain_ones(text in "[0-9]{1,9}|[0-9]{0,8}\\.[0-9]{0,5}|[-+.:/0-9]{1,10}", scale in 0_u8..8) {
        let (block, start, end) = in_block(&text);
        if let Some(value) = wide_uint(&block, start, end) {
            prop_assert_eq!(long(text.as_bytes()), Some(value as i64));
        }
        if let Some(value) = WideDecimal::new(scale, b'.').parse(&block, start, end) {
            prop_assert_eq!(decimal(text.as_bytes(), 38, scale), Some(i128::from(value)));
        }
    }

    #[test]
    fn usual_shapes_take_the_wide_way(whole in 0_u32..1_000_000, cents in 0_u32..100) {
        let (block, start, end) = in_block(&format!("{whole}.{cents:02}"));
        prop_assert_eq!(WideDecimal::new(2, b'.').parse(&block, start, end), Some(u64::from(whole * 100 + cents)));
        let (block, start, end) = in_block(&whole.to_string());
        prop_assert_eq!(wide_uint(&block, start, end), Some(u64::from(whole)));
        prop_assert_eq!(WideDecimal::new(2, b'.').parse(&block, start, end), Some(u64::from(whole * 100)));
    }

    #[test]
    fn moments_are_what_chrono_says(seconds in -62_135_596_800_i64..253_402_300_800, micros in 0_u32..1_000_000) {
        let moment = chrono::DateTime::from_timestamp(seconds, micros * 1000).unwrap();
        let text = moment.format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
        prop_assert_eq!(timestamp(text.as_bytes()), Some(moment.timestamp_micros()));
        let day = moment.format("%Y-%m-%d").to_string();
        prop_assert_eq!(date(day.as_bytes()).map(i64::from), Some(seconds.div_euclid(86_400)));
        let (block, start, _) = in_block(&day);
        prop_assert_eq!(wide_date(&block, start), date(day.as_bytes()));
        let zoned = moment.format("%Y-%m-%d %H:%M:%SZ").to_string();
        let (block, start, end) = in_block(&zoned);
        prop_assert_eq!(wide_moment(&block, start, end, true), Some(seconds * 1_000_000));
        prop_assert_eq!(timestamptz(zoned.as_bytes()), Some(seconds * 1_000_000));
    }

    #[test]
    fn a_changed_date_is_refused_by_both_or_none(at in 0_usize..10, byte in any::<u8>()) {
        let mut text = b"2024-02-29".to_vec();
        text[at] = byte;
        let mut block = vec![b'0'; 32];
        block.extend_from_slice(&text);
        block.extend_from_slice(&[b','; 64]);
        prop_assert_eq!(wide_date(&block, 32), date(&text));
    }
}

#[test]
fn integers_are_exact_or_refused() {
    assert_eq!(long(b"-9223372036854775808"), Some(i64::MIN));
    assert_eq!(long(b"9223372036854775807"), Some(i64::MAX));
    assert_eq!(long(b"9223372036854775808"), None);
    assert_eq!(int(b"2147483648"), None);
    assert_eq!(int(b"+007"), Some(7));
    for text in ["", "-", "+", "1.0", " 1", "1 ", "0x1", "1e3", "--1"] {
        assert_eq!(long(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn decimals_are_exact_or_refused() {
    let table = [
        ("12.34", Some(1234)),
        ("12.3", Some(1230)),
        ("12", Some(1200)),
        ("-0.01", Some(-1)),
        (".5", Some(50)),
        ("5.", Some(500)),
        ("1.230000000000000000000000000000000000000000000000", Some(123)),
        ("1.5e2", Some(15000)),
        ("150e-1", Some(1500)),
        ("1.234", None),
        ("99999.99", Some(9_999_999)),
        ("100000.00", None),
        ("", None),
        (".", None),
        ("1,5", None),
        ("1e", None),
        ("1e9223372036854775807", None),
        ("0e9", Some(0)),
    ];
    for (text, expected) in table {
        assert_eq!(decimal(text.as_bytes(), 7, 2), expected, "{text}");
    }
}

#[test]
fn zones_are_kept_or_refused() {
    let noon = timestamp(b"2024-01-01 12:00:00").unwrap();
    assert_eq!(timestamptz(b"2024-01-01T14:00:00+02:00"), Some(noon));
    assert_eq!(timestamptz(b"2024-01-01T09:30:00-0230"), Some(noon));
    assert_eq!(timestamptz(b"2024-01-01 12:00:00"), Some(noon));
    assert_eq!(timestamptz(b"2024-01-01 12:00:00 UTC"), Some(noon));
    assert_eq!(timestamp(b"2024-01-01T12:00:00Z"), None);
    assert_eq!(timestamp(b"2024-01-01T12:00"), Some(noon));
    assert_eq!(timestamp(b"2024-01-01"), Some(noon - 43_200_000_000));
    for text in [
        "2024-01-01T24:00:00",
        "2024-01-01T12:60:00",
        "2024-13-01 00:00:00",
        "2024-01-01x12:00:00",
        "2024-01-01T12:00:00.1234567",
        "2024-01-01T",
        "2024-01-01T12:00:00+25:00",
    ] {
        assert_eq!(timestamptz(text.as_bytes()), None, "{text}");
    }
    assert_eq!(timestamp(b"2024-01-01T12:00:00.123456000"), Some(noon + 123_456));
    assert_eq!(time(b"23:59:59.5"), Some(86_399_500_000));
}

#[test]
fn words_of_truth_and_hexadecimal_digits() {
    assert_eq!(boolean(b"TRUE"), Some(true));
    assert_eq!(boolean(b"n"), Some(false));
    assert_eq!(boolean(b"maybe"), None);
    assert_eq!(hex(b"00fF"), Some(vec![0, 255]));
    assert_eq!(hex(b"0g"), None);
    assert_eq!(hex(b"000"), None);
}

#[test]
fn a_number_beyond_the_range_of_its_type_is_no_infinity() {
    assert_eq!(double(b"1e308"), Some(1e308));
    assert_eq!(double(b"-inf"), Some(f64::NEG_INFINITY));
    assert_eq!([double(b"1e999"), double(b"-1e309")], [None, None]);
    assert_eq!([float(b"1e39"), float(b"inf")], [None, Some(f32::INFINITY)]);
}
