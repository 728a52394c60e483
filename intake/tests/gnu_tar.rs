//! Archives are read as GNU tar unpacks them. In a program of its own: starting other programs beside the tests of locks
//! would hold those locks for a moment longer.

// Without this, lints count an integration test as shipped code.
#![cfg(test)]

use descry_intake::{ImageSource, SourceOptions, TimeSources};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::Path;
use std::process::Command;

const MAX_BYTES: u64 = 1 << 20;

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

        let options = SourceOptions {
            root: None,
            metadata: None,
            prefix: String::new(),
            allow_unmatched: false,
            max_image_bytes: MAX_BYTES,
            times: TimeSources::default(),
        };
        let images = ImageSource::open(&[archive], options).unwrap();
        let mut files = 0;
        for image in images {
            let image = image.unwrap();
            let unpacked = fs::read(folder.path().join("out").join(&image.image_id)).unwrap();
            let image_id = image.image_id.clone();
            assert_eq!(image.version.bytes, unpacked.len() as u64, "{format:?} {image_id}");
            assert!(image.read(MAX_BYTES).unwrap() == unpacked, "{format:?} {image_id}");
            files += 1;
        }
        assert_eq!(files, 6, "{format:?}");
    }
}
