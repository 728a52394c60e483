use super::*;

const MAX_IMAGE_BYTES: u64 = 10;

/// A folder with two images, a list and an archive.
fn inputs() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("crops/a")).unwrap();
    fs::write(folder.path().join("crops/a/1.jpg"), b"one").unwrap();
    fs::write(folder.path().join("crops/2.PNG"), b"two").unwrap();
    fs::write(folder.path().join("crops/large.jpg"), [0; 11]).unwrap();
    fs::write(folder.path().join("crops/notes.md"), b"no image").unwrap();
    fs::write(folder.path().join("list.txt"), "./crops/a/1.jpg\ncrops/gone.jpg\n").unwrap();
    let mut builder = tar::Builder::new(fs::File::create(folder.path().join("shard.tar")).unwrap());
    for (name, content) in [("t/1.jpg", b"img".as_slice()), ("t/1.cls", b"7".as_slice())] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content).unwrap();
    }
    builder.into_inner().unwrap();
    folder
}

fn open(folder: &Path, names: &[&str], metadata: Option<&str>) -> Result<ImageSource, IntakeError> {
    let inputs: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    let metadata = metadata.map(|content| {
        let path = folder.join("metadata.csv");
        fs::write(&path, content).unwrap();
        path
    });
    let options = SourceOptions {
        root: None,
        metadata,
        prefix: String::new(),
        allow_unmatched: false,
        max_image_bytes: MAX_IMAGE_BYTES,
        times: TimeSources::default(),
    };
    ImageSource::open(&inputs, options)
}

#[test]
fn every_kind_of_input_names_its_images() {
    let folder = inputs();
    let names = ["crops", "crops/2.PNG", "list.txt", "shard.tar"];
    let mut source = open(folder.path(), &names, Some("image_id,camera_id\nt/1.jpg,c1\nz,c2\nlarge.jpg,c3\n")).unwrap();
    assert_eq!(source.total(), None);
    let items: Vec<_> = source.by_ref().collect();
    let ids: Vec<(&str, bool)> = items
        .iter()
        .map(|item| match item {
            Ok(entry) => (entry.image_id.as_str(), true),
            Err(skipped) => (skipped.image_id.as_str(), false),
        })
        .collect();
    let expected = [
        ("2.PNG", true),
        ("a/1.jpg", true),
        ("large.jpg", false),
        ("2.PNG", false),
        ("crops/a/1.jpg", true),
        ("crops/gone.jpg", false),
        ("t/1.jpg", true),
    ];
    assert_eq!(ids, expected);
    let member = items[6].clone().unwrap();
    assert_eq!(member.path(), None);
    assert_eq!(member.metadata.person_id.as_deref(), Some("7"));
    assert_eq!(member.metadata.camera_id.as_deref(), Some("c1"));
    assert_eq!(member.read(MAX_IMAGE_BYTES).unwrap(), b"img");
    let file = items[1].clone().unwrap();
    assert!(file.path().unwrap().ends_with("crops/a/1.jpg"));
    assert_eq!(file.read(MAX_IMAGE_BYTES).unwrap(), b"one");
    let summary = source.summary();
    assert_eq!((summary.unused_metadata, summary.first_unused_metadata), (1, vec!["z".to_owned()]));
    assert_eq!(summary.left_out.total(), 1);
}

#[test]
fn totals_are_known_without_archives() {
    let folder = inputs();
    let source = open(folder.path(), &["crops", "list.txt"], None).unwrap();
    assert_eq!(source.total(), Some(5));
    assert_eq!(source.count(), 5);
}

#[test]
fn wrong_inputs_are_named_at_once() {
    let folder = inputs();
    let message = |name: &str| open(folder.path(), &[name], None).err().unwrap().to_string();
    assert!(message("gone").contains("does not exist"));
    assert!(message("crops/notes.md").contains("notes.md") && message("crops/notes.md").contains(".tgz"));
}

#[test]
fn a_prefix_stands_before_every_id() {
    let folder = inputs();
    let metadata = folder.path().join("m.csv");
    fs::write(&metadata, "image_id,camera_id\nc1/t/1.jpg,c1\nlarge.jpg,c3\n2.PNG,c4\n").unwrap();
    let options = SourceOptions {
        root: None,
        metadata: Some(metadata),
        prefix: "c1/".to_owned(),
        allow_unmatched: false,
        max_image_bytes: MAX_IMAGE_BYTES,
        times: TimeSources::default(),
    };
    let inputs = ["crops", "shard.tar"].map(|name| folder.path().join(name));
    let mut source = ImageSource::open(&inputs, options).unwrap();
    let ids: Vec<String> = source
        .by_ref()
        .map(|item| item.map_or_else(|skipped| format!("-{}", skipped.image_id), |entry| entry.image_id))
        .collect();
    assert_eq!(ids, ["c1/2.PNG", "c1/a/1.jpg", "-c1/large.jpg", "c1/t/1.jpg"]);
    assert_eq!(source.summary().unused_metadata, 0);
}

#[test]
fn metadata_of_other_images_is_refused_before_any_is_given() {
    let folder = inputs();
    for names in [&["crops"][..], &["shard.tar"], &["list.txt", "shard.tar"]] {
        let opened = open(folder.path(), names, Some("image_id,camera_id\nx/1.jpg,c1\n"));
        assert!(matches!(opened.err(), Some(IntakeError::NothingMatches { .. })), "{names:?}");
        assert!(open(folder.path(), names, None).is_ok());
    }
    // One that fits is enough, also of an image that cannot be read.
    assert!(open(folder.path(), &["crops", "shard.tar"], Some("image_id,camera_id\nt/1.jpg,c1\nz,c1\n")).is_ok());
    assert!(open(folder.path(), &["crops"], Some("image_id\nlarge.jpg\n")).is_ok());
}

#[test]
fn archives_that_are_not_read_are_named() {
    let folder = inputs();
    for name in ["s.tar.zst", "s.tzst"] {
        fs::write(folder.path().join(name), b"\x28\xb5\x2f\xfd...").unwrap();
        let message = open(folder.path(), &[name], None).err().unwrap().to_string();
        assert!(message.contains("Zstandard") && message.contains("zstd -d"), "{message}");
    }
}
