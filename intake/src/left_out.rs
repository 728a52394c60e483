//! What of the inputs is passed over on purpose, counted by kind.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Kinds that are told apart; whatever comes beyond them counts together. File names make kinds, so there is no telling
/// how many there would be.
const MAX_KINDS: usize = 64;

/// The kind of inputs that have nothing to offer.
pub(crate) const EMPTY_INPUTS: &str = "inputs without an image";

/// The kind of everything beyond [`MAX_KINDS`].
const OTHERS: &str = "other files";

/// Files and members that are no image that can be read, nor anything that tells of one. They are no failures: nobody
/// asked for them by name. But nobody should have to find out by counting that they are not in the gallery.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct LeftOut {
    kinds: BTreeMap<String, LeftOutKind>,
}

/// Everything of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOutKind {
    /// How many there are.
    pub count: u64,
    /// Where the first one is.
    pub first: String,
}

impl LeftOut {
    /// Counts one more. `kind` is a plural, for people to read.
    pub(crate) fn add(&mut self, kind: &str, origin: impl FnOnce() -> String) {
        self.add_several(kind, 1, origin);
    }

    pub(crate) fn add_several(&mut self, kind: &str, count: u64, first: impl FnOnce() -> String) {
        let kind = if self.kinds.len() < MAX_KINDS || self.kinds.contains_key(kind) { kind } else { OTHERS };
        match self.kinds.get_mut(kind) {
            Some(known) => known.count += count,
            None => {
                self.kinds.insert(kind.to_owned(), LeftOutKind { count, first: first() });
            }
        }
    }

    pub(crate) fn extend(&mut self, other: Self) {
        for (kind, LeftOutKind { count, first }) in other.kinds {
            self.add_several(&kind, count, || first);
        }
    }

    /// How many there are of all kinds.
    pub fn total(&self) -> u64 {
        self.kinds.values().map(|kind| kind.count).sum()
    }

    /// The kinds, by name.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, &LeftOutKind)> {
        self.kinds.iter().map(|(name, kind)| (name.as_str(), kind))
    }
}

impl fmt::Display for LeftOutKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => write!(formatter, "{}", self.first),
            count => write!(formatter, "{count}, the first is {}", self.first),
        }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, kind)) in self.kinds().enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            write!(formatter, "{separator}{name}: {kind}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_and_their_number_is_bounded() {
        let mut left_out = LeftOut::default();
        for name in ["a.heic", "b.heic", "c.md"] {
            let kind = format!(".{} files", name.rsplit('.').next().unwrap());
            left_out.add(&kind, || name.to_owned());
        }
        assert_eq!(left_out.to_string(), ".heic files: 2, the first is a.heic; .md files: c.md");
        for number in 0..1000 {
            left_out.add(&format!(".{number} files"), || number.to_string());
        }
        assert_eq!((left_out.total(), left_out.kinds().count()), (1003, MAX_KINDS + 1));
        let mut twice = left_out.clone();
        twice.extend(left_out);
        assert_eq!((twice.total(), twice.kinds().count()), (2006, MAX_KINDS + 1));
    }
}
