//! `google.protobuf.Duration` and `Timestamp` to std and back. Values out of range are clamped.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) fn duration(value: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(value.subsec_nanos()).unwrap_or(0),
    }
}

pub(crate) fn from_duration(value: prost_types::Duration) -> Duration {
    Duration::new(u64::try_from(value.seconds).unwrap_or(0), u32::try_from(value.nanos).unwrap_or(0))
}

pub(crate) fn timestamp(value: SystemTime) -> prost_types::Timestamp {
    let since = value.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = duration(since);
    prost_types::Timestamp { seconds: since.seconds, nanos: since.nanos }
}

pub(crate) fn from_timestamp(value: prost_types::Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::new(u64::try_from(value.seconds).unwrap_or(0), u32::try_from(value.nanos).unwrap_or(0))
}
