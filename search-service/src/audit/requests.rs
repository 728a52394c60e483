//! What each message asks for, as a record says it.

use super::stream::hash_of_ids;
use crate::grpc::search_filter;
use descry_audit::{Asked, AuditError, QueryPart, Record, Words};
use descry_model::sha256_hex;
use descry_proto::search::v1 as proto;
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::search_request::Query;
use descry_store::SearchFilter;

/// Parts of a query that are written down; a query of more is refused by the limits anyway.
const MAX_PARTS: usize = 64;

/// A message that the service is asked with.
pub(crate) trait AuditedRequest {
    /// The gallery that it names, as it addresses it; empty where it concerns none.
    fn gallery(&self) -> &str;

    /// Whether it changes anything: then it is recorded before as well, so that nothing is changed without a word.
    fn changes(&self) -> bool {
        false
    }

    /// Writes down what it asks for, but for the gallery.
    ///
    /// # Errors
    /// [`AuditError`] where words cannot be kept as the settings say.
    fn describe(&self, _record: &mut Record, _words: &Words) -> Result<(), AuditError> {
        Ok(())
    }
}

/// Messages of which there is no more to say than the gallery, and what they count.
macro_rules! plain {
    ($($message:ty: $gallery:expr, $changes:expr $(, $what:literal = $count:expr)*;)+) => {
        $(
            impl AuditedRequest for $message {
                fn gallery(&self) -> &str {
                    let gallery: fn(&Self) -> &str = $gallery;
                    gallery(self)
                }

                fn changes(&self) -> bool {
                    let changes: fn(&Self) -> bool = $changes;
                    changes(self)
                }

                fn describe(&self, _record: &mut Record, _words: &Words) -> Result<(), AuditError> {
                    $(
                        let count: fn(&Self) -> u64 = $count;
                        _record.count($what, count(self));
                    )*
                    Ok(())
                }
            }
        )+
    };
}

plain! {
    proto::CreateGalleryRequest: |request| &request.name, |_| true;
    proto::GetGalleryRequest: |request| &request.name, |_| false;
    proto::ListGalleriesRequest: |_| "", |_| false;
    proto::GetGalleryStatisticsRequest: |request| &request.gallery, |_| false;
    proto::DeleteGalleryRequest: |request| &request.name, |_| true;
    proto::CheckGalleryRequest: |request| &request.gallery, |request| request.repair;
    proto::SetRetentionRequest: |request| &request.gallery, |request| !request.validate_only,
        "validate_only" = |request| request.validate_only.into(),
        "default_ms" = |request| request.retention.as_ref().map_or(0, |retention| retention.default_ms),
        "cameras" = |request| request.retention.as_ref().map_or(0, |retention| retention.camera_ms.len() as u64);
    proto::CreateGenerationRequest: |request| &request.gallery, |_| true;
    proto::ListGenerationsRequest: |request| &request.gallery, |_| false;
    proto::CompareGenerationsRequest: |request| &request.gallery, |_| false,
        "asked_generation" = |request| request.generation.into();
    proto::ActivateGenerationRequest: |request| &request.gallery, |_| true,
        "asked_generation" = |request| request.generation.into(),
        "forced" = |request| request.force.into();
    proto::DeleteGenerationRequest: |request| &request.gallery, |_| true,
        "asked_generation" = |request| request.generation.into();
    proto::SearchBatchRequest: |_| "", |_| false,
        "searches" = |request| request.searches.len() as u64;
    proto::CalibrateRequest: |request| &request.gallery, |_| true,
        "captions" = |request| request.captions.len() as u64;
    proto::ListWatchesRequest: |request| &request.gallery, |_| false;
    proto::ListHoldsRequest: |request| &request.gallery, |_| false;
    proto::ListEncodersRequest: |_| "", |_| false;
    proto::index_images_request::Start: |request| &request.gallery, |_| true,
        "asked_generation" = |request| request.generation.into(),
        "allow_erased" = |request| request.allow_erased.into();
    // How many, and not who: the log outlives what is erased.
    proto::EraseImagesRequest: |request| &request.gallery, |request| !request.preview,
        "persons" = |request| request.person_ids.len() as u64,
        "tracks" = |request| request.tracks.len() as u64,
        "image_ids" = |request| request.image_ids.len() as u64,
        "preview" = |request| request.preview.into();
}

impl AuditedRequest for proto::SearchRequest {
    fn gallery(&self) -> &str {
        &self.gallery
    }

    fn describe(&self, record: &mut Record, words: &Words) -> Result<(), AuditError> {
        describe_filter(record, self.filter.as_ref());
        record.count("limit", self.limit.into());
        if self.offset > 0 {
            record.count("offset", self.offset.into());
        }
        match &self.query {
            Some(Query::Text(text)) => words.add(record, text.clone(), 1.0)?,
            Some(Query::Image(image)) => record.query.push(part(Asked::ImageSha256(sha256_hex(image)), 1.0)),
            None => {}
        }
        describe_parts(record, &self.parts, words)
    }
}

impl AuditedRequest for proto::RefineRequest {
    fn gallery(&self) -> &str {
        self.search.as_ref().map_or("", |search| &search.gallery)
    }

    fn describe(&self, record: &mut Record, words: &Words) -> Result<(), AuditError> {
        record.accepted.clone_from(&self.accepted_ids);
        record.rejected.clone_from(&self.rejected_ids);
        match &self.search {
            Some(search) => search.describe(record, words),
            None => Ok(()),
        }
    }
}

impl AuditedRequest for proto::IndexEmbeddingsRequest {
    fn gallery(&self) -> &str {
        &self.gallery
    }

    fn changes(&self) -> bool {
        true
    }

    fn describe(&self, record: &mut Record, _: &Words) -> Result<(), AuditError> {
        let (count, hash) = hash_of_ids(self.images.iter().map(|image| image.image_id.as_str()));
        record.image_ids_sha256 = Some(hash);
        record.count("images", count);
        record.count("allow_erased", self.allow_erased.into());
        Ok(())
    }
}

impl AuditedRequest for proto::ListImagesRequest {
    fn gallery(&self) -> &str {
        &self.gallery
    }

    fn describe(&self, record: &mut Record, _: &Words) -> Result<(), AuditError> {
        describe_filter(record, self.filter.as_ref());
        record.count("with_embeddings", self.with_embeddings.into());
        Ok(())
    }
}

impl AuditedRequest for proto::UpdateImagesRequest {
    fn gallery(&self) -> &str {
        &self.gallery
    }

    fn changes(&self) -> bool {
        true
    }

    fn describe(&self, record: &mut Record, _: &Words) -> Result<(), AuditError> {
        record.image_ids = self.changes.iter().map(|change| change.image_id.clone()).collect();
        Ok(())
    }
}

impl AuditedRequest for proto::DeleteImagesRequest {
    fn gallery(&self) -> &str {
        &self.gallery
    }

    fn changes(&self) -> bool {
        true
    }

    fn describe(&self, record: &mut Record, _: &Words) -> Result<(), AuditError> {
        describe_filter(record, self.filter.as_ref());
        if !self.image_ids.is_empty() {
            let (count, hash) = hash_of_ids(self.image_ids.iter().map(String::as_str));
            record.image_ids.clone_from(&self.image_ids);
            record.image_ids_sha256 = Some(hash);
            record.count("images", count);
        }
        Ok(())
    }
}

impl AuditedRequest for proto::PlaceHoldRequest {
    fn gallery(&self) -> &str {
        &self.gallery
    }

    fn changes(&self) -> bool {
        true
    }

    fn describe(&self, record: &mut Record, _: &Words) -> Result<(), AuditError> {
        record.note = Some(format!("hold {}: {}", self.name, self.reason));
        describe_filter(record, self.filter.as_ref());
        Ok(())
    }
}

impl AuditedRequest for proto::LiftHoldRequest {
    fn gallery(&self) -> &str {
        &self.gallery
    }

    fn changes(&self) -> bool {
        true
    }

    fn describe(&self, record: &mut Record, _: &Words) -> Result<(), AuditError> {
        record.note = Some(format!("hold {}", self.name));
        Ok(())
    }
}

impl AuditedRequest for proto::CreateWatchRequest {
    fn gallery(&self) -> &str {
        &self.gallery
    }

    fn changes(&self) -> bool {
        true
    }

    fn describe(&self, record: &mut Record, words: &Words) -> Result<(), AuditError> {
        record.watch = Some(self.name.clone());
        describe_filter(record, self.filter.as_ref());
        describe_parts(record, &self.parts, words)
    }
}

impl AuditedRequest for proto::DeleteWatchRequest {
    fn gallery(&self) -> &str {
        &self.gallery
    }

    fn changes(&self) -> bool {
        true
    }

    fn describe(&self, record: &mut Record, _: &Words) -> Result<(), AuditError> {
        record.watch = Some(self.name.clone());
        Ok(())
    }
}

impl AuditedRequest for proto::WatchMatchesRequest {
    fn gallery(&self) -> &str {
        &self.gallery
    }

    fn describe(&self, record: &mut Record, _: &Words) -> Result<(), AuditError> {
        record.watch = Some(self.names.join(", ")).filter(|names| !names.is_empty());
        Ok(())
    }
}

fn describe_parts(record: &mut Record, parts: &[proto::QueryPart], words: &Words) -> Result<(), AuditError> {
    if parts.len() > MAX_PARTS {
        record.cut.push("query".to_owned());
    }
    for asked in parts.iter().take(MAX_PARTS) {
        let weight = asked.weight.unwrap_or(1.0);
        match &asked.what {
            Some(What::Text(text)) => words.add(record, text.clone(), weight)?,
            Some(What::Image(image)) => record.query.push(part(Asked::ImageSha256(sha256_hex(image)), weight)),
            Some(What::ImageId(image_id)) => record.query.push(part(Asked::ImageId(image_id.clone()), weight)),
            Some(What::Embedding(embedding)) => {
                let bytes: Vec<u8> = embedding.values.iter().flat_map(|value| value.to_le_bytes()).collect();
                record.query.push(part(Asked::EmbeddingSha256(sha256_hex(&bytes)), weight));
            }
            None => {}
        }
    }
    Ok(())
}

fn part(asked: Asked, weight: f32) -> QueryPart {
    // JSON has no words for what is no number; such a weight is refused.
    QueryPart { asked, weight: if weight.is_finite() { weight } else { 0.0 } }
}

/// The filter in the words of the service, without what does not restrict.
fn describe_filter(record: &mut Record, filter: Option<&proto::Filter>) {
    let Some(filter) = filter else { return };
    match search_filter(filter.clone()) {
        Ok(filter) => record.filter = filter_words(&filter),
        // It is refused.
        Err(_) => record.cut.push("filter".to_owned()),
    }
}

/// A filter as a record has it, without what does not restrict; nothing where nothing restricts.
pub(super) fn filter_words(filter: &SearchFilter) -> Option<serde_json::Value> {
    let mut words = serde_json::to_value(filter).ok()?;
    leave_out_empty(&mut words);
    Some(words).filter(|words| words.as_object().is_some_and(|object| !object.is_empty()))
}

fn leave_out_empty(value: &mut serde_json::Value) {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));
        object.values_mut().for_each(leave_out_empty);
    }
    if let Some(list) = value.as_array_mut() {
        list.iter_mut().for_each(leave_out_empty);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_audit::{KeptWords, Kind};
    use std::path::Path;

    #[test]
    fn a_search_is_written_down_by_all_that_it_asks_for() {
        let what = |what| proto::QueryPart { what: Some(what), weight: Some(-0.5) };
        let embedding = proto::EmbeddingPart { values: vec![1.0, 0.0], fingerprint: String::new() };
        let request = proto::SearchRequest {
            gallery: "lobby".to_owned(),
            limit: 7,
            parts: vec![
                what(What::Text("a man".to_owned())),
                what(What::ImageId("7.jpg".to_owned())),
                what(What::Image(b"abc".to_vec().into())),
                what(What::Embedding(embedding)),
            ],
            filter: Some(proto::Filter { camera_ids: vec!["door".to_owned()], ..proto::Filter::default() }),
            ..proto::SearchRequest::default()
        };
        let mut record = Record::new(Kind::Request);
        let words = Words::open(KeptWords::Clear, Path::new("")).unwrap();
        request.describe(&mut record, &words).unwrap();
        assert_eq!(record.filter, Some(serde_json::json!({ "camera_ids": ["door"] })));
        assert_eq!(record.counts["limit"], 7);
        let asked: Vec<Asked> = record.query.into_iter().map(|part| part.asked).collect();
        assert_eq!(asked[..2], [Asked::Text("a man".to_owned()), Asked::ImageId("7.jpg".to_owned())]);
        assert_eq!(asked[2], Asked::ImageSha256(sha256_hex(b"abc")));
        assert!(matches!(asked[3], Asked::EmbeddingSha256(_)));
    }
}
