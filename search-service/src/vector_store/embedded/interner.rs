//! Numbers for repeated texts, so that filters compare integers.

use std::collections::HashMap;

/// The number of an absent text.
pub(super) const ABSENT: usize = 0;

/// Gives equal texts equal numbers. Counts uses, so that texts of deleted images do not pile up.
#[derive(Debug, Default)]
pub(super) struct Interner {
    /// Number and uses of each text in use.
    entries: HashMap<String, Entry>,
    /// Numbers that were in use once and may be given again.
    free: Vec<usize>,
    highest: usize,
}

#[derive(Debug)]
struct Entry {
    number: usize,
    uses: usize,
}

impl Interner {
    /// The number of a text, now used once more.
    pub(super) fn acquire(&mut self, text: Option<&str>) -> usize {
        let Some(text) = text else { return ABSENT };
        if let Some(entry) = self.entries.get_mut(text) {
            entry.uses += 1;
            return entry.number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.highest += 1;
            self.highest
        });
        self.entries.insert(text.to_owned(), Entry { number, uses: 1 });
        number
    }

    /// Takes one use back.
    pub(super) fn release(&mut self, text: Option<&str>) {
        let Some(text) = text else { return };
        let Some(entry) = self.entries.get_mut(text) else { return };
        entry.uses -= 1;
        if entry.uses == 0 {
            self.free.push(entry.number);
            self.entries.remove(text);
        }
    }

    /// One flag per number: whether its text is among `texts`. `None` when there are none, which restricts nothing.
    pub(super) fn flags(&self, texts: &[String]) -> Option<Vec<bool>> {
        if texts.is_empty() {
            return None;
        }
        let mut flags = vec![false; self.highest + 1];
        for entry in texts.iter().filter_map(|text| self.entries.get(text)) {
            flags[entry.number] = true;
        }
        Some(flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_again_once_nobody_uses_them() {
        let mut interner = Interner::default();
        let first = interner.acquire(Some("a"));
        assert_eq!(interner.acquire(Some("a")), first);
        let second = interner.acquire(Some("b"));
        assert_ne!(first, second);
        assert_eq!(interner.acquire(None), ABSENT);

        interner.release(Some("a"));
        assert_ne!(interner.acquire(Some("c")), first, "still used once");
        interner.release(Some("a"));
        assert_eq!(interner.acquire(Some("d")), first);
    }

    #[test]
    fn flags_never_cover_the_absent() {
        let mut interner = Interner::default();
        let number = interner.acquire(Some("a"));
        assert_eq!(interner.flags(&[]), None);
        let flags = interner.flags(&["a".to_owned(), "unknown".to_owned()]).unwrap();
        assert!(flags[number] && !flags[ABSENT]);
    }
}
