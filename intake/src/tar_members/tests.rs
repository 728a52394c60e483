use super::*;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, symlink};
use std::process::Command;

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

/// Files with holes, and links of every kind.
fn awkward_files(folder: &Path) {
    fs::create_dir_all(folder.join("in/c1")).unwrap();
    fs::create_dir_all(folder.join("in/c2")).unwrap();
    fs::write(folder.join("in/c1/1.jpg"), b"first").unwrap();
    fs::hard_link(folder.join("in/c1/1.jpg"), folder.join("in/c2/2.jpg")).unwrap();
    symlink("../c1/1.jpg", folder.join("in/c2/3.jpg")).unwrap();
    symlink("3.jpg", folder.join("in/c2/4.jpg")).unwrap();
    let sparse = File::create(folder.join("in/c2/5.jpg")).unwrap();
    sparse.set_len(300_000).unwrap();
    // More pieces than the first header of GNU's own format holds.
    for piece in 0..9_u8 {
        sparse.write_all_at(&[piece + 1; 700], u64::from(piece) * 32_768 + 4096).unwrap();
    }
    fs::hard_link(folder.join("in/c2/5.jpg"), folder.join("in/c2/6.jpg")).unwrap();
}

/// What GNU tar makes of an archive and what is read of it are the same, in all its formats.
#[test]
fn links_and_holes_are_read_as_gnu_tar_does() {
    let version = Command::new("tar").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    if !version.starts_with(b"tar (GNU tar)") {
        return println!("SKIPPED: there is no GNU tar to compare with");
    }
    let formats = [
        &["--format=gnu"][..],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
        &["--format=gnu", "--gzip"],
        &["--format=posix", "--sparse-version=1.0", "--gzip"],
    ];
    for format in formats {
        let folder = tempfile::tempdir().unwrap();
        awkward_files(folder.path());
        let gnu_tar = |arguments: &[&str]| {
            let status = Command::new("tar").arg("-C").arg(folder.path()).args(arguments).status().unwrap();
            assert!(status.success(), "{arguments:?}");
        };
        // The name is without an ending of compression, whatever is in it.
        let archive = folder.path().join("a.tar");
        let name = archive.to_str().unwrap();
        gnu_tar(&[format, &["--sparse", "--hole-detection=raw", "--sort=name", "-cf", name, "in"]].concat());
        gnu_tar(&["-xf", name, "--one-top-level=out"]);

        let mut members = TarMembers::open(&archive, MAX_BYTES).unwrap();
        let mut files = 0;
        while let Some(member) = members.next_member().unwrap() {
            if member.kind == MemberKind::Folder {
                continue;
            }
            let path = member.path.unwrap();
            assert_eq!(member.kind, MemberKind::File, "{format:?} {path}");
            let unpacked = fs::read(folder.path().join("out").join(&path)).unwrap();
            assert_eq!(member.bytes, unpacked.len() as u64, "{format:?} {path}");
            assert!(members.content().unwrap().unwrap() == unpacked, "{format:?} {path}");
            files += 1;
        }
        assert_eq!(files, 6, "{format:?}");
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
