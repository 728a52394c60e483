use super::*;
use crate::record::Kind;
use serde_json::json;
use std::collections::BTreeMap;

fn key(digit: u8) -> NameKey {
    NameKey::of_secret(&[digit; 32])
}

/// What names somebody, in whatever kind of name.
const SOMEBODY: &str = "mallory-4711";

/// What may stay clear.
const CLEAR: &str = "clear";

/// A record with each field filled. There is no `..` here on purpose: who adds a field decides whether it names somebody.
fn full_record() -> Record {
    let (somebody, clear) = (SOMEBODY.to_owned(), Some(CLEAR.to_owned()));
    let part = |asked| QueryPart { asked, weight: 1.0 };
    let names = json!([SOMEBODY]);
    let nested = json!({ "none": [{ "person_ids": names, "any": [{ "track_ids": names, "frame_ids": names }] }] });
    Record {
        kind: Kind::Request,
        begin_ms: 1,
        end_ms: 2,
        principal: clear.clone(),
        address: clear.clone(),
        rpc: clear.clone(),
        purpose: clear.clone(),
        case_number: clear.clone(),
        authorization: clear.clone(),
        verifier: clear.clone(),
        gallery: clear.clone(),
        generation: Some(1),
        fingerprint: clear.clone(),
        filter: Some(json!({
            "camera_ids": [CLEAR],
            "attributes": [{ "name": CLEAR, "values": [CLEAR] }],
            "captured_from_ms": 7,
            "image_ids": names,
            "all": [nested],
            "of_a_later_release": { "somebody": SOMEBODY },
        })),
        query: vec![
            part(Asked::Text(CLEAR.to_owned())),
            part(Asked::SealedText(CLEAR.to_owned())),
            part(Asked::HashedText(CLEAR.to_owned())),
            part(Asked::ImageSha256(CLEAR.to_owned())),
            part(Asked::ImageId(somebody.clone())),
            part(Asked::EmbeddingSha256(CLEAR.to_owned())),
        ],
        watch: clear.clone(),
        accepted: vec![somebody.clone()],
        rejected: vec![somebody.clone()],
        image_ids: vec![somebody.clone()],
        image_ids_sha256: Some(somebody.clone()),
        returned: vec![Returned { image_id: somebody, score: Some(0.5), probability: None }],
        calibrated_at_ms: Some(3),
        counts: BTreeMap::from([(CLEAR.to_owned(), 1)]),
        status: clear.clone(),
        note: clear.clone(),
        settings_sha256: clear.clone(),
        sha256: clear,
        name_key: None,
        cut: vec![CLEAR.to_owned()],
    }
}

#[test]
fn no_field_of_a_record_names_anybody_in_the_clear() {
    let text = |record: Record| String::from_utf8(record.into_json().unwrap()).unwrap();
    let before = text(full_record());
    assert_eq!(before.matches(SOMEBODY).count(), 11, "{before}");
    let kept = text(Names(Some(key(7))).keep(full_record()));
    assert!(!kept.contains(SOMEBODY), "{kept}");
    assert_eq!(kept.matches(CLEAR).count(), before.matches(CLEAR).count(), "nothing else changes");
    assert!(kept.contains(&format!(r#""name_key":"{}""#, key(7).mark())), "{kept}");
    assert_eq!(text(Names(None).keep(full_record())), before, "clear names are as they were");
}

#[test]
fn a_hash_is_that_of_a_name_of_one_kind_under_one_key() {
    let kinds = [Named::Image, Named::Person, Named::Track, Named::Frame, Named::ManyImages, Named::Other];
    let mut hashes: Vec<String> = kinds.into_iter().map(|named| key(7).hash(named, SOMEBODY)).collect();
    hashes.push(key(8).hash(Named::Image, SOMEBODY));
    hashes.push(key(7).hash(Named::Image, "mallory-4712"));
    let words = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    // Whoever may search could otherwise have the log tell them the key, or the hash of a name.
    hashes
        .extend([NAMES_OF, b"image\0mallory-4711", b"mallory-4711"].map(|text| hex(hmac::sign(&words, text).as_ref())));
    let distinct: std::collections::BTreeSet<&String> = hashes.iter().collect();
    assert_eq!(distinct.len(), hashes.len());
    assert!(hashes.iter().all(|hash| hash.len() == 64));
    assert_eq!(key(7).hash(Named::Image, SOMEBODY), hashes[0]);
    assert!(key(7).mark() != key(8).mark() && !hashes.iter().any(|hash| hash.starts_with(key(7).mark())));
}

#[test]
fn hashed_names_need_a_key() {
    let message = Names::open(KeptNames::Hashed, Path::new("")).err().unwrap().to_string();
    assert!(message.contains("audit.name_key_file") && message.contains("openssl rand"), "{message}");
    Names::open(KeptNames::Clear, Path::new("")).unwrap();
}

/// A name that nobody has is not one that all of them have.
#[test]
fn what_has_no_name_is_given_none() {
    let nameless = Returned { image_id: String::new(), score: None, probability: None };
    let record = Record { returned: vec![nameless], ..Record::new(Kind::Request) };
    assert_eq!(Names(Some(key(7))).keep(record).returned[0].image_id, "");
}
