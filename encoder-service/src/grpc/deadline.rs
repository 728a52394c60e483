//! The caller's deadline, as it comes with a request.

use std::time::{Duration, Instant};
use tonic::metadata::MetadataMap;

/// The moment after which the caller does not want an answer, from `grpc-timeout`. What is malformed is no deadline, as
/// for the transport.
pub(super) fn deadline(metadata: &MetadataMap) -> Option<Instant> {
    let timeout = parse_timeout(metadata.get("grpc-timeout")?.to_str().ok()?)?;
    Instant::now().checked_add(timeout)
}

/// One to eight digits and a unit, as gRPC's HTTP/2 mapping says.
fn parse_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3_600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_in_every_unit() {
        let seconds = |value| parse_timeout(value).map(|timeout| timeout.as_secs_f64());
        assert_eq!(seconds("2H"), Some(7_200.0));
        assert_eq!(seconds("3M"), Some(180.0));
        assert_eq!(seconds("10S"), Some(10.0));
        assert_eq!(seconds("250m"), Some(0.25));
        assert_eq!(seconds("1500u"), Some(0.0015));
        assert_eq!(seconds("99999999n"), Some(0.099_999_999));
        assert_eq!(seconds("99999999H"), Some(99_999_999.0 * 3_600.0));
    }

    #[test]
    fn anything_else_is_no_deadline() {
        for value in ["", "S", "5", "-5S", "+5S", "123456789S", "5s", "5 S", "5é", "é"] {
            assert_eq!(parse_timeout(value), None, "{value}");
        }
    }

    #[test]
    fn a_deadline_is_counted_from_now() {
        let mut metadata = MetadataMap::new();
        assert_eq!(deadline(&metadata), None);
        metadata.insert("grpc-timeout", "99999999H".parse().unwrap());
        // Far away or not representable, but no panic and not in the past.
        assert!(deadline(&metadata).is_none_or(|deadline| deadline > Instant::now()));
        metadata.insert("grpc-timeout", "0n".parse().unwrap());
        assert!(deadline(&metadata).unwrap() <= Instant::now());
    }
}
