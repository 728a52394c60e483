//! Numbers for repeated texts, so that filters compare integers.

use std::collections::HashMap;
use std::sync::Arc;

/// The number of an absent text.
pub(super) const ABSENT: u32 = 0;

/// Gives equal texts equal numbers. Counts uses, so that texts of deleted images do not pile up.
#[derive(Debug, Default)]
pub(super) struct Interner {
    /// Number of each text in use.
    numbers: HashMap<Arc<str>, u32>,
    /// Text and uses of each number; numbers without uses may be given again. The absent text's come first.
    entries: Vec<(Arc<str>, u32)>,
    free: Vec<u32>,
}

impl Interner {
    /// The number of a text, now used once more.
    pub(super) fn acquire(&mut self, text: Option<&str>) -> u32 {
        let Some(text) = text else { return ABSENT };
        if let Some(&number) = self.numbers.get(text) {
            self.entries[number as usize].1 += 1;
            return number;
        }
        let text: Arc<str> = text.into();
        let number = self.free.pop().unwrap_or_else(|| {
            let missing = if self.entries.is_empty() { 2 } else { 1 };
            self.entries.extend((0..missing).map(|_| (Arc::clone(&text), 0)));
            // Four billion texts do not fit into memory.
            (self.entries.len() - 1) as u32
        });
        self.entries[number as usize] = (Arc::clone(&text), 1);
        self.numbers.insert(text, number);
        number
    }

    /// Takes one use of a number back.
    pub(super) fn release(&mut self, number: u32) {
        if number == ABSENT {
            return;
        }
        let Some((text, uses)) = self.entries.get_mut(number as usize) else { return };
        *uses = uses.saturating_sub(1);
        if *uses == 0 {
            self.free.push(number);
            self.numbers.remove(text);
        }
    }

    /// The number of a text in use.
    pub(super) fn number(&self, text: &str) -> Option<u32> {
        self.numbers.get(text).copied()
    }

    /// One more than the highest number ever given.
    pub(super) fn bound(&self) -> usize {
        self.entries.len().max(1)
    }

    /// One flag per number: whether its text is among `texts`.
    pub(super) fn flags(&self, texts: &[String]) -> Vec<bool> {
        let mut flags = vec![false; self.bound()];
        for number in texts.iter().filter_map(|text| self.number(text)) {
            flags[number as usize] = true;
        }
        flags
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

        interner.release(first);
        assert_ne!(interner.acquire(Some("c")), first, "still used once");
        interner.release(first);
        assert_eq!(interner.number("a"), None);
        assert_eq!(interner.acquire(Some("d")), first);
    }

    #[test]
    fn flags_never_cover_the_absent() {
        let mut interner = Interner::default();
        let number = interner.acquire(Some("a"));
        let flags = interner.flags(&["a".to_owned(), "unknown".to_owned()]);
        assert!(flags[number as usize] && !flags[ABSENT as usize]);
        assert_eq!(Interner::default().flags(&["a".to_owned()]), [false]);
    }
}
