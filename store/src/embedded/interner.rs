//! Numbers for what repeats, so that filters compare integers.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// The number of what is absent.
pub(super) const ABSENT: u32 = 0;

/// Gives equal keys equal numbers. Counts uses, so that names of deleted images do not pile up.
#[derive(Debug)]
pub(super) struct Interner<Key = Arc<str>> {
    /// Number of each key in use.
    numbers: HashMap<Key, u32>,
    /// The key of each number; numbers without uses may be given again. The absent one's comes first.
    keys: Vec<Key>,
    /// How often each number is used.
    uses: Vec<u32>,
    free: Vec<u32>,
}

impl<Key> Default for Interner<Key> {
    fn default() -> Self {
        let (numbers, keys, uses, free) = Default::default();
        Self { numbers, keys, uses, free }
    }
}

impl<Key: Hash + Eq + Clone> Interner<Key> {
    /// The number of a key, now used once more.
    pub(super) fn acquire<Wanted>(&mut self, key: Option<&Wanted>) -> u32
    where
        Wanted: Hash + Eq + ?Sized,
        Key: Borrow<Wanted> + for<'a> From<&'a Wanted>,
    {
        let Some(key) = key else { return ABSENT };
        if let Some(&number) = self.numbers.get(key) {
            self.uses[number as usize] += 1;
            return number;
        }
        let key = Key::from(key);
        let number = self.free.pop().unwrap_or_else(|| {
            let missing = if self.keys.is_empty() { 2 } else { 1 };
            self.keys.extend((0..missing).map(|_| key.clone()));
            self.uses.resize(self.keys.len(), 0);
            // Four billion names do not fit into memory.
            (self.keys.len() - 1) as u32
        });
        self.keys[number as usize] = key.clone();
        self.uses[number as usize] = 1;
        self.numbers.insert(key, number);
        number
    }

    /// Takes one use of a number back.
    pub(super) fn release(&mut self, number: u32) {
        if number == ABSENT {
            return;
        }
        let Some(uses) = self.uses.get_mut(number as usize) else { return };
        *uses = uses.saturating_sub(1);
        if *uses == 0 {
            self.free.push(number);
            self.numbers.remove(&self.keys[number as usize]);
        }
    }

    /// One more than the highest number ever given.
    pub(super) fn bound(&self) -> usize {
        self.keys.len().max(1)
    }

    /// How often each number is used; shorter than [`Self::bound`] where none was ever given.
    pub(super) fn uses(&self) -> &[u32] {
        &self.uses
    }
}

impl Interner {
    /// The number of a text in use.
    pub(super) fn number(&self, text: &str) -> Option<u32> {
        self.numbers.get(text).copied()
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
        let mut interner: Interner = Interner::default();
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
        let mut interner: Interner = Interner::default();
        let number = interner.acquire(Some("a"));
        let flags = interner.flags(&["a".to_owned(), "unknown".to_owned()]);
        assert!(flags[number as usize] && !flags[ABSENT as usize]);
        assert_eq!(Interner::<Arc<str>>::default().flags(&["a".to_owned()]), [false]);
    }
}
