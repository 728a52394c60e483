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
    ImageSource::open(&inputs, SourceOptions { root: None, metadata, max_image_bytes: MAX_IMAGE_BYTES })
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
    assert_eq!(source.unused_metadata(), (1, Some("z".to_owned())));
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
