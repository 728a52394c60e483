use super::*;
use std::fs;
use std::io::Write as _;

type Outcome = Result<(String, KnownMetadata), (String, String)>;

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mtime(7);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn read(name: &str, bytes: &[u8]) -> Vec<Outcome> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let samples = ShardSamples::open(&path, 100).unwrap();
    let outcome = |item: Result<ImageEntry, SkippedEntry>| match item {
        Ok(image) => Ok((image.image_id, image.metadata)),
        Err(skipped) => Err((skipped.image_id, skipped.reason)),
    };
    samples.map(outcome).collect()
}

fn ids(outcomes: &[Outcome]) -> Vec<&str> {
    outcomes.iter().map(|outcome| outcome.as_ref().map_or_else(|(id, _)| id.as_str(), |(id, _)| id.as_str())).collect()
}

#[test]
fn sidecars_count_before_and_behind_the_image() {
    let outcomes = read(
        "s.tar",
        &archive(&[
            ("a/01.json", br#"{"__key__": "a/01", "camera_id": "c1", "weather": "rain", "person_id": 9}"#),
            ("a/01.jpg", b"x"),
            ("a/01.cls", b"7\n"),
            ("a/02.txt", b"a red coat"),
            ("a/02.png", b"y"),
            ("a/._02.png", b"resource fork"),
            ("a/02.npy", b"ignored"),
            ("03.jpg", b"z"),
        ]),
    );
    assert_eq!(ids(&outcomes), ["a/01.jpg", "a/02.png", "03.jpg"]);
    let known: Vec<&KnownMetadata> = outcomes.iter().map(|outcome| &outcome.as_ref().unwrap().1).collect();
    assert_eq!(known[0].person_id.as_deref(), Some("9"));
    assert_eq!(known[0].camera_id.as_deref(), Some("c1"));
    assert_eq!(known[0].attributes.len(), 1);
    assert_eq!(known[1].attributes["caption"], "a red coat");
    assert_eq!(known[2], &KnownMetadata::default());
}

#[test]
fn one_fault_costs_one_sample() {
    let outcomes = read("s.tar", &archive(&[("1.jpg", b"x"), ("1.json", b"{"), ("2.jpg", &[0; 101]), ("3.jpg", b"y")]));
    assert_eq!(ids(&outcomes), ["2.jpg", "1.jpg", "3.jpg"]);
    assert!(outcomes[1].as_ref().unwrap_err().1.contains("1.json"));
}

#[test]
fn names_with_dots_are_not_held_back() {
    let names: Vec<String> = (0..100).map(|number| format!("cam.{number:03}.jpg")).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), b"0123456789".as_slice())).collect();
    let bytes = archive(&members);
    assert_eq!(ids(&read("s.tar", &bytes)), names);
    let pair = archive(&[("c.1.jpg", b"x"), ("c.1.cls", b"7"), ("c.2.jpg", b"y"), ("c.2.cls", b"8")]);
    let people: Vec<_> = read("s.tar", &pair).into_iter().map(|outcome| outcome.unwrap().1.person_id).collect();
    assert_eq!(people, [Some("7".to_owned()), Some("8".to_owned())]);
}

#[test]
fn torn_archives_end_with_a_reason() {
    let bytes = archive(&[("1.jpg", b"x"), ("2.jpg", b"yyyy")]);
    let outcomes = read("s.tar", &bytes[..1024 + 512 + 2]);
    assert_eq!(ids(&outcomes), ["1.jpg", ""]);
    assert!(outcomes[1].as_ref().unwrap_err().1.contains("damaged"));
    assert!(read("s.tar", &[7; 2000])[0].is_err());
    assert!(read("s.tar", b"").is_empty());
}

#[test]
fn gzip_is_read_through() {
    let bytes = archive(&[("1.jpg", b"x"), ("1.cls", b"7")]);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&bytes).unwrap();
    let compressed = encoder.finish().unwrap();
    for name in ["s.tar.gz", "s.tgz"] {
        assert_eq!(read(name, &compressed), read("s.tar", &bytes));
    }
    assert!(read("s.tgz", &compressed[..compressed.len() / 2]).last().unwrap().is_err());
}
