//! Persons and tracks through the whole service, on both stores, against scoring each of them here.

use super::{ids, image_id, keep_in, of_parts, part};
use crate::stands::Client;
use crate::stands::alone::SearchAlone;
use crate::stands::computed::{ComputedModel, DIMENSION, cosine};
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::search_batch_response::result::Outcome;
use descry_proto::search::v1::{
    CreateGalleryRequest, EmbeddingPart, Filter, Fusion, GroupBy, Hit, ImageMetadata, IndexEmbeddingsRequest, Pool,
    SearchBatchRequest, SearchRequest, StoredImage,
};
use descry_qdrant_server::TestQdrant;
use std::collections::{BTreeMap, BTreeSet};
use tonic::Code;

const IMAGES: u64 = 150;

/// Sightings of all hits of one search together: fewer than there are images.
const MAX_SIGHTINGS: usize = 60;

/// A person, or a track with its camera.
type Group = (Option<String>, String);

struct Street {
    client: Client,
    model: ComputedModel,
    images: Vec<StoredImage>,
}

fn unit(values: Vec<f32>) -> Vec<f32> {
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.into_iter().map(|value| value / length).collect()
}

fn sum(weighted: &[(f32, &[f32])]) -> Vec<f32> {
    let mut sum = vec![0.0; DIMENSION];
    for (weight, values) in weighted {
        sum.iter_mut().zip(*values).for_each(|(sum, value)| *sum += weight * value);
    }
    unit(sum)
}

fn group(metadata: &ImageMetadata, by: GroupBy) -> Option<Group> {
    match by {
        GroupBy::Person => Some((None, metadata.person_id.clone()?)),
        GroupBy::Track => Some((metadata.camera_id.clone(), metadata.track_id.clone()?)),
        GroupBy::Unspecified | GroupBy::Image => None,
    }
}

fn group_of(hit: &Hit, by: GroupBy) -> Group {
    group(hit.metadata.as_ref().unwrap(), by).unwrap()
}

impl Street {
    /// Images of which those of a person have something in common; tracks of the same names before several cameras, and
    /// before none.
    async fn fill(service: &SearchAlone) -> Self {
        let (mut client, model) = (service.client().await, ComputedModel::named("any"));
        let create = CreateGalleryRequest {
            name: "lobby".to_owned(),
            fingerprint: model.fingerprint.clone(),
            embedding_dimension: DIMENSION as u32,
            ..CreateGalleryRequest::default()
        };
        client.create_gallery(create).await.unwrap();
        let stored = |number: u64| {
            let (image_id, person) = (format!("{number:03}.jpg"), number * 7 % 13);
            let common = model.embedding(format!("person {person}").as_bytes());
            let own = model.embedding(image_id.as_bytes());
            let metadata = ImageMetadata {
                person_id: (person > 0).then(|| person.to_string()),
                camera_id: [Some("a"), Some("b"), None][(number % 3) as usize].map(str::to_owned),
                track_id: (!number.is_multiple_of(5)).then(|| (person % 4).to_string()),
                ..ImageMetadata::default()
            };
            let embedding = sum(&[(1.0, &common), (0.8, &own)]);
            StoredImage { image_id, embedding, metadata: Some(metadata), ..StoredImage::default() }
        };
        let images: Vec<StoredImage> = (0..IMAGES).map(stored).collect();
        let request = IndexEmbeddingsRequest {
            gallery: "lobby".to_owned(),
            fingerprint: model.fingerprint.clone(),
            images: images.clone(),
            ..IndexEmbeddingsRequest::default()
        };
        client.index_embeddings(request).await.unwrap();
        Self { client, model, images }
    }

    fn embedding(&self, of: &str) -> What {
        let values = self.model.embedding(of.as_bytes());
        What::Embedding(EmbeddingPart { values, fingerprint: self.model.fingerprint.clone() })
    }

    async fn search(&mut self, request: SearchRequest) -> Vec<Hit> {
        self.client.search(request).await.unwrap().into_inner().hits
    }

    /// The images of each group that meet a condition.
    fn groups(&self, by: GroupBy, meets: impl Fn(&ImageMetadata) -> bool) -> BTreeMap<Group, Vec<&StoredImage>> {
        let mut groups: BTreeMap<Group, Vec<&StoredImage>> = BTreeMap::new();
        for image in &self.images {
            let metadata = image.metadata.as_ref().unwrap();
            if let Some(group) = group(metadata, by).filter(|_| meets(metadata)) {
                groups.entry(group).or_default().push(image);
            }
        }
        groups
    }

    /// Hits are all groups, best first, with the scores that they have when each is scored alone.
    fn check(&self, hits: &[Hit], query: &[f32], by: GroupBy, pool: Pool, meets: impl Fn(&ImageMetadata) -> bool) {
        let mut groups = self.groups(by, meets);
        assert_eq!(hits.len(), groups.len(), "{by:?} {pool:?}");
        assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
        for hit in hits {
            let images = groups.remove(&group_of(hit, by)).expect("each group comes once");
            let of = |image: &&StoredImage| cosine(&image.embedding, query);
            let best = images.iter().map(of).fold(f32::MIN, f32::max);
            let weighted: Vec<(f32, &[f32])> = images.iter().map(|image| (1.0, image.embedding.as_slice())).collect();
            let mean = cosine(&sum(&weighted), query);
            let shown = images.iter().find(|image| image.image_id == hit.image_id).expect("an image of the group");
            assert!((of(shown) - best).abs() < 1e-4, "its best image stands for it");
            let expected = if pool == Pool::Mean { mean } else { best };
            assert!((hit.score - expected).abs() < 1e-4, "{by:?} {pool:?}: {} instead of {expected}", hit.score);
            assert_eq!(hit.sighting_count, images.len() as u64, "{:?}", group_of(hit, by));
            if pool == Pool::Mean {
                assert_eq!(hit.pooled_images, images.len() as u64);
                assert!((hit.image_score.unwrap() - best).abs() < 1e-4);
            } else {
                assert_eq!((hit.pooled_images, hit.image_score), (0, None));
            }
            let is_there = |id: &str| images.iter().any(|image| image.image_id == id);
            assert!(!hit.sightings.is_empty() && hit.sightings.iter().all(|sighting| is_there(&sighting.image_id)));
        }
        let named: usize = hits.iter().map(|hit| hit.sightings.len()).sum();
        assert!(named <= MAX_SIGHTINGS, "{named}");
    }
}

async fn check_groups(street: &mut Street, by: GroupBy, pool: Pool) {
    let request = SearchRequest { group_by: by.into(), pool: pool.into(), ..SearchRequest::default() };
    let parts = vec![part(street.embedding("person 3"), 1.0)];
    let one = SearchRequest { gallery: "lobby".to_owned(), parts, limit: 100, ..request.clone() };
    let whole = street.search(one.clone()).await;
    street.check(&whole, &street.model.embedding(b"person 3"), by, pool, |_| true);
    let exact = street.search(SearchRequest { exact: true, ..one.clone() }).await;
    assert_eq!(ids(&exact), ids(&whole));

    // Pages go on where the last one ended; 5 divides neither 12 nor 13 groups.
    let mut pages = Vec::new();
    while pages.len() < whole.len() {
        let page = SearchRequest { offset: pages.len() as u32, limit: 5, ..one.clone() };
        let page = street.search(page).await;
        assert!(!page.is_empty());
        pages.extend(page);
    }
    assert_eq!(ids(&pages), ids(&whole));
    assert!(
        pages.iter().zip(&whole).all(|(a, b)| (a.score - b.score).abs() < 1e-6 && a.sighting_count == b.sighting_count)
    );

    // What does not meet the filter is in no mean.
    let filter = Filter { camera_ids: vec!["b".to_owned()], ..Filter::default() };
    let before_b = street.search(SearchRequest { filter: Some(filter), ..one.clone() }).await;
    let is_there = |metadata: &ImageMetadata| metadata.camera_id.as_deref() == Some("b");
    street.check(&before_b, &street.model.embedding(b"person 3"), by, pool, is_there);

    // A least score is one of groups.
    let between = (whole[3].score + whole[4].score) / 2.0;
    let least = street.search(SearchRequest { min_score: Some(between), ..one.clone() }).await;
    assert_eq!(ids(&least), ids(&whole[..4]));

    check_parts(street, &request, by, pool).await;

    // What repeats a better group is left out: by so little that some here do.
    let alone = street.search(SearchRequest { suppress_duplicates_above: 0.02, ..one }).await;
    assert!(!alone.is_empty() && alone.len() < whole.len() && alone[0].image_id == whole[0].image_id);
}

async fn check_parts(street: &mut Street, request: &SearchRequest, by: GroupBy, pool: Pool) {
    let parts = vec![
        part(street.embedding("person 3"), 1.0),
        part(street.embedding("person 5"), 0.6),
        part(image_id("008.jpg"), -0.4),
    ];
    let several = SearchRequest { gallery: "lobby".to_owned(), parts, limit: 100, ..request.clone() };
    let hits = street.search(several.clone()).await;
    let (three, five) = (street.model.embedding(b"person 3"), street.model.embedding(b"person 5"));
    let query = sum(&[(1.0, &three), (0.6, &five), (-0.4, &street.images[8].embedding)]);
    street.check(&hits, &query, by, pool, |_| true);
    for hit in &hits {
        let added: f32 = hit.contributions.iter().sum();
        assert!(hit.contributions.len() == 3 && (added - hit.score).abs() < 1e-4, "{added}: {hit:?}");
    }
    let fused = SearchRequest { fusion: Fusion::ReciprocalRank.into(), ..several.clone() };
    let fused = street.search(fused).await;
    let different: BTreeSet<Group> = fused.iter().map(|hit| group_of(hit, by)).collect();
    assert_eq!((fused.len(), different.len()), (hits.len(), hits.len()), "each group comes once");
    for hit in &fused {
        let added: f32 = hit.contributions.iter().sum();
        assert!((added - hit.score).abs() < 1e-6, "{hit:?}");
        assert_eq!(hit.sighting_count, street.groups(by, |_| true)[&group_of(hit, by)].len() as u64);
    }
    let batch = SearchBatchRequest { searches: vec![several; 2] };
    let results = street.client.search_batch(batch).await.unwrap().into_inner().results;
    for result in results {
        let Some(Outcome::Response(response)) = result.outcome else { panic!("{result:?}") };
        assert_eq!(ids(&response.hits), ids(&hits), "each as if it were alone");
    }
}

/// The earlier field means what it meant, and contradictions are told.
async fn check_earlier_form(street: &mut Street) {
    let request = of_parts(vec![part(street.embedding("person 3"), 1.0)], 20);
    let earlier = street.search(SearchRequest { group_by_person: true, ..request.clone() }).await;
    let of_best = SearchRequest { group_by: GroupBy::Person.into(), pool: Pool::Best.into(), ..request.clone() };
    assert_eq!(street.search(of_best).await, earlier);
    let usual = street.search(SearchRequest { group_by: GroupBy::Person.into(), ..request.clone() }).await;
    street.check(&usual, &street.model.embedding(b"person 3"), GroupBy::Person, Pool::Mean, |_| true);
    let track = GroupBy::Track.into();
    for (refused, field) in [
        (SearchRequest { group_by_person: true, group_by: track, ..request.clone() }, "group_by_person"),
        (SearchRequest { pool: Pool::Mean.into(), ..request }, "pool"),
    ] {
        let status = street.client.search(refused).await.unwrap_err();
        assert!(status.code() == Code::InvalidArgument && status.message().contains(field), "{status}");
    }
}

async fn check_all(service: SearchAlone) {
    let mut street = Street::fill(&service).await;
    for by in [GroupBy::Person, GroupBy::Track] {
        for pool in [Pool::Best, Pool::Mean] {
            check_groups(&mut street, by, pool).await;
        }
    }
    check_earlier_form(&mut street).await;
}

#[tokio::test]
async fn persons_and_tracks_of_the_embedded_store() {
    check_all(SearchAlone::start(|search| search.limits.max_sightings = MAX_SIGHTINGS).await).await;
}

#[tokio::test]
async fn persons_and_tracks_of_qdrant() {
    let server = TestQdrant::start().unwrap();
    let few = |search: &mut descry_search::SearchConfig| {
        keep_in(&server, search);
        search.limits.max_sightings = MAX_SIGHTINGS;
    };
    check_all(SearchAlone::start(few).await).await;
}
