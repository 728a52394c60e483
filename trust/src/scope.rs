//! What a principal may do.

use crate::TrustError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A scope longer than this is a mistake.
pub const MAX_SCOPE_BYTES: usize = 512;

/// What may be done in a gallery. None of these includes another: who may index need not be able to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Finding people in it, listing its images, watching it.
    Search,
    /// Adding images to it, and changing what is known of them.
    Index,
    /// Making and deleting it, its retention, its models, deleting images.
    Manage,
}

/// Names of galleries: a name in which each `*` stands for any letters, none included.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GalleryPattern(String);

/// One thing that a principal may do, such as `search:lobby`, `index:site-*` or `encode`. None includes another, `admin`
/// neither: who runs a service need not be able to look at people.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// Turning texts and images into embeddings.
    Encode,
    /// Something in the galleries of these names.
    Gallery(Verb, GalleryPattern),
    /// Reading the audit log.
    Audit,
    /// What concerns the service as a whole.
    Admin,
}

impl GalleryPattern {
    /// Whether the gallery is one of these.
    pub fn matches(&self, gallery: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == gallery };
        let Some(mut left) = gallery.strip_prefix(first) else { return false };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        // The earliest place of each part leaves the most for those behind it.
        for part in middle.split('*') {
            let Some(place) = left.find(part) else { return false };
            left = &left[place + part.len()..];
        }
        left.ends_with(last)
    }
}

impl Scope {
    /// Whether this is enough to do `verb` in the gallery.
    pub fn allows(&self, verb: Verb, gallery: &str) -> bool {
        match self {
            Self::Gallery(allowed, galleries) => *allowed == verb && galleries.matches(gallery),
            Self::Encode | Self::Audit | Self::Admin => false,
        }
    }
}

impl FromStr for Scope {
    type Err = TrustError;

    fn from_str(text: &str) -> Result<Self, TrustError> {
        let wrong = |reason| TrustError::Scope { text: text.chars().take(100).collect(), reason };
        if text.len() > MAX_SCOPE_BYTES {
            return Err(wrong("it is too long"));
        }
        let (word, gallery) = match text.split_once(':') {
            Some((word, gallery)) => (word, Some(gallery)),
            None => (text, None),
        };
        let verb = match word {
            "search" => Verb::Search,
            "index" => Verb::Index,
            "manage" => Verb::Manage,
            "encode" | "audit" | "admin" if gallery.is_some() => return Err(wrong("it concerns no gallery")),
            "encode" => return Ok(Self::Encode),
            "audit" => return Ok(Self::Audit),
            "admin" => return Ok(Self::Admin),
            _ => return Err(wrong("it is not known")),
        };
        match gallery {
            None | Some("") => Err(wrong("it must name a gallery, or * for all of them")),
            Some(gallery) if gallery.contains(|letter: char| letter.is_whitespace() || letter.is_control()) => {
                Err(wrong("a gallery's name has no spaces in it"))
            }
            Some(gallery) => Ok(Self::Gallery(verb, GalleryPattern(gallery.to_owned()))),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = TrustError;

    fn try_from(text: String) -> Result<Self, TrustError> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Search => "search",
            Self::Index => "index",
            Self::Manage => "manage",
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode => formatter.write_str("encode"),
            Self::Gallery(verb, GalleryPattern(galleries)) => write!(formatter, "{verb}:{galleries}"),
            Self::Audit => formatter.write_str("audit"),
            Self::Admin => formatter.write_str("admin"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Principal;
    use proptest::prelude::*;

    fn principal(scopes: &[&str]) -> Principal {
        let scopes = scopes.iter().map(|scope| scope.parse().unwrap()).collect();
        Principal { name: "someone".to_owned(), scopes }
    }

    #[test]
    fn a_scope_allows_its_verb_in_its_galleries_alone() {
        let guard = principal(&["search:lobby", "index:site-*", "encode"]);
        assert!(guard.may(Verb::Search, "lobby"));
        assert!(!guard.may(Verb::Index, "lobby") && !guard.may(Verb::Manage, "lobby"));
        assert!(!guard.may(Verb::Search, "lobby2") && !guard.may(Verb::Search, "Lobby"));
        assert!(guard.may(Verb::Index, "site-7") && guard.may_see("site-") && !guard.may_see("offsite-7"));
        let everything_else = principal(&["admin", "audit", "encode"]);
        assert!(!everything_else.may_see("lobby"));
    }

    #[test]
    fn what_is_no_scope_is_refused_with_those_there_are() {
        for wrong in ["", "search", "search:", "encode:lobby", "read:lobby", "Search:lobby", "search:a b", "search:a\n"]
        {
            let error = wrong.parse::<Scope>().unwrap_err().to_string();
            assert!(error.contains("search:GALLERY"), "{wrong}: {error}");
        }
        assert!(format!("search:{}", "a".repeat(MAX_SCOPE_BYTES)).parse::<Scope>().is_err());
    }

    /// The definition, without any cleverness.
    fn matches_slowly(pattern: &[char], name: &[char]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some(('*', rest)) => (0..=name.len()).any(|taken| matches_slowly(rest, &name[taken..])),
            Some((letter, rest)) => {
                name.split_first().is_some_and(|(first, left)| first == letter && matches_slowly(rest, left))
            }
        }
    }

    proptest! {
        #[test]
        fn a_star_stands_for_any_letters(pattern in "[ab*é]{1,8}", name in "[abé]{0,8}") {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = matches_slowly(&letters(&pattern), &letters(&name));
            prop_assert_eq!(GalleryPattern(pattern).matches(&name), expected);
        }

        #[test]
        fn a_scope_is_read_as_it_is_written(text in "\\PC{0,40}") {
            if let Ok(scope) = text.parse::<Scope>() {
                prop_assert_eq!(scope.to_string(), text);
            }
        }
    }
}
