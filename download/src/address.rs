//! Addresses and tokens, which show themselves without what is secret in them.

use std::fmt;
use url::{Host, Origin, Url};

/// An address of a server. It may have a password in it, or be signed, and whoever sees that can use it; so it shows itself,
/// in messages as in logs, without its user, its password, its query and its fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// Reads an address that begins with `https://` or `http://`; `None` for everything else.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        (matches!(url.scheme(), "https" | "http") && url.has_host()).then_some(Self(url))
    }

    /// The address below this one with these parts, each of which becomes one part of the path whatever is in it.
    pub(crate) fn below<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut url = self.0.clone();
        url.set_query(None);
        // Only an address without a host has no path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        Self(url)
    }

    /// Where a redirect from here leads to; `None` where that is no address.
    pub(crate) fn redirected(&self, location: &str) -> Option<Self> {
        self.0.join(location).ok().filter(Url::has_host).map(Self)
    }

    /// All of it, for nobody but the server.
    pub(crate) fn with_secrets(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn scheme(&self) -> &str {
        self.0.scheme()
    }

    pub(crate) fn origin(&self) -> Origin {
        self.0.origin()
    }

    /// The last part of its path.
    pub(crate) fn file_name(&self) -> &str {
        self.0.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default()
    }

    /// Whether nobody on the way can read or change what comes from there.
    pub(crate) fn is_private(&self) -> bool {
        match self.0.scheme() {
            "https" => true,
            "http" => match self.0.host() {
                Some(Host::Domain(name)) => name == "localhost",
                Some(Host::Ipv4(address)) => address.is_loopback(),
                Some(Host::Ipv6(address)) => address.is_loopback(),
                None => false,
            },
            _ => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.0.clone();
        url.set_query(None);
        url.set_fragment(None);
        // These fail only for an address without a host, which has neither.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        formatter.write_str(url.as_str())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// What a message may show of a place that could not be read, and so may have a secret anywhere.
pub(crate) fn shown_text(text: &str) -> String {
    if let Some(address) = Address::parse(text) {
        return address.to_string();
    }
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    // A place on the hub has neither a password nor a query, so that its part before both can be shown.
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let is_open =
        scheme == "hf" && !rest.contains(':') && !rest.split('/').next().is_some_and(|owner| owner.contains('@'));
    format!("{scheme}://{}", if is_open { rest } else { "..." })
}

/// A hub's token. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token without the blanks around it; `None` where nothing is left.
    pub fn new(text: &str) -> Option<Self> {
        Some(text.trim()).filter(|text| !text.is_empty()).map(|text| Self(text.to_owned()))
    }

    /// The token itself, for nobody but the hub.
    pub(crate) fn with_secrets(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn addresses_and_tokens_show_no_secret() {
        let signed = address("https://user:secret@example.org:8443/a/b.pth?signature=secret#secret");
        assert_eq!(signed.to_string(), "https://example.org:8443/a/b.pth");
        assert_eq!(format!("{signed:?}"), signed.to_string());
        assert!(signed.with_secrets().contains("user:secret@") && signed.with_secrets().contains("signature=secret"));
        let token = Token::new(" secret\n").unwrap();
        assert_eq!(token.with_secrets(), "secret");
        assert!(!format!("{token:?}").contains("secret"));
        assert_eq!(Token::new(" \n"), None);
        for (text, shown) in [
            ("https://user:secret@[/x", "https://..."),
            ("https://user:sec/ret@example.org/x", "https://..."),
            ("http://user:secret@example.org/x?secret", "http://example.org/x"),
            ("ftp://user:secret@example.org/x", "ftp://..."),
            ("hf://user:secret@example.org/x", "hf://..."),
            ("hf://secret@example.org/x", "hf://..."),
            ("hf://owner/name/a//b?token=secret", "hf://owner/name/a//b"),
            ("hf://owner@", "hf://..."),
            ("hf://owner", "hf://owner"),
        ] {
            assert_eq!(shown_text(text), shown);
        }
    }

    #[test]
    fn parts_below_an_address_stay_parts() {
        for endpoint in ["https://hub.example", "https://hub.example/", "https://hub.example?mirror=1"] {
            let below = address(endpoint).below(["api", "refs/pr/1", "a?b#c"]);
            assert_eq!(below.with_secrets(), "https://hub.example/api/refs%2Fpr%2F1/a%3Fb%23c");
        }
        assert_eq!(address("https://hub.example/hf/").below(["x"]).with_secrets(), "https://hub.example/hf/x");
    }

    #[test]
    fn only_this_machine_is_private_without_encryption() {
        for text in ["https://example.org", "http://localhost:1/x", "http://127.0.0.1", "http://[::1]:8080/"] {
            assert!(address(text).is_private(), "{text}");
        }
        for text in ["http://example.org", "http://192.0.2.1", "http://localhost.example.org", "http://[2001:db8::1]"] {
            assert!(!address(text).is_private(), "{text}");
        }
        for text in ["", "example.org/x", "ftp://example.org/x", "https://", "file:///etc/passwd"] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }
}
