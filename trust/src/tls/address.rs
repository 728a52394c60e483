//! Where a server is, and by which name it is to prove itself.

use crate::TrustError;
use http::Uri;
use http::uri::{PathAndQuery, Scheme};
use std::net::SocketAddr;

/// The ports of addresses that name none.
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// An address such as `http://127.0.0.1:50051` or `https://search.example:443`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    url: String,
    origin: Uri,
    host: String,
    port: u16,
    is_tls: bool,
}

impl Address {
    /// Reads an address. What comes after the port is of no meaning to gRPC.
    ///
    /// # Errors
    /// [`TrustError::Address`] saying what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, TrustError> {
        let wrong = |reason: String| TrustError::Address { url: url.chars().take(200).collect(), reason };
        let origin: Uri = url.parse().map_err(|error: http::uri::InvalidUri| wrong(error.to_string()))?;
        let is_tls = match origin.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong("it must begin with http:// or https://".to_owned())),
        };
        // An address of IPv6 stands in brackets.
        let host = origin.host().map(|host| host.trim_start_matches('[').trim_end_matches(']').to_owned());
        let host = host.filter(|host| !host.is_empty()).ok_or_else(|| wrong("it names no host".to_owned()))?;
        let port = origin.port_u16().unwrap_or(if is_tls { HTTPS_PORT } else { HTTP_PORT });
        if is_tls && rustls::pki_types::ServerName::try_from(host.as_str()).is_err() {
            return Err(wrong("no certificate can be for a host of this name".to_owned()));
        }
        Ok(Self { url: url.to_owned(), origin, host, port, is_tls })
    }

    /// As it was given.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The name or the address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, 80 or 443 where none is given.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether TLS is spoken there.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// By which requests name the server, whichever address they go to.
    pub fn origin(&self) -> Uri {
        self.origin.clone()
    }

    /// What is to be connected to: the same host and port, or `place` instead, where its name was resolved already. The scheme is
    /// `http` in any case: TLS is the [`Connector`](super::Connector)'s, not that of a library above it.
    pub fn dialled(&self, place: Option<SocketAddr>) -> Uri {
        let authority = match place {
            Some(place) => place.to_string(),
            None if self.host.contains(':') => format!("[{}]:{}", self.host, self.port),
            None => format!("{}:{}", self.host, self.port),
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = authority.parse().ok();
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        // Its parts were read from an address a moment ago.
        Uri::from_parts(parts).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_where_and_by_which_name() {
        let read = |url: &str| {
            let address = Address::parse(url).unwrap();
            (address.host().to_owned(), address.port(), address.is_tls(), address.dialled(None).to_string())
        };
        let expected = |host: &str, port, is_tls, dialled: &str| (host.to_owned(), port, is_tls, dialled.to_owned());
        assert_eq!(read("http://127.0.0.1:50051"), expected("127.0.0.1", 50051, false, "http://127.0.0.1:50051/"));
        assert_eq!(read("https://search.example"), expected("search.example", 443, true, "http://search.example:443/"));
        assert_eq!(read("https://[::1]:7/path"), expected("::1", 7, true, "http://[::1]:7/"));
        assert_eq!(read("http://encoder"), expected("encoder", 80, false, "http://encoder:80/"));
        let place = "10.0.0.7:50051".parse().unwrap();
        let named = Address::parse("https://encoder:50051").unwrap();
        assert_eq!(named.dialled(Some(place)), "http://10.0.0.7:50051/");
        assert_eq!((named.origin(), named.url()), ("https://encoder:50051".parse().unwrap(), "https://encoder:50051"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in ["", "encoder:1", "ftp://encoder:1", "http://", "http://a b", "https://:5", "https://a_b..c:1"] {
            assert!(matches!(Address::parse(wrong), Err(TrustError::Address { .. })), "{wrong}");
        }
    }
}
