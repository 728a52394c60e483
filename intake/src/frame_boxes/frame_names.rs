//! Which frame a file of boxes means.

use std::collections::HashMap;

/// Finds frames by their names, by the ends of their names with or without the file's ending, and by their numbers.
#[derive(Default)]
pub(crate) struct FrameNames {
    /// The place of the frame, or nothing where several are called so.
    by_name: HashMap<String, Option<usize>>,
    by_number: HashMap<u64, Option<usize>>,
}

impl FrameNames {
    /// Learns the names of frames, in their order.
    pub(crate) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut known = Self::default();
        let names: Vec<&str> = names.collect();
        for (place, name) in names.iter().enumerate() {
            let note = |found: &mut Option<usize>| *found = found.filter(|&other| other == place);
            for end in ends(name) {
                for end in [Some(end), stem(end)].into_iter().flatten() {
                    known.by_name.entry(end.to_owned()).and_modify(note).or_insert(Some(place));
                }
            }
            if let Some(number) = number(name) {
                known.by_number.entry(number).and_modify(note).or_insert(Some(place));
            }
        }
        // A whole name is nobody else's end.
        for (place, name) in names.iter().enumerate() {
            known.by_name.insert((*name).to_owned(), Some(place));
        }
        known
    }

    /// The place of the frame that is meant.
    ///
    /// # Errors
    /// There is no such frame, or there are several.
    pub(crate) fn find(&self, asked: &str) -> Result<usize, String> {
        let asked = asked.replace('\\', "/");
        let by_name = ends(&asked).find_map(|end| self.by_name.get(end));
        let by_number = || asked.parse().ok().and_then(|number: u64| self.by_number.get(&number));
        match by_name.or_else(by_number) {
            Some(Some(place)) => Ok(*place),
            Some(None) => Err(format!("several frames are called {asked:?}; index their folders one by one")),
            None => Err(format!("there is no frame {asked:?} in the input")),
        }
    }
}

/// The name, and what is left of it without its folders, one after another.
fn ends(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.split_once('/').map(|(_, rest)| rest)).filter(|end| !end.is_empty())
}

/// The name without its ending.
fn stem(name: &str) -> Option<&str> {
    name.rsplit_once('.').map(|(stem, _)| stem).filter(|stem| !stem.is_empty())
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

    #[test]
    fn frames_are_found_by_what_programs_call_them() {
        let frames = FrameNames::of(["c1/000001.jpg", "c1/000002.jpg", "c2/000002.jpg", "c2/x.y.png"].into_iter());
        for (asked, place) in [
            ("c1/000002.jpg", 1),
            ("c2/000002", 2),
            ("000001", 0),
            ("1", 0),
            ("/data/c2/000002.jpg", 2),
            ("C:\\data\\c2\\x.y.png", 3),
            ("x.y", 3),
        ] {
            assert_eq!(frames.find(asked), Ok(place), "{asked}");
        }
        assert!(frames.find("2").unwrap_err().contains("several"));
        assert!(frames.find("000002.jpg").unwrap_err().contains("several"));
        assert!(frames.find("7").unwrap_err().contains("no frame"));
        assert!(frames.find("").unwrap_err().contains("no frame"));
    }
}
