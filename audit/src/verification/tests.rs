use super::*;
use crate::log::tests::settings;
use crate::{Anchor, AuditLog, AuditSettings};
use proptest::prelude::*;
use std::fs;
use std::sync::OnceLock;
use tempfile::TempDir;

/// A log of some files.
fn origin() -> &'static (TempDir, Vec<PathBuf>) {
    static ORIGIN: OnceLock<(TempDir, Vec<PathBuf>)> = OnceLock::new();
    ORIGIN.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let settings = AuditSettings { max_file_bytes: 2_000, ..settings(folder.path()) };
            let log = AuditLog::open(&settings, "").unwrap();
            for number in 0..12 {
                let record = Record { gallery: Some(format!("gallery {number}")), ..Record::new(Kind::Request) };
                log.append_all(vec![record.clone(), record]).await.unwrap();
            }
        });
        let files = chain_files(&folder.path().join("one")).unwrap().into_iter().map(|file| file.path).collect();
        (folder, files)
    })
}

/// The log again, with one of its files changed. Returns that file's name.
fn changed(file: usize, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> (TempDir, String) {
    let (folder, files) = origin();
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("one")).unwrap();
    for entry in fs::read_dir(folder.path().join("one")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join("one").join(entry.file_name())).unwrap();
    }
    let name = files[file].file_name().unwrap().to_str().unwrap().to_owned();
    let path = copy.path().join("one").join(&name);
    let content = change(fs::read(&path).unwrap());
    fs::write(path, content).unwrap();
    (copy, name)
}

fn first_break(folder: &TempDir) -> (String, u64, BreakKind) {
    let found = verify(&folder.path().join("one"), &[]).unwrap();
    let first = found.breaks.first().unwrap_or_else(|| panic!("nothing was found"));
    (first.file.file_name().unwrap().to_str().unwrap().to_owned(), first.line, first.kind)
}

fn lines(content: &[u8]) -> Vec<Vec<u8>> {
    content.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn line_of(content: &[u8], place: usize) -> usize {
    content[..place].iter().filter(|byte| **byte == b'\n').count()
}

/// The name of the file after this one, or this one where it is the last.
fn next_name(file: usize) -> String {
    let files = &origin().1;
    files[(file + 1).min(files.len() - 1)].file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_log_as_it_was_written_is_whole() {
    let (folder, files) = origin();
    let found = verify(&folder.path().join("one"), &[]).unwrap();
    assert!(files.len() > 2, "{files:?}");
    assert_eq!((found.breaks, found.files, found.first), (vec![], files.len() as u64, 1));
    assert_eq!(found.head.sequence, found.records);
}

#[test]
fn an_anchor_tells_a_log_that_was_written_anew() {
    let (folder, _) = origin();
    let one = folder.path().join("one");
    let head = verify(&one, &[]).unwrap().head;
    let anchor = |sequence, hash: &str| {
        let head = Head { instance: "one".to_owned(), sequence, hash: hash.to_owned() };
        Anchor { time_ms: 0, head }
    };
    assert_eq!(verify(&one, &[anchor(head.sequence, &head.hash)]).unwrap().anchors, 1);
    let found = verify(&one, &[anchor(5, &head.hash)]).unwrap();
    assert_eq!((found.anchors, found.breaks[0].kind), (0, BreakKind::Anchor));
    let found = verify(&one, &[anchor(head.sequence + 7, &head.hash)]).unwrap();
    assert_eq!(found.breaks[0].kind, BreakKind::EndMissing);
    let other = Anchor { head: Head { instance: "two".to_owned(), ..head }, ..anchor(0, "") };
    assert_eq!(verify(&one, &[other]).unwrap().breaks, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_changed_byte_is_named(file: prop::sample::Index, place: prop::sample::Index, change in 1_u8..=255) {
        let file = file.index(origin().1.len());
        let mut line = 0;
        let (folder, name) = changed(file, |mut content| {
            let place = place.index(content.len());
            line = line_of(&content, place) as u64 + 1;
            content[place] ^= change;
            content
        });
        let (broken, found, kind) = first_break(&folder);
        prop_assert_eq!((broken, found), (name, line));
        prop_assert!(matches!(kind, BreakKind::Altered), "{}", kind);
    }

    #[test]
    fn a_removed_line_is_named(file: prop::sample::Index, line: prop::sample::Index) {
        let file = file.index(origin().1.len());
        let (mut removed, mut left) = (0, 0);
        let (folder, name) = changed(file, |content| {
            let mut lines = lines(&content);
            removed = line.index(lines.len());
            lines.remove(removed);
            left = lines.len();
            lines.concat()
        });
        let (broken, found, _) = first_break(&folder);
        // Where the last line of a file is gone, the next file shows it.
        let expected = if removed == left && file + 1 < origin().1.len() { (next_name(file), 1) } else { (name, found) };
        prop_assert_eq!(broken, expected.0);
        prop_assert!(expected.1 == found && (found == removed as u64 + 1 || removed == left), "{} {}", found, removed);
    }

    #[test]
    fn a_line_out_of_place_is_named(
        file: prop::sample::Index, from: prop::sample::Index, to: prop::sample::Index, is_copied: bool,
    ) {
        let file = file.index(origin().1.len());
        let (mut from_line, mut to_line) = (0, 0);
        let (folder, name) = changed(file, |content| {
            let mut lines = lines(&content);
            (from_line, to_line) = (from.index(lines.len()), to.index(lines.len()));
            match is_copied {
                true => {
                    let copy = lines[from_line].clone();
                    lines.insert(to_line, copy);
                }
                false => lines.swap(from_line, to_line),
            }
            lines.concat()
        });
        let is_same = from_line == to_line;
        prop_assume!(is_copied || !is_same);
        let (broken, found, _) = first_break(&folder);
        // A copy right before or behind itself is first right, and then there again.
        let first = if is_copied { to_line + usize::from(is_same) } else { from_line.min(to_line) };
        prop_assert_eq!((broken, found), (name, first as u64 + 1));
    }
}
