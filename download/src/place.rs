//! Where a checkpoint lies.

use crate::address::shown_text;
use crate::{Address, DownloadError};
use std::path::PathBuf;

/// A path, a repository of a model hub, or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On this machine.
    Local(PathBuf),
    /// `hf://OWNER/REPO[@REVISION][/FILE]`. A revision with slashes, such as `refs/pr/1`, is written with `%2F` for each.
    Hub {
        /// `OWNER/REPO`
        repository: String,
        /// Branch, tag or commit.
        revision: String,
        /// One file and the settings beside it; `None` for what an export needs of the repository.
        file: Option<String>,
    },
    /// One file on the web.
    Web(Address),
}

impl Place {
    /// Reads a place as it is written on a command line. Whatever names no scheme is a path.
    ///
    /// # Errors
    /// For an address that says too little, would go unencrypted over a network, or is of another kind.
    pub fn parse(text: &str) -> Result<Self, DownloadError> {
        let wrong = |reason: &str| DownloadError::Place { place: shown_text(text), reason: reason.to_owned() };
        let Some((scheme, rest)) = text.split_once("://") else { return Ok(Self::Local(PathBuf::from(text))) };
        match scheme.to_ascii_lowercase().as_str() {
            "hf" => hub(rest).ok_or_else(|| wrong("a place on the hub is hf://OWNER/REPO[@REVISION][/FILE]")),
            "https" | "http" => {
                let address = Address::parse(text).ok_or_else(|| wrong("this is no address"))?;
                if !address.is_private() {
                    return Err(wrong("http:// is for this machine alone, anything else needs https://"));
                }
                Ok(Self::Web(address))
            }
            _ if scheme.contains('/') => Ok(Self::Local(PathBuf::from(text))),
            _ => Err(wrong("a place elsewhere is hf://OWNER/REPO[@REVISION][/FILE] or https://...")),
        }
    }
}

fn hub(rest: &str) -> Option<Place> {
    let mut parts = rest.splitn(3, '/');
    let (owner, name, file) = (parts.next()?, parts.next()?, parts.next());
    let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
    let revision = revision.replace("%2F", "/").replace("%2f", "/");
    let file = file.map(|file| file.trim_end_matches('/')).filter(|file| !file.is_empty());
    if ![owner, name].into_iter().chain(revision.split('/')).all(is_plain)
        || !file.is_none_or(|file| file.split('/').all(is_plain))
    {
        return None;
    }
    Some(Place::Hub { repository: format!("{owner}/{name}"), revision, file: file.map(str::to_owned) })
}

/// Whether a part of a path is a name, and nothing that leads out of a folder. Addresses take it as it is, too.
pub(crate) fn is_plain(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with('.')
        && part.chars().all(|character| character.is_ascii_alphanumeric() || "-_.".contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        let hub = |repository: &str, revision: &str, file: Option<&str>| Place::Hub {
            repository: repository.to_owned(),
            revision: revision.to_owned(),
            file: file.map(str::to_owned),
        };
        assert_eq!(Place::parse("runs/best.pth").unwrap(), Place::Local("runs/best.pth".into()));
        assert_eq!(Place::parse("hf://a/b").unwrap(), hub("a/b", "main", None));
        assert_eq!(Place::parse("hf://a/b@v1.0/c/d.pth").unwrap(), hub("a/b", "v1.0", Some("c/d.pth")));
        assert_eq!(Place::parse("hf://a/b@refs%2Fpr%2f1/c.pth").unwrap(), hub("a/b", "refs/pr/1", Some("c.pth")));
        assert!(matches!(Place::parse("http://127.0.0.1:80/x").unwrap(), Place::Web(_)));
        for wrong in [
            "hf://a",
            "hf://../b",
            "hf://a/b@/c",
            "hf://a/b/../c",
            "hf://a/b/c//d",
            "hf://a/b@../c",
            "hf://a/b@x%2F..%2Fc",
            "hf://a/b@x%2F%2Fc",
            "hf://a/b@x%20c",
            "http://example.org/x",
            "https://",
            "ftp://example.org/x",
        ] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
        assert!(matches!(Place::parse("HTTPS://example.org/x").unwrap(), Place::Web(_)));
        assert!(matches!(Place::parse("runs/a://b").unwrap(), Place::Local(_)));
    }

    #[test]
    fn places_show_no_secret() {
        for text in [
            "https://user:secret@example.org/x?signature=secret",
            "http://user:secret@example.org/x?signature=secret",
            "https://user:secret@[/x",
            "ftp://user:secret@example.org/x",
            "hf://user:secret@example.org/x",
            "hf://owner/name?token=secret",
        ] {
            let shown = match Place::parse(text) {
                Ok(place) => format!("{place:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
}
