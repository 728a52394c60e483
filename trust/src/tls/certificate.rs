//! What a certificate says that the library for checking them does not tell: when it is valid, and its common name.
//!
//! Certificates come here after they were checked, or from the service's own files. Whatever the bytes are, reading them ends,
//! and nothing is read beyond them.

/// The tags of DER that are met on the way, as X.690 numbers them.
mod tag {
    pub(super) const INTEGER: u8 = 0x02;
    pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
    pub(super) const UTF8_STRING: u8 = 0x0c;
    pub(super) const PRINTABLE_STRING: u8 = 0x13;
    pub(super) const IA5_STRING: u8 = 0x16;
    pub(super) const UTC_TIME: u8 = 0x17;
    pub(super) const GENERALIZED_TIME: u8 = 0x18;
    pub(super) const SEQUENCE: u8 = 0x30;
    pub(super) const SET: u8 = 0x31;
    pub(super) const VERSION: u8 = 0xa0;
}

/// 2.5.4.3, the common name.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
const SECONDS_PER_DAY: i64 = 86_400;

/// What one certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// In seconds since 1970.
    pub(super) not_before: i64,
    /// In seconds since 1970.
    pub(super) not_after: i64,
    /// The subject's common name, where it has exactly one.
    pub(super) common_name: Option<String>,
}

/// Reads a certificate (RFC 5280, section 4.1). Nothing for what is none.
pub(super) fn facts(der: &[u8]) -> Option<Facts> {
    let (certificate, _) = take(der, tag::SEQUENCE)?;
    let (mut left, _) = take(certificate, tag::SEQUENCE)?;
    if let Some((_, rest)) = take(left, tag::VERSION) {
        left = rest;
    }
    let (_serial, rest) = take(left, tag::INTEGER)?;
    let (_algorithm, rest) = take(rest, tag::SEQUENCE)?;
    let (_issuer, rest) = take(rest, tag::SEQUENCE)?;
    let (validity, rest) = take(rest, tag::SEQUENCE)?;
    let (subject, _) = take(rest, tag::SEQUENCE)?;
    let (not_before, rest) = time(validity)?;
    let (not_after, _) = time(rest)?;
    Some(Facts { not_before, not_after, common_name: common_name(subject) })
}

/// The content of the first element, which must have this tag, and what comes after it.
fn take(input: &[u8], expected: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(input)?;
    (found == expected).then_some((content, rest))
}

/// The first element: its tag, its content, and what comes after it.
fn element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = input.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // As many bytes of length follow; a certificate needs no more than three.
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// A time in seconds since 1970, and what comes after it.
fn time(input: &[u8]) -> Option<(i64, &[u8])> {
    let (found, content, rest) = element(input)?;
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, text) = match found {
        tag::UTC_TIME => {
            let (year, text) = text.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            // RFC 5280, section 4.1.2.5.1.
            (if year < 50 { year + 2000 } else { year + 1900 }, text)
        }
        tag::GENERALIZED_TIME => {
            let (year, text) = text.split_at_checked(4)?;
            (year.parse().ok()?, text)
        }
        _ => return None,
    };
    if text.len() != 10 {
        return None;
    }
    let part = |place: usize| text.get(place..place + 2)?.parse::<i64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    if !(1..=12).contains(&month) {
        return None;
    }
    let seconds = part(4)? * 3_600 + part(6)? * 60 + part(8)?;
    Some((days_since_1970(year, month, day) * SECONDS_PER_DAY + seconds, rest))
}

/// Of a date in the Gregorian calendar: years begin in March here, so that a leap day is a year's last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// The subject's only common name. Of two nobody could say which one is meant.
fn common_name(mut subject: &[u8]) -> Option<String> {
    let mut found = None;
    while let Some((mut set, rest)) = take(subject, tag::SET) {
        subject = rest;
        while let Some((attribute, rest)) = take(set, tag::SEQUENCE) {
            set = rest;
            let Some((identifier, value)) = take(attribute, tag::OBJECT_IDENTIFIER) else { continue };
            if identifier != COMMON_NAME {
                continue;
            }
            if found.is_some() {
                return None;
            }
            let (tag, content, _) = element(value)?;
            if !matches!(tag, tag::UTF8_STRING | tag::PRINTABLE_STRING | tag::IA5_STRING) {
                return None;
            }
            found = Some(std::str::from_utf8(content).ok()?.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    fn certificate(not_before: (i32, u8, u8), not_after: (i32, u8, u8), names: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_before = rcgen::date_time_ymd(not_before.0, not_before.1, not_before.2);
        params.not_after = rcgen::date_time_ymd(not_after.0, not_after.1, not_after.2);
        params.distinguished_name = rcgen::DistinguishedName::new();
        for name in names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params.distinguished_name.push(DnType::OrganizationName, "of no meaning");
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn times_and_name_are_those_it_was_made_with() {
        // Before 2050 years have two digits, afterwards four.
        let read = facts(&certificate((2000, 2, 29), (2100, 3, 1), &["Ünal"])).unwrap();
        assert_eq!((read.not_before, read.not_after), (951_782_400, 4_107_542_400));
        assert_eq!(read.common_name.as_deref(), Some("Ünal"));
        assert_eq!(facts(&certificate((1975, 1, 1), (2049, 12, 31), &[])).unwrap().common_name, None);
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_are_reading_them_ends(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = facts(&bytes);
        }

        #[test]
        fn a_damaged_certificate_is_read_or_not(place in 0usize..300, byte: u8, length in 0usize..400) {
            let mut der = certificate((2020, 1, 1), (2030, 1, 1), &["name"]);
            let place = place % der.len();
            der[place] = byte;
            der.truncate(length);
            let _ = facts(&der);
        }
    }
}
