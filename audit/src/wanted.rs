//! Names that records are looked through for.

use crate::naming::{NameKey, Named, visit_names};
use crate::record::Record;
use std::collections::{BTreeMap, HashMap};

/// Names, any of which a record may say, in the clear or hashed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedNames {
    /// By their kinds: each form in which a name is kept, and the name.
    clear: BTreeMap<Named, HashMap<String, String>>,
    hashed: BTreeMap<Named, HashMap<String, String>>,
    /// That of the key with which they are hashed here.
    mark: Option<String>,
}

/// Whether a record says a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// Its names are hashed with a key that is not known here.
    Closed,
}

impl WantedNames {
    /// These names. Without the key of `audit.name_key_file` they are not found in records whose names are hashed.
    pub fn new(names: impl IntoIterator<Item = (Named, String)>, key: Option<&NameKey>) -> Self {
        let mut wanted = Self { mark: key.map(|key| key.mark().to_owned()), ..Self::default() };
        for (named, name) in names {
            if let Some(key) = key {
                wanted.hashed.entry(named).or_default().insert(key.hash(named, &name), name.clone());
            }
            wanted.clear.entry(named).or_default().insert(name.clone(), name);
        }
        wanted
    }

    /// The name that a record says in this form, where it is one of these.
    #[must_use]
    pub fn name_of(&self, record: &Record, named: Named, form: &str) -> Option<&str> {
        let forms = if record.name_key.is_none() { &self.clear } else { &self.hashed };
        if self.is_closed(record) {
            return None;
        }
        Some(forms.get(&named)?.get(form)?.as_str())
    }

    /// Whether it cannot be told which names a record says.
    fn is_closed(&self, record: &Record) -> bool {
        record.name_key.is_some() && record.name_key != self.mark
    }

    /// The record with these names in the clear wherever it says them, and empty ones where it says others.
    #[must_use]
    pub fn alone_in(&self, record: &Record) -> Record {
        let mut alone = record.clone();
        visit_names(&mut alone, &mut |named, form| {
            *form = self.name_of(record, named, form).map(str::to_owned).unwrap_or_default();
        });
        alone
    }

    /// Whether a record says one of them.
    #[must_use]
    pub fn said_in(&self, record: &Record) -> Said {
        let (mut is_said, mut has_names) = (false, false);
        // One way through a record for writing and for reading: neither overlooks what the other knows.
        visit_names(&mut record.clone(), &mut |named, form| {
            has_names = true;
            is_said |= self.name_of(record, named, form).is_some();
        });
        match (is_said, has_names && self.is_closed(record)) {
            (true, _) => Said::Yes,
            (false, true) => Said::Closed,
            (false, false) => Said::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Returned};

    #[test]
    fn names_are_found_in_whatever_form_they_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let key = |digits: &str| {
            let path = folder.path().join(digits);
            std::fs::write(&path, digits.repeat(32)).unwrap();
            NameKey::read(&path).unwrap()
        };
        let (key, other) = (key("0a"), key("0b"));
        let told = |image_id: &str, name_key: Option<&NameKey>| Record {
            returned: vec![Returned {
                image_id: name_key.map_or(image_id.to_owned(), |key| key.hash(Named::Image, image_id)),
                score: None,
                probability: None,
            }],
            name_key: name_key.map(|key| key.mark().to_owned()),
            ..Record::new(Kind::Request)
        };
        let wanted = |key: Option<&NameKey>| {
            let names = [(Named::Image, "7.jpg"), (Named::Person, "8.jpg")];
            WantedNames::new(names.map(|(named, name)| (named, name.to_owned())), key)
        };
        let (open, closed) = (wanted(Some(&key)), wanted(None));
        for (wanted, record, expected) in [
            (&open, told("7.jpg", Some(&key)), Said::Yes),
            (&open, told("7.jpg", None), Said::Yes),
            (&open, told("8.jpg", None), Said::No),
            (&open, told("8.jpg", Some(&key)), Said::No),
            (&open, told("7.jpg", Some(&other)), Said::Closed),
            (&closed, told("7.jpg", Some(&key)), Said::Closed),
            (&closed, told("7.jpg", None), Said::Yes),
            (&closed, Record { name_key: Some(key.mark().to_owned()), ..Record::new(Kind::Start) }, Said::No),
        ] {
            assert_eq!(wanted.said_in(&record), expected, "{record:?}");
        }
        let record = told("7.jpg", Some(&key));
        assert_eq!(open.name_of(&record, Named::Image, &record.returned[0].image_id), Some("7.jpg"));
        assert_eq!(open.name_of(&record, Named::Image, "7.jpg"), None, "a clear name in a record of hashes is none");
        let alone = |image_id: &str| open.alone_in(&told(image_id, Some(&key))).returned.remove(0).image_id;
        assert_eq!((alone("7.jpg"), alone("8.jpg")), ("7.jpg".to_owned(), String::new()), "others stay nameless");
    }
}
