//! Points of time: between messages and milliseconds.

use prost_types::Timestamp;

/// A time given in milliseconds since 1970-01-01T00:00:00Z.
pub fn timestamp(time_ms: i64) -> Timestamp {
    let nanos = time_ms.rem_euclid(1000) * 1_000_000;
    Timestamp { seconds: time_ms.div_euclid(1000), nanos: i32::try_from(nanos).unwrap_or_default() }
}

/// Milliseconds since 1970-01-01T00:00:00Z.
pub fn unix_ms(time: &Timestamp) -> i64 {
    time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos / 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_milliseconds() {
        for time_ms in [0, 1_777_638_600_250, -1, -1500] {
            assert_eq!(unix_ms(&timestamp(time_ms)), time_ms);
        }
    }
}
