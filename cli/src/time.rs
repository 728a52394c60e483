//! Points and spans of time as people write and read them.

use anyhow::Context as _;
use chrono::{DateTime, FixedOffset, Local, NaiveDate, NaiveDateTime, Utc};
use descry_client::timestamp;
use prost_types::Timestamp;
use std::str::FromStr;
use std::sync::OnceLock;

/// The zone in which people read times, chosen once when the program begins. JSON is always in UTC.
static ZONE: OnceLock<Zone> = OnceLock::new();

/// A time zone. Names such as Europe/Berlin would need the zones' whole data base; the system's zone is `local`, which
/// the variable `TZ` chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    Utc,
    Local,
    Offset(FixedOffset),
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_lowercase().as_str() {
            "utc" | "z" => Ok(Self::Utc),
            "local" => Ok(Self::Local),
            text => text.parse().map(Self::Offset).map_err(|_| {
                "expected `utc`, `local` or an offset such as +02:00; `TZ=Europe/Berlin descry … --time-zone local` takes \
                 any zone that the system knows"
                    .to_owned()
            }),
        }
    }
}

impl Zone {
    /// From now on times are read in this zone.
    pub(crate) fn choose(self) {
        // The first choice stays: there is one a program.
        let _ = ZONE.set(self);
    }

    fn chosen() -> Self {
        ZONE.get().copied().unwrap_or(Self::Utc)
    }

    /// For a person, in a column: without the zone, which the column's title names, and without what is 0.
    fn short(self, time: &Timestamp) -> Option<String> {
        let time = DateTime::<Utc>::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?)?;
        let format = "%Y-%m-%d %H:%M:%S";
        Some(match self {
            Self::Utc => time.format(format).to_string(),
            Self::Local => time.with_timezone(&Local).format(format).to_string(),
            Self::Offset(offset) => time.with_timezone(&offset).format(format).to_string(),
        })
    }

    /// For a person, alone in a sentence: RFC 3339.
    fn full(self, time: &Timestamp) -> Option<String> {
        let utc = DateTime::<Utc>::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?)?;
        match self {
            Self::Utc => Some(time.to_string()),
            Self::Local => Some(utc.with_timezone(&Local).to_rfc3339()),
            Self::Offset(offset) => Some(utc.with_timezone(&offset).to_rfc3339()),
        }
    }

    /// The moment of a time without a zone of its own.
    fn moment(self, time: NaiveDateTime) -> Option<DateTime<Utc>> {
        match self {
            Self::Utc => Some(time.and_utc()),
            // In the hour that comes twice, the first one; one that is left out is no time.
            Self::Local => time.and_local_timezone(Local).earliest().map(|time| time.to_utc()),
            Self::Offset(offset) => time.and_local_timezone(offset).single().map(|time| time.to_utc()),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Utc => "UTC".to_owned(),
            Self::Local => "local".to_owned(),
            Self::Offset(offset) => offset.to_string(),
        }
    }
}

/// A time for a column of a table, in the zone that was chosen; empty for none.
pub(crate) fn column_time(time: Option<Timestamp>) -> String {
    time.map(|time| Zone::chosen().short(&time).unwrap_or_else(|| time.to_string())).unwrap_or_default()
}

/// The title of a column of times.
pub(crate) fn column_title(what: &str) -> String {
    format!("{what} ({})", Zone::chosen().name())
}

/// A time for a sentence, in the zone that was chosen; empty for none.
pub(crate) fn time_text(time: Option<Timestamp>) -> String {
    time.map(|time| Zone::chosen().full(&time).unwrap_or_else(|| time.to_string())).unwrap_or_default()
}

/// A time as it was given: what has no zone of its own is of the zone that is chosen, in whatever order options stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivenTime {
    Moment(Timestamp),
    WithoutZone(NaiveDateTime),
}

impl GivenTime {
    /// The moment, with the zone that was chosen.
    pub(crate) fn moment(self) -> anyhow::Result<Timestamp> {
        match self {
            Self::Moment(time) => Ok(time),
            Self::WithoutZone(time) => {
                let moment = Zone::chosen().moment(time).with_context(|| {
                    format!("{time} does not exist in the local time zone: clocks are set forward then")
                })?;
                Ok(timestamp(moment.timestamp_millis()))
            }
        }
    }
}

/// A span without an end.
const FOREVER: &str = "forever";

/// What a span may end with, and its milliseconds; the longest first.
const UNITS: [(&str, u64); 4] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

/// RFC 3339, such as `2026-05-01T12:30:00Z`; without a zone also shorter, such as `2026-05-01` or `2026-05-01T12:30`.
pub(crate) fn parse_time(text: &str) -> anyhow::Result<GivenTime> {
    let text = text.trim();
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Ok(GivenTime::WithoutZone(time));
        }
    }
    if let Some(midnight) = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|day| day.and_hms_opt(0, 0, 0)) {
        return Ok(GivenTime::WithoutZone(midnight));
    }
    Ok(GivenTime::Moment(timestamp(descry_intake::parse_time_ms(text)?)))
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
        let moment = |text: &str| parse_time(text).unwrap().moment().unwrap().seconds;
        assert_eq!(moment("2026-05-01T12:30:00Z"), 1_777_638_600);
        assert_eq!(moment("2026-05-01T14:30:00+02:00"), 1_777_638_600);
        // Nothing chosen: UTC.
        for text in ["2026-05-01T12:30:00", "2026-05-01 12:30", "2026-05-01T12:30:00.000"] {
            assert_eq!(moment(text), 1_777_638_600, "{text}");
        }
        assert_eq!(moment("2026-05-01"), 1_777_593_600);
        for wrong in ["yesterday", "2026-13-01", "2026-05-01T25:00"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn people_read_times_in_their_zone() {
        let time = Timestamp { seconds: 1_777_638_600, nanos: 250_000_000 };
        let zone = |text: &str| text.parse::<Zone>().unwrap();
        assert_eq!(zone("utc").short(&time).unwrap(), "2026-05-01 12:30:00");
        assert_eq!(zone("+02:00").short(&time).unwrap(), "2026-05-01 14:30:00");
        assert_eq!(zone("-09:30").full(&time).unwrap(), "2026-05-01T03:00:00.250-09:30");
        assert_eq!(zone("UTC").full(&time).unwrap(), time.to_string());
        let naive = NaiveDateTime::parse_from_str("2026-05-01 14:30:00", "%Y-%m-%d %H:%M:%S").unwrap();
        assert_eq!(zone("+02:00").moment(naive).unwrap().timestamp(), 1_777_638_600);
        assert_eq!((zone("+02:00").name(), zone("LOCAL").name()), ("+02:00".to_owned(), "local".to_owned()));
        assert!("Europe/Berlin".parse::<Zone>().unwrap_err().contains("TZ="));
        // No year of any calendar; the number is shown as it came.
        assert_eq!(Zone::Utc.short(&Timestamp { seconds: i64::MAX, nanos: 0 }), None);
    }
}
