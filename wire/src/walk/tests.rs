use super::*;
use proptest::prelude::*;

const fn field(number: u32, name: &'static str, kind: Kind, max_items: Option<u32>, max_bytes: Option<u32>) -> Field {
    Field { number, name, kind, max_items, max_bytes }
}

/// A filter that nests, with some of everything.
static FILTER: Shape = Shape {
    fields: &[
        field(1, "person_ids", Kind::Text, Some(3), Some(4)),
        field(2, "all", Kind::Message(&FILTER), Some(100_000), None),
        field(3, "order", Kind::Enumeration(&[0, 1, 7, -1]), None, None),
        field(4, "values", Kind::Fixed32, Some(5), None),
        field(5, "inner", Kind::Message(&FILTER), None, None),
        field(6, "limit", Kind::Varint, None, None),
        field(7, "content", Kind::Bytes, None, Some(8)),
        field(8, "orders", Kind::Enumeration(&[0, 1]), Some(4), None),
        field(9, "weights", Kind::Fixed64, Some(2), None),
        field(10, "ids", Kind::Message(&ID), Some(200_000), None),
    ],
    nests: true,
};

static ID: Shape = Shape { fields: &[field(1, "id", Kind::Text, None, Some(4))], nests: false };

/// A length-delimited field with a short content.
fn delimited(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    assert!(length < 128);
    [&[number << 3 | 2, length][..], content].concat()
}

fn refused(bytes: &[u8]) -> String {
    check(&FILTER, bytes).unwrap_err().to_string()
}

#[test]
fn what_is_allowed_passes() {
    let inner = [delimited(1, b"a"), vec![3 << 3, 7], vec![6 << 3, 0xFF, 1]].concat();
    let whole = [
        delimited(2, &inner),
        delimited(2, &[]),
        delimited(5, &inner),
        delimited(4, &[0; 20]),
        vec![9 << 3 | 1, 0, 0, 0, 0, 0, 0, 0, 0],
        delimited(8, &[0, 1, 1]),
        // A field that this release does not know, of each kind.
        delimited(15, b"later"),
        vec![14 << 3, 0x80, 1],
        vec![13 << 3 | 5, 1, 2, 3, 4],
        vec![12 << 3 | 1, 1, 2, 3, 4, 5, 6, 7, 8],
    ];
    check(&FILTER, &whole.concat()).unwrap();
    // A negative value of an enumeration takes ten bytes.
    check(&FILTER, &[3 << 3, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]).unwrap();
    check(&FILTER, &[]).unwrap();
}

#[test]
fn each_refusal_names_its_field_from_the_request_on() {
    let ids = delimited(1, b"ab").repeat(4);
    assert_eq!(refused(&ids), "person_ids: more than 3 items");
    let second = [delimited(2, &[]), delimited(2, &ids)].concat();
    assert_eq!(refused(&second), "all[1].person_ids: more than 3 items");
    assert_eq!(refused(&delimited(5, &second)), "inner.all[1].person_ids: more than 3 items");
    assert_eq!(refused(&delimited(1, b"abcde")), "person_ids[0]: 5 bytes are over the limit of 4 bytes");
    assert_eq!(refused(&delimited(7, &[0; 9])), "content: 9 bytes are over the limit of 8 bytes");
    assert_eq!(refused(&[3 << 3, 2]), "order: 2 is none of the values that this release knows");
    assert_eq!(refused(&delimited(8, &[1, 5])), "orders[0]: 5 is none of the values that this release knows");
    assert_eq!(refused(&delimited(4, &[0; 24])), "values: more than 5 items");
    assert_eq!(refused(&[4 << 3 | 5, 0, 0, 0, 0].repeat(6)), "values: more than 5 items");
    assert_eq!(refused(&delimited(5, &[]).repeat(2)), "inner: given more than once");
    assert_eq!(refused(&[1 << 3, 5]), "person_ids[0]: is of another kind on the wire");
    assert_eq!(refused(&[1 << 3 | 2, 9, 0]), "person_ids[0]: the message ends too early");
    assert_eq!(refused(&[0xFF; 11]), "message: a number has more than 64 bits");
    assert_eq!(refused(&[11 << 3 | 3]), "message: the bytes are no protocol buffer message");
    let mut deep = Vec::new();
    for _ in 0..=MAX_DEPTH {
        let length = u16::try_from(deep.len()).unwrap();
        let varint = if length < 128 { vec![length as u8] } else { vec![length as u8 | 0x80, (length >> 7) as u8] };
        deep = [vec![5 << 3 | 2], varint, deep].concat();
    }
    assert!(refused(&deep).ends_with("nested more than 40 deep"));
}

/// A field that holds others, however long.
fn outer(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap();
    let varint = [length as u8 | 0x80, (length >> 7) as u8 | 0x80, (length >> 14) as u8 | 0x80, (length >> 21) as u8];
    [&[number << 3 | 2][..], &varint, content].concat()
}

#[test]
fn lists_of_lists_count_together() {
    // 200,000 are allowed in one list, and as many in the next, but not both.
    let list = [10 << 3 | 2, 0].repeat(150_000);
    check(&FILTER, &list).unwrap();
    let error = "ids: the request holds more than 262144 items in all";
    assert_eq!(refused(&[outer(5, &list), list.clone()].concat()), error);
    let unknown = [15 << 3, 0].repeat(300_000);
    assert_eq!(refused(&unknown), "message: the request holds more than 262144 items in all");
    assert_eq!(refused(&[4 << 3 | 2, 0].repeat(6)), "values: more than 5 items", "empty lists count as well");
}

#[test]
fn messages_within_their_like_are_few() {
    let list = [2 << 3 | 2, 0].repeat(4_096);
    check(&FILTER, &list).unwrap();
    let nested = [outer(2, &list[..4_096]), outer(2, &list[4_096..])].concat();
    assert!(
        refused(&nested).ends_with("more than 4096 messages that may lie within each other"),
        "{}",
        refused(&nested)
    );
}

proptest! {
    #[test]
    fn no_bytes_break_the_walk(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = check(&FILTER, &bytes) {
            prop_assert!(!error.to_string().starts_with(':'));
        }
    }

    /// Whatever passes holds no more than is allowed, as an independent reading of the top level says.
    #[test]
    fn what_passes_is_within_its_limits(
        ids in proptest::collection::vec("[a-z]{0,6}", 0..6), order in 0_u8..9, floats in 0_usize..9,
    ) {
        let bytes = [
            ids.iter().flat_map(|id| delimited(1, id.as_bytes())).collect(),
            vec![3 << 3, order],
            delimited(4, &vec![0; floats * 4]),
        ];
        let allowed = ids.len() <= 3 && ids.iter().all(|id| id.len() <= 4) && [0, 1, 7].contains(&order) && floats <= 5;
        prop_assert_eq!(check(&FILTER, &bytes.concat()).is_ok(), allowed);
    }
}
