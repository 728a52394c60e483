//! When images were taken, by their names.

use crate::IntakeError;
use chrono::format::{Item, Parsed, StrftimeItems, parse_and_remainder};
use chrono::{DateTime, FixedOffset, Utc};
use std::ops::RangeInclusive;

/// A time that every pattern can write: 2026-05-01T12:30:45Z.
const EXAMPLE_S: i64 = 1_777_638_645;

/// Digits of seconds since 1970 that are taken for a time: from 1973 on. Shorter rows are numbers of frames, longer ones
/// milliseconds.
const UNIX_DIGITS: RangeInclusive<usize> = 9..=11;

/// Where in names times stand, and by which clocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimePattern {
    pattern: String,
    clocks: Clocks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clocks {
    /// So far ahead of UTC.
    Ahead(FixedOffset),
    /// As the names say.
    Named,
    /// Seconds since 1970, which are the same everywhere.
    Unix,
}

impl TimePattern {
    /// A pattern in the manner of strftime, such as `%Y%m%d_%H%M%S`, and how far the clocks that gave the names are ahead of UTC:
    /// `UTC`, or hours and minutes such as `+02:00`. Patterns with `%z` or `%s` need none.
    ///
    /// # Errors
    /// [`IntakeError::NotAPattern`] says what is wrong with either.
    pub fn new(pattern: &str, zone: Option<&str>) -> Result<Self, IntakeError> {
        let wrong = |reason: String| IntakeError::NotAPattern { reason };
        let items: Vec<Item<'_>> = StrftimeItems::new(pattern).collect();
        if items.contains(&Item::Error) {
            return Err(wrong(format!("{pattern:?} is no pattern of strftime's, such as %Y%m%d_%H%M%S")));
        }
        // Two percent signs are one that stands in the name.
        let directives = pattern.replace("%%", "");
        let names_zone = ["%z", "%:z", "%#z", "%+"].iter().any(|part| directives.contains(part));
        let clocks = if directives.contains("%s") {
            Clocks::Unix
        } else if names_zone {
            Clocks::Named
        } else if let Some(zone) = zone {
            Clocks::Ahead(stated_offset(zone)?)
        } else {
            let reason = format!("{pattern:?} does not say by which clocks; give --clock-zone, such as UTC or +02:00");
            return Err(wrong(reason));
        };
        let pattern = Self { pattern: pattern.to_owned(), clocks };
        let example = DateTime::from_timestamp(EXAMPLE_S, 0).map(|time: DateTime<Utc>| time.fixed_offset());
        let example = example.map(|time| time.format_with_items(items.iter().cloned()).to_string()).unwrap_or_default();
        if pattern.read(&example).is_none() {
            let what = "a year, a month, a day, an hour and a minute are needed";
            return Err(wrong(format!("{:?} tells no time: {what}", pattern.pattern)));
        }
        Ok(pattern)
    }

    /// The first time that stands in a name, in milliseconds since 1970-01-01T00:00:00Z. A longer row of digits holds none.
    pub(crate) fn time_ms(&self, name: &str) -> Option<i64> {
        let begins_with_text = matches!(
            StrftimeItems::new(&self.pattern).next(),
            Some(Item::Literal(_) | Item::OwnedLiteral(_) | Item::Space(_) | Item::OwnedSpace(_))
        );
        let mut before = None;
        name.char_indices().find_map(|(at, first)| {
            let is_inside = is_digit(before.replace(first)) && is_digit(Some(first));
            // A hyphen between two parts of a name is no sign of a year.
            let is_sign = matches!(first, '+' | '-') || first.is_whitespace();
            if is_inside || (is_sign && !begins_with_text) {
                return None;
            }
            let (time_ms, rest) = self.read(&name[at..])?;
            let last = name[..name.len() - rest.len()].chars().next_back();
            let goes_on = is_digit(last) && is_digit(rest.chars().next());
            (!goes_on).then_some(time_ms)
        })
    }

    /// The time at the beginning of a text, and what stands behind it.
    fn read<'t>(&self, text: &'t str) -> Option<(i64, &'t str)> {
        let mut parsed = Parsed::new();
        let rest = parse_and_remainder(&mut parsed, text, StrftimeItems::new(&self.pattern)).ok()?;
        let time_ms = match self.clocks {
            Clocks::Named => parsed.to_datetime().ok()?.timestamp_millis(),
            Clocks::Unix => {
                let matched = text.get(..text.len() - rest.len())?;
                let stands_there = digit_rows(matched).any(|row| row.parse().ok() == parsed.timestamp());
                stands_there.then(|| parsed.to_naive_datetime_with_offset(0).ok())??.and_utc().timestamp_millis()
            }
            Clocks::Ahead(offset) => {
                let time = parsed.to_naive_datetime_with_offset(offset.local_minus_utc()).ok()?;
                time.and_local_timezone(offset).single()?.timestamp_millis()
            }
        };
        Some((time_ms, rest))
    }
}

/// The rows of digits in a text that are long enough for seconds since 1970, and not so long that they are milliseconds.
fn digit_rows(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_ascii_digit()).filter(|row| UNIX_DIGITS.contains(&row.len()))
}

fn is_digit(character: Option<char>) -> bool {
    character.is_some_and(|character| character.is_ascii_digit())
}

/// How far clocks are ahead of UTC that somebody states.
///
/// # Errors
/// [`IntakeError::NotAPattern`] for what is no such zone.
pub(crate) fn stated_offset(zone: &str) -> Result<FixedOffset, IntakeError> {
    let reason = || format!("{zone:?} is no time zone that is known; give UTC, or an offset such as +02:00");
    offset(zone).ok_or_else(|| IntakeError::NotAPattern { reason: reason() })
}

/// `UTC`, `Z`, or hours and minutes ahead of it or behind.
pub(crate) fn offset(zone: &str) -> Option<FixedOffset> {
    if zone.eq_ignore_ascii_case("utc") || zone.eq_ignore_ascii_case("z") {
        return FixedOffset::east_opt(0);
    }
    let (ahead, time) = match (zone.strip_prefix('+'), zone.strip_prefix('-')) {
        (Some(time), _) => (1, time),
        (_, Some(time)) => (-1, time),
        (None, None) => return None,
    };
    let (hours, minutes) = time.split_once(':').unwrap_or((time, "00"));
    let two_digits = |text: &str| -> Option<i32> {
        (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
    };
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes).filter(|minutes| *minutes < 60)?);
    FixedOffset::east_opt(ahead * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(pattern: &str, zone: &str, name: &str) -> Option<i64> {
        TimePattern::new(pattern, Some(zone)).unwrap().time_ms(name)
    }

    #[test]
    fn names_tell_times_by_the_stated_clocks() {
        // 2026-05-01T12:30:45Z; `date -u -d 2026-05-01T12:30:45 +%s` prints it.
        let expected = 1_777_638_645_000;
        for (pattern, zone, name) in [
            ("%Y%m%d_%H%M%S", "UTC", "20260501_123045.jpg"),
            ("%Y%m%d_%H%M%S", "+02:00", "c1/IMG_20260501_143045_7.jpg"),
            ("%Y-%m-%d_%H-%M-%S", "-03:30", "cam-2026-05-01_09-00-45.png"),
            ("%Y%m%d/%H%M%S", "Z", "c1/20260501/123045.jpg"),
            ("%d.%m.%y %H.%M.%S", "+02", "front 01.05.26 14.30.45"),
            ("T%Y%m%dT%H%M%S%z", "UTC", "T20260501T143045+0200.jpg"),
            ("%s", "UTC", "frame_1777638645.jpg"),
        ] {
            assert_eq!(time(pattern, zone, name), Some(expected), "{pattern} {name}");
        }
        assert_eq!(time("%Y%m%d%H%M%S%3f", "UTC", "20260501123045250.jpg"), Some(expected + 250));
        // Seconds are not needed.
        assert_eq!(time("%Y%m%d_%H%M", "UTC", "20260501_1230.jpg"), Some(expected - 45_000));
    }

    #[test]
    fn what_is_no_time_gives_none() {
        let stamp = "%Y%m%d_%H%M%S";
        for name in
            ["", "a.jpg", "20261301_123045", "20260501_253045", "20260501_1230451", "120260501_123045", "日本20260501"]
        {
            assert_eq!(time(stamp, "UTC", name), None, "{name}");
        }
        // Neither a frame's number nor milliseconds are seconds since 1970, with zeros before them or without.
        for name in ["img_000123.jpg", "7.jpg", "12345678", "000012345678", "1777638645250.jpg", "img_0001777638645"] {
            assert_eq!(time("%s", "UTC", name), None, "{name}");
            assert_eq!(time("img_%s", "UTC", &format!("img_{name}")), None, "{name}");
        }
        for (pattern, zone, said) in [
            ("%Y%m%d_%H%M%S%%s", None, "--clock-zone"),
            ("%Y%m%d_%H%M%S%%z", None, "--clock-zone"),
            (stamp, None, "--clock-zone"),
            (stamp, Some("Berlin"), "Berlin"),
            (stamp, Some("+2"), "+2"),
            (stamp, Some("+25:00"), "+25:00"),
            ("%Y%m%d", Some("UTC"), "an hour"),
            ("%Q", Some("UTC"), "strftime"),
            ("", Some("UTC"), "tells no time"),
        ] {
            let complaint = TimePattern::new(pattern, zone).unwrap_err().to_string();
            assert!(complaint.contains(said), "{pattern} {zone:?}: {complaint}");
        }
    }
}
