//! Documents that are changed only where they are as expected.
//!
//! The server compares and writes in one step on each copy of the point, and its leader orders the writes
//! (`WriteOrdering::Strong`), so of two instances that expect the same one wins. What it does not say is whether the
//! condition was met: the document is read again. Hence the limits. An instance may be told no although it won, when
//! another one replaced its text before it was read; it must act as if it had lost. With copies on several nodes a reading
//! may come from one that lags behind. And servers before Qdrant 1.17 know no such conditions and write in any case.

use super::QdrantStore;
use super::documents::{COLLECTION, TEXT_FIELD, document_point};
use super::points::point_id;
use crate::StoreError;
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_client::qdrant::{
    Condition, DeletePoints, Filter, PointsSelector, UpdateMode, UpsertPoints, WriteOrdering, WriteOrderingType,
};

impl QdrantStore {
    /// Whether the document is as `text` says now.
    pub(super) async fn replace_document_of(
        &self,
        gallery: &str,
        key: &str,
        expected: Option<&str>,
        text: Option<String>,
    ) -> Result<bool, StoreError> {
        let condition = expected.map(|expected| as_expected(gallery, key, expected));
        match &text {
            Some(text) => self.write_if(condition, gallery, key, text).await?,
            None => {
                if let Some(condition) = condition {
                    self.delete_if(condition).await?;
                }
            }
        }
        Ok(self.document_of(gallery, key).await? == text)
    }

    /// Writes a document where it meets a condition, or without one where there is none yet.
    async fn write_if(
        &self,
        condition: Option<Filter>,
        gallery: &str,
        key: &str,
        text: &str,
    ) -> Result<(), StoreError> {
        self.create_document_collection().await?;
        let mode = if condition.is_some() { UpdateMode::UpdateOnly } else { UpdateMode::InsertOnly };
        let request = UpsertPoints {
            collection_name: COLLECTION.to_owned(),
            wait: Some(true),
            points: vec![document_point(gallery, key, text)],
            ordering: Some(WriteOrdering { r#type: WriteOrderingType::Strong.into() }),
            update_filter: condition,
            update_mode: Some(mode.into()),
            ..UpsertPoints::default()
        };
        self.write("replacing a document", None, |client| client.upsert_points(request.clone())).await.map(drop)
    }

    async fn delete_if(&self, condition: Filter) -> Result<(), StoreError> {
        let points = PointsSelector { points_selector_one_of: Some(PointsSelectorOneOf::Filter(condition)) };
        let request = DeletePoints {
            collection_name: COLLECTION.to_owned(),
            wait: Some(true),
            points: Some(points),
            ordering: Some(WriteOrdering { r#type: WriteOrderingType::Strong.into() }),
            ..DeletePoints::default()
        };
        match self.write("removing a document", Some(""), |client| client.delete_points(request.clone())).await {
            // Nobody has kept a document yet.
            Err(StoreError::GalleryNotFound { .. }) => Ok(()),
            removed => removed.map(drop),
        }
    }
}

fn as_expected(gallery: &str, key: &str, text: &str) -> Filter {
    // A list of one: of a text with spaces the client makes a search for its words.
    let is_text = Condition::matches(TEXT_FIELD, vec![text.to_owned()]);
    Filter::must([Condition::has_id([point_id(gallery, key)]), is_text])
}
