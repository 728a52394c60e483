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
    read_all(name, bytes).0
}

/// What comes of an archive, and what is left out: how many of each kind.
fn read_all(name: &str, bytes: &[u8]) -> (Vec<Outcome>, Vec<(String, u64)>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let mut samples = ShardSamples::open(&path, 100).unwrap();
    let outcome = |item: Result<ImageEntry, SkippedEntry>| match item {
        Ok(image) => Ok((image.image_id, image.metadata)),
        Err(skipped) => Err((skipped.image_id, skipped.reason)),
    };
    let outcomes = samples.by_ref().map(outcome).collect();
    let left_out = samples.left_out();
    (outcomes, left_out.kinds().map(|(name, kind)| (name.to_owned(), kind.count)).collect())
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
    assert_eq!(ids(&outcomes), ["1.jpg", "2.jpg", "3.jpg"]);
    assert!(outcomes[0].as_ref().unwrap_err().1.contains("1.json"));
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

/// Whatever is in an archive comes as an image or is named.
#[test]
fn everything_else_is_counted() {
    let members: [(&str, &[u8]); 14] = [
        ("1.json", b"{}"),
        ("2.jpg", b"y"),
        ("1.jpg", b"x"),
        ("3.cls", b"7"),
        ("4.img", b"\xff\xd8\xff\xe0"),
        ("4.cls", b"9"),
        ("5.image", b"GIF89a"),
        ("6.npy", b""),
        ("._6.jpg", b""),
        ("7.heic", b""),
        ("README", b""),
        ("8.json", &[b' '; 101]),
        ("8.jpg", &[0; 101]),
        ("9.jpg", b""),
    ];
    let (outcomes, left_out) = read_all("s.tar", &archive(&members));
    assert_eq!(ids(&outcomes), ["2.jpg", "1.jpg", "4.img", "8.jpg", "9.jpg"]);
    assert_eq!(outcomes[2].as_ref().unwrap().1.person_id.as_deref(), Some("9"));
    assert!(outcomes[4].as_ref().unwrap_err().1.contains("empty"));
    let counts: Vec<(&str, u64)> = left_out.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    let [heic, img, npy, bare, hidden, elsewhere, alone] = counts.as_slice() else { panic!("{counts:?}") };
    assert!(heic.0.starts_with(".heic files (images") && npy.0 == ".npy files", "{counts:?}");
    assert!(img.0.starts_with(".img and .image") && bare.0.contains("without an ending"), "{counts:?}");
    assert!(elsewhere.0.contains("stands elsewhere") && alone.0.ends_with("without an image"), "{counts:?}");
    assert!(hidden.0.contains("hidden") && counts.iter().all(|(_, count)| *count == 1), "{counts:?}");
    let (nothing, left_out) = read_all("s.tar", &archive(&[]));
    assert!(nothing.is_empty() && left_out[0].0.contains("inputs without"), "{left_out:?}");
}

/// Names with a dot before the ending make one sample of a whole archive, which does not fit into memory.
#[test]
fn an_image_keeps_what_tells_of_it_wherever_a_large_sample_is_cut() {
    let mut members: Vec<(String, Vec<u8>)> = vec![("cam.json".to_owned(), br#"{"camera_id": "c1"}"#.to_vec())];
    for number in 0..40 {
        members.push((format!("cam.{number:04}.cls"), format!("{number}").into_bytes()));
        members.push((format!("cam.{number:04}.png"), b"x".to_vec()));
        members.push((format!("cam.{number:04}.txt"), b"a coat".to_vec()));
    }
    let members: Vec<(&str, &[u8])> = members.iter().map(|(name, content)| (name.as_str(), &content[..])).collect();
    let (outcomes, left_out) = read_all("s.tar", &archive(&members));
    assert_eq!((outcomes.len(), left_out), (40, Vec::new()));
    for (number, outcome) in outcomes.iter().enumerate() {
        let (image_id, known) = outcome.as_ref().unwrap();
        assert_eq!(*image_id, format!("cam.{number:04}.png"));
        assert_eq!(known.person_id, Some(number.to_string()), "{image_id}");
        assert_eq!(known.camera_id.as_deref(), Some("c1"), "{image_id}");
        assert_eq!(known.attributes.get("caption").map(String::as_str), Some("a coat"), "{image_id}");
    }
}

#[test]
fn hidden_folders_are_left_out_as_on_a_disk() {
    let (outcomes, left_out) = read_all("s.tar", &archive(&[(".thumbs/a.png", b"x"), ("./b/c.png", b"y")]));
    assert_eq!(ids(&outcomes).len(), 1);
    assert_eq!(left_out.iter().map(|(_, count)| count).sum::<u64>(), 1);
}
