use super::*;
use std::fs::{self, File};
use std::io::Write as _;

const MAX_BYTES: u64 = 1 << 20;

#[test]
fn contents_are_read_or_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar");
    let mut builder = tar::Builder::new(File::create(&path).unwrap());
    let long_name = format!("{}/c.jpg", "folder".repeat(30));
    for (name, content) in [("a.jpg", vec![1_u8; 700]), ("b.jpg", vec![2; 512]), (long_name.as_str(), vec![3; 5])] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mtime(7);
        builder.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap();
    for read in [true, false] {
        let mut members = TarMembers::open(&path, MAX_BYTES).unwrap();
        let mut names = Vec::new();
        while let Some(member) = members.next_member().unwrap() {
            assert_eq!((member.kind, member.modified_ms), (MemberKind::File, 7000));
            names.push((member.path.unwrap(), member.bytes));
            if read {
                assert_eq!(members.content().unwrap().unwrap(), vec![names.len() as u8; member.bytes as usize]);
            }
        }
        let expected = [("a.jpg".to_owned(), 700), ("b.jpg".to_owned(), 512), (long_name.clone(), 5)];
        assert_eq!(names, expected);
    }
}

#[test]
fn links_that_lead_nowhere_stay_links() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar");
    let mut builder = tar::Builder::new(File::create(&path).unwrap());
    let link = |kind: tar::EntryType| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header
    };
    let (hard, symbolic) = (tar::EntryType::Link, tar::EntryType::Symlink);
    for (kind, to) in [(hard, "later.jpg"), (symbolic, "/etc/passwd"), (symbolic, "../later.jpg"), (symbolic, "a")] {
        builder.append_link(&mut link(kind), "a/1.jpg", to).unwrap();
    }
    let mut header = link(tar::EntryType::Regular);
    header.set_size(1);
    builder.append_data(&mut header, "later.jpg", b"x".as_slice()).unwrap();
    builder.append_link(&mut link(symbolic), "a/2.jpg", "./../a//../later.jpg").unwrap();
    builder.into_inner().unwrap().flush().unwrap();
    let mut members = TarMembers::open(&path, MAX_BYTES).unwrap();
    let mut kinds = Vec::new();
    while let Some(member) = members.next_member().unwrap() {
        kinds.push(member.kind == MemberKind::File);
        if member.kind == MemberKind::File {
            assert_eq!(members.content().unwrap().unwrap(), b"x");
        }
    }
    assert_eq!(kinds, [false, false, false, false, true, true]);
}

#[test]
fn other_compressions_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (start, name) in [(b"\x28\xb5\x2f\xfd..".as_slice(), "Zstandard"), (b"BZh9", "bzip2"), (b"\xfd7zXZ\0", "xz")] {
        let path = folder.path().join("a.tar");
        fs::write(&path, start).unwrap();
        let message = TarMembers::open(&path, MAX_BYTES).err().unwrap().to_string();
        assert!(message.contains(name) && message.contains("unpack"), "{message}");
    }
}
