//! Documents of all galleries, as the points of one collection.
//!
//! Metadata of a collection cannot be changed safely by two instances at once; a point can. Their vectors mean nothing.

use super::QdrantStore;
use super::points::point_id;
use crate::StoreError;
use qdrant_client::qdrant::{
    Condition, CreateCollection, CreateFieldIndexCollection, DeletePoints, Distance, FieldType, Filter, GetPoints,
    PointStruct, PointsSelector, ScrollPoints, UpsertPoints, Value, VectorParams, VectorsConfig, points_selector,
    vectors_config,
};
use std::collections::{BTreeMap, HashMap};

/// No gallery has a name with a dot, and no generation one without a number.
pub(super) const COLLECTION: &str = "descry.documents";

const GALLERY_FIELD: &str = "gallery";
const KEY_FIELD: &str = "key";
pub(super) const TEXT_FIELD: &str = "text";

/// What the store itself notes; no gallery is without a name.
const NO_GALLERY: &str = "";
const RETIRED_NUMBER_PREFIX: &str = "retired_number.";

/// Copies of each document in a cluster.
const MAX_COPIES: usize = 3;

/// More documents than a gallery can have.
const MAX_DOCUMENTS: u32 = 100_000;

impl QdrantStore {
    pub(super) async fn documents_of(&self, gallery: &str) -> Result<BTreeMap<String, String>, StoreError> {
        let request = ScrollPoints {
            collection_name: COLLECTION.to_owned(),
            filter: Some(of_gallery(gallery)),
            limit: Some(MAX_DOCUMENTS),
            with_payload: Some(true.into()),
            ..ScrollPoints::default()
        };
        let answer = self.read("reading documents", Some(gallery), |client| client.scroll(request.clone())).await;
        let answer = match answer {
            // Nobody has kept a document yet.
            Err(StoreError::GalleryNotFound { .. }) => return Ok(BTreeMap::new()),
            answer => answer?,
        };
        let text = |payload: &HashMap<String, Value>, field: &str| Some(payload.get(field)?.as_str()?.to_owned());
        let documents = answer.result.into_iter();
        Ok(documents
            .filter_map(|point| Some((text(&point.payload, KEY_FIELD)?, text(&point.payload, TEXT_FIELD)?)))
            .collect())
    }

    pub(super) async fn document_of(&self, gallery: &str, key: &str) -> Result<Option<String>, StoreError> {
        let request = GetPoints {
            collection_name: COLLECTION.to_owned(),
            ids: vec![point_id(gallery, key)],
            with_payload: Some(true.into()),
            ..GetPoints::default()
        };
        match self.read("reading a document", Some(gallery), |client| client.get_points(request.clone())).await {
            // Nobody has kept a document yet.
            Err(StoreError::GalleryNotFound { .. }) => Ok(None),
            Err(error) => Err(error),
            Ok(answer) => Ok(answer
                .result
                .into_iter()
                .find_map(|point| Some(point.payload.get(TEXT_FIELD)?.as_str()?.to_owned()))),
        }
    }

    pub(super) async fn write_document(
        &self,
        gallery: &str,
        key: &str,
        text: Option<String>,
    ) -> Result<(), StoreError> {
        let id = point_id(gallery, key);
        let Some(text) = text else {
            let points = points_selector::PointsSelectorOneOf::Points(vec![id].into());
            return self.delete_documents(PointsSelector { points_selector_one_of: Some(points) }).await;
        };
        self.create_document_collection().await?;
        let request = UpsertPoints {
            collection_name: COLLECTION.to_owned(),
            wait: Some(true),
            points: vec![document_point(gallery, key, &text)],
            ..UpsertPoints::default()
        };
        self.write("writing a document", Some(gallery), |client| client.upsert_points(request.clone())).await.map(drop)
    }

    pub(super) async fn delete_documents_of(&self, gallery: &str) -> Result<(), StoreError> {
        let points = points_selector::PointsSelectorOneOf::Filter(of_gallery(gallery));
        self.delete_documents(PointsSelector { points_selector_one_of: Some(points) }).await
    }

    /// The highest number of any generation that was deleted: numbers up to it are not given again, so that who still
    /// holds one writes into no other gallery.
    pub(super) async fn highest_retired_number(&self) -> Result<u32, StoreError> {
        let notes = self.documents_of(NO_GALLERY).await?.into_keys();
        let numbers = notes.filter_map(|key| key.strip_prefix(RETIRED_NUMBER_PREFIX)?.parse().ok());
        Ok(numbers.max().unwrap_or_default())
    }

    /// Before generations up to `number` are deleted. A note for each number, because two instances may note at once.
    pub(super) async fn retire_numbers(&self, number: u32) -> Result<(), StoreError> {
        let key = |number: u32| format!("{RETIRED_NUMBER_PREFIX}{number}");
        self.write_document(NO_GALLERY, &key(number), Some(String::new())).await?;
        // Lower ones say nothing more.
        let notes = self.documents_of(NO_GALLERY).await?.into_keys();
        let numbers = notes.filter_map(|note| note.strip_prefix(RETIRED_NUMBER_PREFIX)?.parse::<u32>().ok());
        for lower in numbers.filter(|&noted| noted < number) {
            self.write_document(NO_GALLERY, &key(lower), None).await?;
        }
        Ok(())
    }

    pub(super) async fn delete_documents(&self, points: PointsSelector) -> Result<(), StoreError> {
        let request = DeletePoints {
            collection_name: COLLECTION.to_owned(),
            wait: Some(true),
            points: Some(points),
            ..DeletePoints::default()
        };
        let deleted = self.write("deleting documents", Some(""), |client| client.delete_points(request.clone())).await;
        match deleted {
            Err(StoreError::GalleryNotFound { .. }) => Ok(()),
            deleted => deleted.map(drop),
        }
    }

    pub(super) async fn create_document_collection(&self) -> Result<(), StoreError> {
        let exists = || self.look_up("looking for documents", None, |client| client.collection_exists(COLLECTION));
        if exists().await? {
            return Ok(());
        }
        let vectors = VectorParams { size: 1, distance: Distance::Dot.into(), ..VectorParams::default() };
        // As many copies as a majority needs, if there are so many nodes: no search goes without its calibration, and no
        // switch without its notes, because one node is down.
        let copies = u32::try_from(self.nodes.count().min(MAX_COPIES)).unwrap_or(1);
        let request = CreateCollection {
            collection_name: COLLECTION.to_owned(),
            vectors_config: Some(VectorsConfig { config: Some(vectors_config::Config::Params(vectors)) }),
            replication_factor: (copies > 1).then_some(copies),
            write_consistency_factor: (copies > 2).then_some(copies / 2 + 1),
            ..CreateCollection::default()
        };
        let created: Result<_, StoreError> =
            self.change("making room for documents", None, |client| client.create_collection(request.clone())).await;
        // Another instance may have been faster.
        if let Err(error) = created
            && !exists().await?
        {
            return Err(error);
        }
        let index = CreateFieldIndexCollection {
            collection_name: COLLECTION.to_owned(),
            wait: Some(true),
            field_name: GALLERY_FIELD.to_owned(),
            field_type: Some(FieldType::Keyword.into()),
            ..CreateFieldIndexCollection::default()
        };
        self.change("indexing documents", None, |client| client.create_field_index(index.clone())).await.map(drop)
    }
}

pub(super) fn document_point(gallery: &str, key: &str, text: &str) -> PointStruct {
    let payload = [(GALLERY_FIELD, gallery), (KEY_FIELD, key), (TEXT_FIELD, text)];
    let payload = payload.map(|(field, value)| (field.to_owned(), Value::from(value)));
    PointStruct { id: Some(point_id(gallery, key)), payload: payload.into(), vectors: Some(vec![1.0].into()) }
}

fn of_gallery(gallery: &str) -> Filter {
    Filter::must([Condition::matches(GALLERY_FIELD, gallery.to_owned())])
}
