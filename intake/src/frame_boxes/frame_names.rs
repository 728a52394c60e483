//! Which frame a file of boxes means.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Longer names are no paths of any system, so they mean no frame.
const MAX_NAME_BYTES: usize = 4096;

/// Finds frames by their names, by the ends of their names with or without the file's ending, and by their numbers.
///
/// Where a file of boxes and the input both state folders, the folders must agree: `c2/000001.jpg` is no box of
/// `c1/000001.jpg`. One of the two may state more of them than the other.
#[derive(Default)]
pub(crate) struct FrameNames {
    /// In the order of the input.
    names: Vec<String>,
    /// By the whole name.
    by_name: HashMap<String, Called>,
    /// By the whole name without the file's ending.
    by_stem: HashMap<String, Called>,
    /// By what is left of the name without the first folders, with and without the file's ending.
    by_end: HashMap<String, Called>,
    by_number: HashMap<u64, Called>,
}

/// Places of the frames that are called so. Of several, two are enough to say that it is not clear which one is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Called {
    One(usize),
    Several(usize, usize),
}

impl Called {
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::One(first), Self::One(second) | Self::Several(second, _)) if first != second => {
                Self::Several(first, second)
            }
            (Self::One(_), several @ Self::Several(..)) => several,
            (known, _) => known,
        }
    }
}

impl FrameNames {
    /// Learns the names of frames, in their order.
    pub(crate) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut known = Self::default();
        for (place, name) in names.enumerate() {
            let plain = plain(name);
            note(&mut known.by_name, plain.clone(), place);
            if let Some(stem) = stem(&plain) {
                note(&mut known.by_stem, stem.to_owned(), place);
            }
            for end in ends(&plain).skip(1) {
                for end in [Some(end), stem(end)].into_iter().flatten() {
                    note(&mut known.by_end, end.to_owned(), place);
                }
            }
            if let Some(number) = number(&plain) {
                note(&mut known.by_number, number, place);
            }
            known.names.push(name.to_owned());
        }
        known
    }

    /// The place of the frame that is meant.
    ///
    /// # Errors
    /// There is no such frame, or there are several; two of them are named then.
    pub(crate) fn find(&self, asked: &str) -> Result<usize, String> {
        if asked.len() > MAX_NAME_BYTES {
            return Err(format!("the frame's name has {} bytes; at most {MAX_NAME_BYTES} are one", asked.len()));
        }
        match self.called(&plain(&asked.replace('\\', "/"))) {
            Some(Called::One(place)) => Ok(place),
            Some(Called::Several(first, second)) => {
                let [first, second] = [first, second].map(|place| self.names.get(place).map_or("", |name| shown(name)));
                let asked = shown(asked);
                Err(format!(
                    "several frames may be meant by {asked:?}, such as {first:?} and {second:?}; name the folders in the \
                     boxes, or index the folders one by one"
                ))
            }
            None => Err(format!("there is no frame {:?} in the input", shown(asked))),
        }
    }

    fn called(&self, asked: &str) -> Option<Called> {
        // A whole name is meant before any that only ends so.
        let whole = self.by_name.get(asked).or_else(|| self.by_stem.get(asked));
        if whole.is_some() {
            return whole.copied();
        }
        let shorter = ends(asked).skip(1).flat_map(|end| [self.by_name.get(end), self.by_stem.get(end)]);
        let named = shorter.chain([self.by_end.get(asked)]).flatten().copied().reduce(Called::or);
        // Digits may be a number of several frames, and the name of one of them. What begins with a zero is a name first.
        let is_name_first = asked.len() > 1 && asked.starts_with('0') && named.is_some();
        let numbered = asked.parse().ok().and_then(|number: u64| self.by_number.get(&number)).copied();
        named.into_iter().chain(numbered.filter(|_| !is_name_first)).reduce(Called::or)
    }
}

/// The folders that a file of boxes states of a frame beyond those that the frame's own name has, with `/` between them.
pub(crate) fn folders_beyond(asked: &str, frame: &str) -> String {
    let asked = plain(&asked.replace('\\', "/"));
    let parts: Vec<&str> = asked.split('/').collect();
    let beyond = parts.len().saturating_sub(plain(frame).split('/').count());
    parts[..beyond].join("/")
}

/// Whether two rows of folders may be the same, of which one states more than the other.
pub(crate) fn may_be_same(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    short.is_empty() || ends(long).any(|end| end == short)
}

fn note<Key: Eq + std::hash::Hash>(called: &mut HashMap<Key, Called>, key: Key, place: usize) {
    match called.entry(key) {
        Entry::Occupied(mut known) => {
            let both = known.get().or(Called::One(place));
            known.insert(both);
        }
        Entry::Vacant(free) => {
            free.insert(Called::One(place));
        }
    }
}

/// What people are told of a name. Each of many boxes may tell it.
pub(crate) fn shown(name: &str) -> &str {
    const SHOWN: usize = 120;
    name.char_indices().nth(SHOWN).map_or(name, |(end, _)| &name[..end])
}

/// The name without what says nothing: slashes at its front or side by side, and `.` as a folder.
fn plain(name: &str) -> String {
    let parts = name.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.collect::<Vec<_>>().join("/")
}

/// The name, and what is left of it without its folders, one after another.
fn ends(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.split_once('/').map(|(_, rest)| rest)).filter(|end| !end.is_empty())
}

/// The name without its ending. A point in a folder's name begins none.
fn stem(name: &str) -> Option<&str> {
    let is_stem = |(stem, ending): &(&str, &str)| !stem.is_empty() && !stem.ends_with('/') && !ending.contains('/');
    name.rsplit_once('.').filter(is_stem).map(|(stem, _)| stem)
}

/// The number at the end of the file's name.
fn number(name: &str) -> Option<u64> {
    let file = name.rsplit('/').next()?;
    let stem = stem(file).unwrap_or(file);
    stem[stem.trim_end_matches(|character: char| character.is_ascii_digit()).len()..].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(names: &[&str]) -> FrameNames {
        FrameNames::of(names.iter().copied())
    }

    #[test]
    fn frames_are_found_by_what_programs_call_them() {
        let frames = frames(&["c1/000001.jpg", "c1/000002.jpg", "c2/000002.jpg", "c2/x.y.png"]);
        for (asked, place) in [
            ("c1/000002.jpg", 1),
            ("./c1//000002.jpg", 1),
            ("c2/000002", 2),
            ("000001", 0),
            ("1", 0),
            ("/data/c2/000002.jpg", 2),
            ("C:\\data\\c2\\x.y.png", 3),
            ("x.y", 3),
        ] {
            assert_eq!(frames.find(asked), Ok(place), "{asked}");
        }
        for (asked, said) in [("2", "several"), ("000002.jpg", "several"), ("7", "no frame"), ("", "no frame")] {
            assert!(frames.find(asked).unwrap_err().contains(said), "{asked}");
        }
        let endless = "a/".repeat(MAX_NAME_BYTES);
        assert!(frames.find(&endless).unwrap_err().len() < 200, "it is not said again");
    }

    #[test]
    fn folders_that_both_sides_state_agree() {
        let one = frames(&["c1/000001.jpg"]);
        for asked in ["c2/000001.jpg", "c2/000001", "/data/c2/000001.jpg", "c2\\000001.jpg", "1/c2/000001"] {
            assert!(one.find(asked).unwrap_err().contains("no frame"), "{asked}");
        }
        // What one side does not state cannot contradict.
        assert_eq!(frames(&["000001.jpg"]).find("c2/000001.jpg"), Ok(0));
        assert_eq!(frames(&["day/c1/000001.jpg"]).find("c1/000001"), Ok(0));
    }

    #[test]
    fn what_fits_several_frames_names_them() {
        let both = frames(&["c1/000001.jpg", "c2/000001.jpg", "000001.jpg"]);
        assert_eq!(both.find("000001.jpg"), Ok(2), "a whole name is nobody else's end");
        let complaint = both.find("/data/c2/000001.jpg").unwrap_err();
        assert!(complaint.contains("\"c2/000001.jpg\"") && complaint.contains("\"000001.jpg\""), "{complaint}");
        // Inputs with equal names are two frames, whichever comes last.
        let twins = frames(&["000001.jpg", "000001.jpg"]);
        for asked in ["000001.jpg", "000001", "1", "c1/000001.jpg"] {
            assert!(twins.find(asked).unwrap_err().contains("several"), "{asked}");
        }
        // A number is that of every frame that ends in it, and the name of none alone.
        let numbered = frames(&["c1/1.jpg", "c2/000001.jpg"]);
        assert!(numbered.find("1").unwrap_err().contains("several"));
        assert_eq!(numbered.find("000001"), Ok(1));
    }

    #[test]
    fn folders_beyond_the_frames_are_compared() {
        assert_eq!(folders_beyond("/data/c2/1.jpg", "1.jpg"), "data/c2");
        assert_eq!(folders_beyond("1.jpg", "c2/1.jpg"), "");
        assert!(may_be_same("data/c2", "c2") && may_be_same("", "c2") && !may_be_same("c1", "c2"));
        assert!(!may_be_same("data/c2", "ac2"));
    }

    proptest! {
        #[test]
        fn any_name_means_a_frame_of_its_folders_or_none(asked in "[./\\\\ab1]{0,12}", names in proptest::collection::vec("[/ab1.]{1,8}", 0..5)) {
            let frames = FrameNames::of(names.iter().map(String::as_str));
            if let Ok(place) = frames.find(&asked) {
                let (asked, name) = (plain(&asked.replace('\\', "/")), plain(&names[place]));
                let folders = |path: &str| path.rsplit_once('/').map_or(String::new(), |(folders, _)| folders.to_owned());
                prop_assert!(may_be_same(&folders(&asked), &folders(&name)), "{} {}", asked, name);
            }
        }
    }
}
