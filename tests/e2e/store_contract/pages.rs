//! Promises about reading a gallery page by page.

use super::brute_force::{DECLARED, matches, random_images};
use super::gallery::{Random, assert_same_embedding, declaring, image, model, texts};
use super::stand::Stand;
use descry_store::{GalleryImage, PageRequest, SearchFilter, StoreError};
use std::collections::BTreeMap;

const LIMIT: usize = 7;

/// All pages one after another.
async fn read(stand: &Stand, name: &str, filter: &SearchFilter) -> Vec<GalleryImage> {
    let mut images = Vec::new();
    let mut request = PageRequest { filter: filter.clone(), after: None, limit: LIMIT };
    loop {
        let page = stand.store.page(name, request.clone()).await.unwrap();
        assert!(page.images.len() <= LIMIT);
        assert!(page.next.is_none() || page.images.len() == LIMIT, "only the last page has room left");
        images.extend(page.images);
        assert!(images.len() < 1_000, "pages without end");
        if page.next.is_none() {
            return images;
        }
        request.after = page.next;
    }
}

fn by_id(images: Vec<GalleryImage>) -> BTreeMap<String, GalleryImage> {
    let count = images.len();
    let by_id: BTreeMap<_, _> = images.into_iter().map(|image| (image.image_id.clone(), image)).collect();
    assert_eq!(by_id.len(), count, "no image comes twice");
    by_id
}

pub(super) async fn pages_give_each_image_once(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create(declaring(&name, 24, &DECLARED)).await.unwrap();
    // A whole number of pages, so that the last one is full.
    let images = random_images(&mut Random(31), 12 * LIMIT, 24);
    store.upsert(&name, &model("a"), images.clone()).await.unwrap();
    let persons = SearchFilter { person_ids: texts(&["person 1", "person 2"]), ..SearchFilter::default() };
    let late = SearchFilter { captured_from_ms: Some(0), ..SearchFilter::default() };
    let nobody = SearchFilter { person_ids: texts(&["stranger"]), ..SearchFilter::default() };
    let neither = SearchFilter { none: vec![persons.clone(), late.clone()], ..SearchFilter::default() };
    for filter in [SearchFilter::default(), persons, late, nobody, neither] {
        let read_once = read(&stand, &name, &filter).await;
        let order: Vec<String> = read_once.iter().map(|image| image.image_id.clone()).collect();
        let found = by_id(read_once);
        let expected: Vec<&GalleryImage> = images.iter().filter(|image| matches(image, &filter)).collect();
        assert_eq!(found.len(), expected.len(), "{filter:?}");
        for image in expected {
            let found = &found[&image.image_id];
            assert_eq!(found.metadata, image.metadata);
            assert_same_embedding(&found.embedding, &image.embedding);
        }
        let again = read(&stand, &name, &filter).await;
        assert!(again.iter().map(|image| &image.image_id).eq(&order), "the order does not change");
    }
}

pub(super) async fn writes_between_pages_lose_nothing(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    let staying: Vec<String> = (0..50).map(|number| format!("staying {number}")).collect();
    store.upsert(&name, &model("a"), staying.iter().map(|id| image(id, &[1.0, 0.0])).collect()).await.unwrap();
    let mut seen: Vec<String> = Vec::new();
    let mut request = PageRequest { limit: LIMIT, ..PageRequest::default() };
    for round in 0..1_000 {
        let page = store.page(&name, request.clone()).await.unwrap();
        let ids: Vec<String> = page.images.into_iter().map(|image| image.image_id).collect();
        // What was read goes, the last image of the page among it; others come, and some are replaced.
        store.delete_images(&name, &ids).await.unwrap();
        seen.extend(ids);
        if round < 20 {
            store.upsert(&name, &model("a"), vec![image(&format!("coming {round}"), &[0.0, 1.0])]).await.unwrap();
        }
        let unread = staying.iter().find(|id| !seen.contains(id));
        let replaced: Vec<GalleryImage> = unread.map(|id| image(id, &[1.0, 1.0])).into_iter().collect();
        store.upsert(&name, &model("a"), replaced).await.unwrap();
        request.after = page.next;
        if request.after.is_none() {
            break;
        }
    }
    let mut seen: Vec<String> = seen.into_iter().filter(|id| id.starts_with("staying")).collect();
    let mut staying = staying;
    seen.sort();
    staying.sort();
    assert_eq!(seen, staying, "each image that was there all the time comes exactly once");
}

pub(super) async fn places_that_are_none_are_refused(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    for place in ["no place", "", "-", "\"1\"", "1 OR 1=1"] {
        let request = PageRequest { after: Some(place.to_owned()), limit: LIMIT, ..PageRequest::default() };
        let refused = store.page(&name, request).await;
        let is_named = matches!(&refused, Err(StoreError::Invalid { field, .. }) if field == "page_token");
        assert!(is_named, "{place:?}: {refused:?}");
    }
    assert!(read(&stand, &name, &SearchFilter::default()).await.is_empty());
}
