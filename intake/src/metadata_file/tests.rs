use super::*;

fn read(name: &str, content: &[u8]) -> Result<MetadataTable, IntakeError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    read_metadata_table(&path)
}

fn check(name: &str, content: &str) -> Result<MetadataById, IntakeError> {
    read(name, content.as_bytes()).map(|table| table.by_id)
}

#[test]
fn all_text_formats_say_the_same() {
    let csv = "\u{feff}image_id,person_id,camera_id,captured_at,weather\n\
               a/1.jpg,7,c2,2026-05-01T12:30:00Z,rain\nb.jpg,,,,\n";
    let jsonl = r#"{"image_id": "a/1.jpg", "person_id": 7, "camera_id": "c2", "captured_at": "2026-05-01T12:30:00Z", "attributes": {"weather": "rain"}}

{"image_id": "b.jpg", "person_id": null, "weather": null}
"#;
    let from_csv = check("metadata.csv", csv).unwrap();
    let known = &from_csv["a/1.jpg"];
    assert_eq!(known.person_id.as_deref(), Some("7"));
    assert_eq!(known.captured_at_ms, Some(1_777_638_600_000));
    assert_eq!(known.attributes["weather"], "rain");
    assert_eq!(from_csv["b.jpg"], KnownMetadata::default());

    let array = format!("\u{feff}\n[{}]", jsonl.trim().replace("\n\n", ",\n"));
    let utf16: Vec<u8> = csv.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let padded = csv.replace(',', ", ").replace("image_id,", " image_id ,");
    for (name, content) in [
        ("m.jsonl", jsonl.as_bytes()),
        ("m.json", array.as_bytes()),
        ("m.csv", &utf16),
        ("m.csv", csv.replace(',', ";").as_bytes()),
        ("m.csv", csv.replace(',', "\t").as_bytes()),
        ("m.tsv", csv.replace(',', "\t").as_bytes()),
        ("m.csv", padded.as_bytes()),
    ] {
        let table = read(name, content).unwrap();
        assert_eq!(table.by_id, from_csv, "{name} {}", String::from_utf8_lossy(content));
        let is_unusual = name == "m.csv" && (content.contains(&b';') || content.contains(&b'\t'));
        assert_eq!(table.notes.len(), usize::from(is_unusual), "{name} {:?}", table.notes);
    }
}

#[test]
fn faults_name_the_line() {
    for (line, name, content) in [
        (2, "m.csv", "image_id,captured_at\na.jpg,yesterday\n"),
        (1, "m.csv", "person_id,camera_id\n1,2\n"),
        (2, "m.csv", "image_id,camera_id\n1,2,3\n"),
        (2, "m.jsonl", "\n7\n"),
        (2, "m.jsonl", "\n{\"image_id\": [1]}\n"),
        (2, "m.jsonl", "\n{\"image_id\": 1, \"a\": NaN}\n"),
        (1, "m.jsonl", "{\"image_id\": 1, \"a\": 1, \"a\": 2}\n"),
        (2, "m.json", "[{\"image_id\": 1},\n{\"person_id\": 1}]"),
    ] {
        let message = check(name, content).unwrap_err().to_string();
        assert!(message.contains(&format!("line {line}:")), "{message}");
    }
    let message = check("m.csv", "image_id\na\na\n").unwrap_err().to_string();
    assert!(message.contains("line 3") && message.contains("twice"), "{message}");
    assert!(matches!(check("m.xlsx", ""), Err(IntakeError::UnknownEnding { .. })));
    assert!(matches!(check("m.parquet", "image_id"), Err(IntakeError::Malformed { .. })));
    let message = check("m.csv", "image_id,a,b,a\n1,2,3,4\n").unwrap_err().to_string();
    assert!(message.contains("`a`") && message.contains("twice"), "{message}");
}

#[test]
fn files_without_a_record_are_refused() {
    for (name, content) in
        [("m.csv", ""), ("m.csv", "image_id,person_id\n"), ("m.jsonl", "\n \n"), ("m.json", "[]"), ("m.csv", "\n\n")]
    {
        let message = check(name, content).unwrap_err().to_string();
        assert!(message.contains("it is empty") || message.contains("no record"), "{name}: {message}");
    }
}

/// What `DataFrame.to_csv` and `to_json` write when nobody asks for anything: the row numbers come along.
#[test]
fn row_numbers_of_pandas_are_no_attributes() {
    for content in [
        ",image_id,person_id\n0,a.jpg,7\n1,b.jpg,8\n",
        "Unnamed: 0,image_id,person_id\n0,a.jpg,7\n1,b.jpg,8\n",
        "index,image_id,person_id\n0,a.jpg,7\n1,b.jpg,8\n",
        "index,image_id,person_id\n1,a.jpg,7\n2,b.jpg,8\n",
    ] {
        let table = read("m.csv", content.as_bytes()).unwrap();
        assert_eq!(table.notes.len(), 1, "{content}");
        assert!(table.by_id["b.jpg"].attributes.is_empty() && table.by_id["b.jpg"].person_id.as_deref() == Some("8"));
    }
    // An index that means something is kept.
    for content in ["image_id,index\na.jpg,7\nb.jpg,8\n", "image_id,index\na.jpg,0\nb.jpg,\n"] {
        let table = read("m.csv", content.as_bytes()).unwrap();
        assert!(table.notes.is_empty() && !table.by_id["a.jpg"].attributes.is_empty(), "{content}");
    }
}

#[test]
fn file_names_stand_for_ids() {
    let table = read("m.csv", b"filename,person_id\na.jpg,7\n").unwrap();
    assert_eq!(table.by_id["a.jpg"].person_id.as_deref(), Some("7"));
    assert!(table.notes[0].contains("`filename`"), "{:?}", table.notes);
    let message = check("m.csv", "img_path,pid\na.jpg,7\n").unwrap_err().to_string();
    assert!(message.contains("rename it to `image_id`"), "{message}");
}

#[test]
fn no_more_is_read_than_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.csv");
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    let message = read_metadata(&path).unwrap_err().to_string();
    assert!(message.contains("mebibyte"), "{message}");
}

/// pandas refuses both: records would become part of a cell, or a quote part of a value.
#[test]
fn quotes_take_nothing_along_that_is_not_theirs() {
    let open = "image_id,caption\na.png,\"red coat\nb.png,blue\nc.png,green\n";
    assert!(check("m.csv", open).unwrap_err().to_string().contains("nothing closes"));
    let spaced = "image_id, caption\na.png, \"red coat\"\n";
    assert!(check("m.csv", spaced).unwrap_err().to_string().contains("before a quote"));
    // Cells of several lines, and inches, are neither.
    let fine = "image_id,caption\na.png,\"red\ncoat\"\nb.png,a 5\" knife\nc.png,last\n";
    let by_id = check("m.csv", fine).unwrap();
    assert_eq!(by_id["a.png"].attributes["caption"], "red\ncoat");
    assert_eq!(by_id["b.png"].attributes["caption"], "a 5\" knife");
    let long = format!("image_id,caption\na.png,\"{}", "line\n".repeat(2 << 20));
    assert!(check("m.csv", &long).unwrap_err().to_string().contains("never closed"));
}
