use super::*;
use proptest::prelude::*;

#[test]
fn what_is_cut_is_said() {
    let record = Record {
        purpose: Some("é".repeat(600)),
        image_ids: (0..20_000).map(|number| number.to_string()).collect(),
        filter: Some(serde_json::json!({ "person_ids": vec!["p".repeat(100); 1_000] })),
        ..Record::new(Kind::Request)
    };
    let json = record.into_json().unwrap();
    let kept: Record = serde_json::from_slice(&json).unwrap();
    assert_eq!(kept.purpose, Some("é".repeat(512)));
    assert_eq!((kept.image_ids.len(), kept.counts["image_ids"]), (MAX_ENTRIES, 20_000));
    assert_eq!(kept.filter, None);
    assert_eq!(kept.cut, ["purpose", "image_ids", "filter"]);
}

#[test]
fn an_ordinary_record_is_whole_and_short() {
    let returned = Returned { image_id: "a.jpg".to_owned(), score: Some(0.25), probability: None };
    let query = QueryPart { asked: Asked::Text("a man".to_owned()), weight: 1.0 };
    let record = Record { returned: vec![returned], query: vec![query], ..Record::new(Kind::Search) };
    let json = record.clone().into_json().unwrap();
    assert_eq!(serde_json::from_slice::<Record>(&json).unwrap(), record);
    let text = String::from_utf8(json).unwrap();
    assert!(text.contains(r#""query":[{"text":"a man","weight":1.0}]"#), "{text}");
    assert!(!text.contains("null") && !text.contains("[]"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever somebody sends, a line has an end.
    #[test]
    fn no_record_is_longer_than_allowed(letter in any::<char>(), letters in 0_usize..600, entries in 0_usize..600) {
        let text = letter.to_string().repeat(letters);
        let record = Record {
            note: Some(text.clone()),
            gallery: Some(text.clone()),
            image_ids: vec![text.clone(); entries],
            accepted: vec![text.clone(); entries],
            query: vec![QueryPart { asked: Asked::Text(text), weight: -1.0 }; entries],
            ..Record::new(Kind::Request)
        };
        let json = record.into_json().unwrap();
        prop_assert!(json.len() <= MAX_RECORD_BYTES, "{}", json.len());
    }
}

/// Tells the names of a structure's fields, and nothing else.
struct FieldNames<'found>(&'found mut Vec<&'static str>);

impl<'de> serde::Deserializer<'de> for FieldNames<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<Visitor: serde::de::Visitor<'de>>(self, _: Visitor) -> Result<Visitor::Value, Self::Error> {
        Err(serde::de::Error::custom("no structure"))
    }

    fn deserialize_struct<Visitor: serde::de::Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: Visitor,
    ) -> Result<Visitor::Value, Self::Error> {
        self.0.extend(fields);
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq
        tuple tuple_struct map enum identifier ignored_any
    }
}

/// A field that nobody can look up is one that nobody can hand over to who asks for it.
#[test]
fn each_field_and_kind_is_documented() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/AUDIT.md");
    let text = std::fs::read_to_string(path).unwrap();
    let table = text.split_once("## Fields").unwrap().1;
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    let mut fields = vec!["sequence", "previous", "hash"];
    Record::deserialize(FieldNames(&mut fields)).unwrap_err();
    assert_eq!(documented, fields);
    for kind in
        ["request", "search", "begun", "chunk", "matches", "sweep", "refused", "start", "stop", "file", "mended"]
    {
        assert!(text.contains(&format!("`{kind}`")), "{kind}");
    }
}
