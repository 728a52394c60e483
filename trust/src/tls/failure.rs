//! Why a TLS connection failed, in words that say what to do.

use super::client::TlsHints;
use super::plain_client::SPEAK_TLS;
use rustls::{AlertDescription, CertificateError};
use std::error::Error;
use std::io;

const SECONDS_PER_DAY: u64 = 86_400;

/// What went wrong in a handshake with the server at `host`.
pub(super) fn handshake_reason(error: &io::Error, host: &str, hints: TlsHints) -> String {
    match found_in(error) {
        Some(rustls::Error::InvalidCertificate(wrong)) => certificate_reason(wrong, host, hints),
        Some(rustls::Error::AlertReceived(alert)) => alert_reason(&format!("{alert:?}"), hints).unwrap_or_else(|| {
            let speaks_no_grpc = *alert == AlertDescription::NoApplicationProtocol;
            let other = || format!("it refused the handshake ({alert:?})");
            if speaks_no_grpc { "it speaks TLS, but not gRPC over it".to_owned() } else { other() }
        }),
        Some(rustls::Error::InvalidMessage(_)) => "it speaks no TLS: use http:// instead of https://".to_owned(),
        Some(other) => format!("the handshake failed: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it hung up instead of speaking TLS; use http:// if it speaks none".to_owned()
        }
        None => format!("the handshake failed: {error}"),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library may learn of further faults, which it names itself")]
fn certificate_reason(wrong: &CertificateError, host: &str, hints: TlsHints) -> String {
    let TlsHints { ca, .. } = hints;
    match wrong {
        CertificateError::UnknownIssuer => {
            format!("its certificate is not from a CA that is trusted here; name its CA with {ca}")
        }
        CertificateError::Expired => "its certificate has expired: the server needs a new one".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            let days = time.as_secs().saturating_sub(not_after.as_secs()) / SECONDS_PER_DAY;
            format!("its certificate has expired ({days} days ago): the server needs a new one, or this clock is wrong")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: this clock or that of the CA is wrong".to_owned()
        }
        CertificateError::NotValidForName => format!("its certificate is not for {host}"),
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            format!("its certificate is for no name at all, and so not for {host}")
        }
        CertificateError::NotValidForNameContext { presented, .. } => format!(
            "its certificate is not for {host} but for {}; use one of these names in the address",
            presented.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", ")
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not one for servers".to_owned()
        }
        other => format!("its certificate cannot be believed: {other}"),
    }
}

/// A name as the library shows it, such as `DnsName("search.example")`, without its kind.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"')
}

/// What a server says of the client's certificate, by the name of its alert.
fn alert_reason(alert: &str, hints: TlsHints) -> Option<String> {
    let TlsHints { certificate, .. } = hints;
    Some(match alert {
        "CertificateRequired" => format!("it lets nobody in without a certificate; show one with {certificate}"),
        "UnknownCA" => {
            format!("it does not trust the CA of the certificate that was shown; show another with {certificate}")
        }
        "CertificateExpired" => {
            format!("the certificate that was shown has expired, or is not valid yet; show another with {certificate}")
        }
        "BadCertificate"
        | "UnsupportedCertificate"
        | "CertificateRevoked"
        | "CertificateUnknown"
        | "DecryptError"
        | "AccessDenied" => {
            format!(
                "it does not accept the certificate that was shown, if any ({alert}); show another with {certificate}"
            )
        }
        _ => return None,
    })
}

/// How a failed alert reads in an error of the libraries between it and the caller.
const ALERT: &str = "received fatal alert: ";

/// What a request's failure says of TLS, where it does: a server refuses a client's certificate only after the client took the
/// connection for made, and one that is spoken to without TLS tells so.
pub fn explain_refusal(error: &(dyn Error + 'static), hints: TlsHints) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if text.contains(SPEAK_TLS) {
            return Some("it speaks TLS: use https:// instead of http://".to_owned());
        }
        if let Some((_, rest)) = text.split_once(ALERT) {
            let alert: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
            if let Some(reason) = alert_reason(&alert, hints) {
                return Some(reason);
            }
        }
        next = error.source();
    }
    None
}

/// The library's own error, wherever it is wrapped.
fn found_in<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|inner| found_in(inner)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}
