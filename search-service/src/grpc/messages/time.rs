//! Times.

use crate::SearchError;
use crate::validation::invalid;
use prost_types::Timestamp;

/// Whole milliseconds since the Unix epoch, rounded down. Years 1 to 9999, the range of protobuf's timestamps: beyond
/// it no client could print the reply.
pub(in crate::grpc) fn milliseconds(field: &str, time: Timestamp) -> Result<i64, SearchError> {
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    const NANOS: std::ops::Range<i32> = 0..1_000_000_000;
    if !SECONDS.contains(&time.seconds) || !NANOS.contains(&time.nanos) {
        return Err(invalid(field, "is no time of the years 1 to 9999 with nanos of 0 to 999999999"));
    }
    Ok(time.seconds * 1_000 + i64::from(time.nanos / 1_000_000))
}

pub(in crate::grpc) fn timestamp(ms: i64) -> Timestamp {
    Timestamp { seconds: ms.div_euclid(1_000), nanos: (ms.rem_euclid(1_000) * 1_000_000) as i32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn times_survive_the_way_there_and_back(ms in -62_135_596_800_000..253_402_300_800_000_i64) {
            prop_assert_eq!(milliseconds("time", timestamp(ms)).unwrap(), ms);
        }

        #[test]
        fn any_time_is_accepted_or_refused(seconds: i64, nanos: i32) {
            let _ = milliseconds("time", Timestamp { seconds, nanos });
        }
    }
}
