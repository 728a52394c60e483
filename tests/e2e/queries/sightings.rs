//! Where else a found person was seen: all of it, or how much there is.

use super::of_parts;
use crate::queries::part;
use crate::stands::alone::SearchAlone;
use crate::stands::computed::{ComputedModel, DIMENSION};
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::{
    CreateGalleryRequest, EmbeddingPart, Filter, Hit, ImageMetadata, IndexEmbeddingsRequest, SearchRequest, StoredImage,
};
use prost_types::Timestamp;

const IMAGES_A_PERSON: u64 = 1_500;

/// What a search by person finds among two people with as many images each, where so many of one person were asked for.
async fn found(max_sightings: usize, of_one: u32, filter: Option<Filter>) -> Vec<Hit> {
    let service = SearchAlone::start(|search| search.limits.max_sightings = max_sightings).await;
    let mut client = service.client().await;
    let model = ComputedModel::named("any");
    let create = CreateGalleryRequest {
        name: "lobby".to_owned(),
        fingerprint: model.fingerprint.clone(),
        embedding_dimension: DIMENSION as u32,
        ..CreateGalleryRequest::default()
    };
    client.create_gallery(create).await.unwrap();
    for person in ["ann", "bob"] {
        let stored = |number: u64| {
            let metadata = ImageMetadata {
                person_id: Some(person.to_owned()),
                camera_id: Some(if number.is_multiple_of(10) { "door" } else { "yard" }.to_owned()),
                captured_at: Some(Timestamp { seconds: 1_700_000_000 - number as i64, nanos: 0 }),
                ..ImageMetadata::default()
            };
            let image_id = format!("{person}-{number}");
            let embedding = model.embedding(image_id.as_bytes());
            StoredImage { image_id, embedding, metadata: Some(metadata), ..StoredImage::default() }
        };
        let images: Vec<StoredImage> = (0..IMAGES_A_PERSON).map(stored).collect();
        for images in images.chunks(1_000) {
            let request = IndexEmbeddingsRequest {
                gallery: "lobby".to_owned(),
                fingerprint: model.fingerprint.clone(),
                images: images.to_vec(),
                ..Default::default()
            };
            client.index_embeddings(request).await.unwrap();
        }
    }
    let query = EmbeddingPart { values: model.embedding(b"query"), fingerprint: model.fingerprint.clone() };
    let search = of_parts(vec![part(What::Embedding(query), 1.0)], 10);
    let search = SearchRequest { group_by_person: true, filter, max_sightings: of_one, ..search };
    client.search(search).await.unwrap().into_inner().hits
}

#[tokio::test]
async fn more_than_a_page_of_sightings_is_whole() {
    for hit in found(10_000, 10_000, None).await {
        assert_eq!((hit.sightings.len() as u64, hit.sighting_count), (IMAGES_A_PERSON, IMAGES_A_PERSON));
        let times: Vec<i64> = hit.sightings.iter().map(|seen| seen.captured_at.unwrap().seconds).collect();
        assert!(times.is_sorted(), "by rising time");
    }
}

#[tokio::test]
async fn sightings_that_are_left_out_are_counted() {
    let hits = found(100, 0, None).await;
    assert_eq!(hits.len(), 2);
    for hit in hits {
        assert_eq!((hit.sightings.len(), hit.sighting_count), (50, IMAGES_A_PERSON));
    }
    let door = Filter { camera_ids: vec!["door".to_owned()], ..Filter::default() };
    for hit in found(100, 100, Some(door)).await {
        assert_eq!(
            (hit.sightings.len(), hit.sighting_count),
            (50, IMAGES_A_PERSON / 10),
            "of those that meet the filter"
        );
    }
}

#[tokio::test]
async fn as_many_sightings_of_each_person_come_as_were_asked_for() {
    for (of_one, expected) in [(0, 100), (7, 7), (1_000, 1_000)] {
        for hit in found(10_000, of_one, None).await {
            assert_eq!((hit.sightings.len(), hit.sighting_count), (expected, IMAGES_A_PERSON));
            // The first of all.
            let first = hit.sightings[0].captured_at.unwrap().seconds;
            assert_eq!(first, 1_700_000_000 - (IMAGES_A_PERSON as i64 - 1));
        }
    }
}
