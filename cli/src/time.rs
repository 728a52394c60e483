//! Points and spans of time as people write them.

use anyhow::Context as _;
use descry_client::timestamp;
use prost_types::Timestamp;

/// A span without an end.
const FOREVER: &str = "forever";

/// What a span may end with, and its milliseconds; the longest first.
const UNITS: [(&str, u64); 4] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

/// RFC 3339, such as `2026-05-01T12:30:00Z`.
pub(crate) fn parse_time(text: &str) -> anyhow::Result<Timestamp> {
    Ok(timestamp(descry_intake::parse_time_ms(text)?))
}

/// Milliseconds of a span such as `30d`, `12h`, `90m` or `45s`; 0 for `forever`.
pub(crate) fn parse_span_ms(text: &str) -> anyhow::Result<u64> {
    let text = text.trim();
    if text == FOREVER {
        return Ok(0);
    }
    let expected = || format!("{text:?} is not a span of time such as 30d, 12h, 90m, 45s or {FOREVER}");
    let split = UNITS.iter().find_map(|(unit, unit_ms)| Some((text.strip_suffix(unit)?, *unit_ms)));
    let (number, unit_ms) = split.with_context(expected)?;
    let number = number.parse::<u64>().ok().filter(|number| *number > 0).with_context(expected)?;
    number.checked_mul(unit_ms).with_context(expected)
}

/// The span in the largest unit that divides it.
pub(crate) fn format_span(span_ms: u64) -> String {
    if span_ms == 0 {
        return FOREVER.to_owned();
    }
    match UNITS.iter().find(|(_, unit_ms)| span_ms.is_multiple_of(*unit_ms)) {
        Some((unit, unit_ms)) => format!("{}{unit}", span_ms / unit_ms),
        None => format!("{span_ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        for (text, span_ms) in
            [("30d", 2_592_000_000), ("12h", 43_200_000), ("90m", 5_400_000), ("45s", 45_000), ("forever", 0)]
        {
            assert_eq!(parse_span_ms(text).unwrap(), span_ms);
            assert_eq!(format_span(span_ms), text);
        }
        assert_eq!(format_span(1500), "1500 ms");
        for wrong in ["", "30", "d", "-1d", "0d", "1.5h", "30 days", "99999999999999999999d", "999999999999999999d"] {
            assert!(parse_span_ms(wrong).unwrap_err().to_string().contains("30d"), "{wrong}");
        }
    }

    #[test]
    fn times_are_read() {
        assert_eq!(parse_time("2026-05-01T12:30:00Z").unwrap().seconds, 1_777_638_600);
        assert!(parse_time("yesterday").is_err());
    }
}
