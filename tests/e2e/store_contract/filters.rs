//! Promises about filters, against the plainest search that can be written.

use super::brute_force::{DECLARED, assert_hits_are_right, matches, random_filter, random_images};
use super::gallery::{Random, assert_undeclared, declaring, ids, image, model, query, with_attribute};
use super::stand::Stand;
use descry_store::{NearestQuery, PageRequest, SearchFilter};

const DIMENSION: usize = 12;

pub(super) async fn every_filter_agrees_with_checking_each_image(stand: Stand) {
    let (store, name, mut random) = (&stand.store, stand.name("street"), Random(7));
    let images = random_images(&mut random, 150, DIMENSION);
    store.create(declaring(&name, DIMENSION, &DECLARED)).await.unwrap();
    store.upsert(&name, &model("a"), images.clone()).await.unwrap();

    let mut restricted = 0;
    for _ in 0..120 {
        let limit = [1, 5, 20, 200][random.below(4) as usize];
        let query = NearestQuery {
            filter: random_filter(&mut random),
            ..NearestQuery::new(random.embedding(DIMENSION), model("a"), limit)
        };
        let hits = store.nearest(&name, query.clone()).await.unwrap();
        assert_hits_are_right(&hits, &query, &images);
        let matching = images.iter().filter(|image| matches(image, &query.filter)).count();
        assert_eq!(store.count(&name, &query.filter).await.unwrap(), matching as u64, "{:?}", query.filter);
        restricted += usize::from(matching > 0 && matching < images.len());
    }
    assert!(restricted > 40, "the random filters must choose some images and not others: {restricted}");
}

pub(super) async fn times_are_half_open_and_images_without_time_never_match(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 1).await.unwrap();
    let largest = 1_i64 << 53;
    let times = [None, Some(-largest), Some(-1), Some(0), Some(1_700_000_000_000), Some(largest)];
    let images = times.iter().enumerate().map(|(number, time)| {
        let mut image = image(&number.to_string(), &[1.0]);
        image.metadata.captured_at_ms = *time;
        // Every image has such a time.
        image.metadata.indexed_at_ms = time.unwrap_or(7);
        image
    });
    store.upsert(&name, &model("a"), images.collect()).await.unwrap();

    let ranges: [(Option<i64>, Option<i64>, &[&str]); 10] = [
        (None, None, &["0", "1", "2", "3", "4", "5"]),
        (Some(-1), Some(1_700_000_000_000), &["2", "3"]),
        (Some(-1), Some(1_700_000_000_001), &["2", "3", "4"]),
        (Some(0), None, &["3", "4", "5"]),
        (None, Some(0), &["1", "2"]),
        (Some(0), Some(0), &[]),
        (Some(5), Some(-5), &[]),
        (Some(i64::MIN), Some(i64::MAX), &["1", "2", "3", "4", "5"]),
        (Some(largest), None, &["5"]),
        (None, Some(largest), &["1", "2", "3", "4"]),
    ];
    for (from, before, expected) in ranges {
        let captured = SearchFilter { captured_from_ms: from, captured_before_ms: before, ..SearchFilter::default() };
        let hits = store.nearest(&name, NearestQuery { filter: captured, ..query(&[1.0], 99) }).await.unwrap();
        assert_eq!(ids(&hits), expected, "captured from {from:?} before {before:?}");

        let indexed = SearchFilter { indexed_from_ms: from, indexed_before_ms: before, ..SearchFilter::default() };
        let hits = store.nearest(&name, NearestQuery { filter: indexed, ..query(&[1.0], 99) }).await.unwrap();
        let in_range = from.is_none_or(|from| from <= 7) && before.is_none_or(|before| 7 < before);
        let expected = ["0"].iter().filter(|_| in_range).chain(expected.iter().filter(|id| **id != "0"));
        assert_eq!(ids(&hits), expected.copied().collect::<Vec<_>>(), "indexed from {from:?} before {before:?}");
    }
    let untimed = SearchFilter::without_capture_time();
    let hits = store.nearest(&name, NearestQuery { filter: untimed, ..query(&[1.0], 99) }).await.unwrap();
    assert_eq!(ids(&hits), ["0"], "without capture time");
}

pub(super) async fn values_of_attributes_may_be_any_text(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create(declaring(&name, 1, &["coat", "bag_2"])).await.unwrap();
    let values = [
        "red",
        "Red",
        " red",
        "dark  blue",
        "\"wool\", 'new'; --",
        "back\\slash",
        "ключ 😀",
        "e\u{301}",
        "\u{e9}",
        "line\nbreak",
        "",
        "[1]",
        "null",
        "7",
    ];
    let images = values.iter().enumerate().map(|(number, value)| {
        let mut image = image(&format!("{number:02}"), &[1.0]);
        image.metadata.attributes.insert("coat".to_owned(), (*value).to_owned());
        image.metadata.attributes.insert("note".to_owned(), "of all".to_owned());
        image
    });
    let mut images: Vec<_> = images.collect();
    images.push(image("without", &[1.0]));
    store.upsert(&name, &model("a"), images).await.unwrap();

    for (number, value) in values.iter().enumerate() {
        let filter = with_attribute("coat", &[*value, "no such coat"]);
        assert_eq!(store.count(&name, &filter).await.unwrap(), 1, "{value:?}");
        let hits = store.nearest(&name, NearestQuery { filter, ..query(&[1.0], 99) }).await.unwrap();
        assert_eq!(ids(&hits), [format!("{number:02}")], "{value:?}");
        assert_eq!(hits[0].metadata.attributes["note"], "of all");
    }
    assert_eq!(store.count(&name, &with_attribute("coat", &values)).await.unwrap(), values.len() as u64);
    assert_eq!(store.count(&name, &with_attribute("bag_2", &values)).await.unwrap(), 0, "nothing has it");
    let none = SearchFilter { none: vec![with_attribute("coat", &values)], ..SearchFilter::default() };
    assert_eq!(store.count(&name, &none).await.unwrap(), 1);
}

pub(super) async fn undeclared_attributes_are_refused(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create(declaring(&name, 1, &["coat"])).await.unwrap();
    let mut written = image("1", &[1.0]);
    written.metadata.attributes.insert("hat".to_owned(), "red".to_owned());
    store.upsert(&name, &model("a"), vec![written]).await.unwrap();

    let hat = with_attribute("hat", &["red"]);
    let coat = with_attribute("coat", &["red"]);
    let nested = SearchFilter { any: vec![coat.clone(), hat.clone()], ..SearchFilter::default() };
    let filters = [
        hat.clone(),
        SearchFilter { all: vec![hat.clone()], ..SearchFilter::default() },
        SearchFilter { none: vec![hat], ..SearchFilter::default() },
        SearchFilter { none: vec![nested], ..coat },
    ];
    for filter in filters {
        let query = NearestQuery { filter: filter.clone(), ..query(&[1.0], 9) };
        assert_undeclared(store.nearest(&name, query.clone()).await, "hat");
        assert_undeclared(store.nearest_persons(&name, query).await, "hat");
        assert_undeclared(store.count(&name, &filter).await, "hat");
        assert_undeclared(store.delete_matching(&name, &filter).await, "hat");
        let page = PageRequest { filter, limit: 9, ..PageRequest::default() };
        assert_undeclared(store.page(&name, page).await, "hat");
    }
    assert_eq!(store.gallery(&name).await.unwrap().images, 1);
}
