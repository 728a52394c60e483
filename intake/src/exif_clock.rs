//! When images were taken, by their EXIF data.

use crate::IntakeError;
use crate::capture_times::{offset, stated_offset};
use chrono::{FixedOffset, NaiveDateTime};
use descry_model::ExifTime;

/// How EXIF data writes a time; colons between all parts.
const FORM: &str = "%Y:%m:%d %H:%M:%S";

/// By which clocks the times in EXIF data are that do not say it themselves, as most do not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExifClock {
    zone: Option<FixedOffset>,
}

/// What EXIF data tells of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExifMoment {
    /// In milliseconds since 1970-01-01T00:00:00Z.
    Known(i64),
    /// A time, and nothing by which clock.
    NoZone,
    /// None, or nothing that is one.
    Nothing,
}

impl ExifClock {
    /// `zone` is how far the cameras' clocks are ahead of UTC: `UTC`, or hours and minutes such as `+02:00`. Without it only times
    /// count whose EXIF data tells the zone.
    ///
    /// # Errors
    /// [`IntakeError::NotAPattern`] for what is no zone.
    pub fn new(zone: Option<&str>) -> Result<Self, IntakeError> {
        Ok(Self { zone: zone.map(stated_offset).transpose()? })
    }

    pub(crate) fn moment(&self, time: Option<&ExifTime>) -> ExifMoment {
        // Cameras whose clock was never set write zeros or blanks, which are no date.
        let Some((time, local)) = time.and_then(|time| Some((time, local_time(time)?))) else {
            return ExifMoment::Nothing;
        };
        let zone = time.offset.as_deref().and_then(offset).or(self.zone);
        let Some(zone) = zone else { return ExifMoment::NoZone };
        let known = local.and_local_timezone(zone).single();
        let below_second_ms = time.below_second.as_deref().map_or(0, milliseconds);
        known.map_or(ExifMoment::Nothing, |time| ExifMoment::Known(time.timestamp_millis() + below_second_ms))
    }
}

fn local_time(time: &ExifTime) -> Option<NaiveDateTime> {
    NaiveDateTime::parse_from_str(&time.local, FORM).ok()
}

/// The first three of the digits behind a second's point.
fn milliseconds(digits: &str) -> i64 {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    format!("{digits:0<3}")[..3].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(zone: Option<&str>, local: &str, offset: Option<&str>, below_second: Option<&str>) -> ExifMoment {
        let [offset, below_second] = [offset, below_second].map(|text| text.map(str::to_owned));
        let time = ExifTime { local: local.to_owned(), offset, below_second };
        ExifClock::new(zone).unwrap().moment(Some(&time))
    }

    #[test]
    fn a_zone_is_told_by_the_data_or_stated_and_never_guessed() {
        // 2026-05-01T12:30:45Z.
        let expected = 1_777_638_645_000;
        let local = "2026:05:01 14:30:45";
        assert_eq!(moment(Some("+02:00"), local, None, None), ExifMoment::Known(expected));
        assert_eq!(moment(None, local, Some("+02:00"), Some("25")), ExifMoment::Known(expected + 250));
        assert_eq!(moment(Some("UTC"), local, Some("+02:00"), Some("1239")), ExifMoment::Known(expected + 123));
        assert_eq!(moment(Some("+02:00"), local, Some("Berlin"), Some("x")), ExifMoment::Known(expected));
        assert_eq!(moment(None, local, None, None), ExifMoment::NoZone);
        assert_eq!(moment(None, local, Some(":"), None), ExifMoment::NoZone);
        assert!(ExifClock::new(Some("Berlin")).is_err());
    }

    #[test]
    fn what_is_no_date_tells_nothing() {
        for local in [
            "0000:00:00 00:00:00",
            "    :  :     :  :  ",
            "",
            "2026-05-01",
            "2026:13:01 00:00:00",
            "2026:05:01 14:30:45x",
        ] {
            assert_eq!(moment(Some("UTC"), local, None, None), ExifMoment::Nothing, "{local}");
        }
        assert_eq!(ExifClock::default().moment(None), ExifMoment::Nothing);
    }
}
