//! How long images are kept, and their removal.

mod believed_time;
mod sweeping;

pub(crate) use believed_time::{Believed, BelievedTime};
pub(crate) use sweeping::{RetentionClock, sweep};

use crate::SearchError;
use crate::holds::Holds;
use descry_store::{Generation, ImageMetadata, SearchFilter, VectorStore};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long images of a gallery are kept, counted from their capture, or from indexing where the capture time is not
/// known. Kept as a document of the gallery.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Retention {
    /// Milliseconds; for ever where there is none.
    pub(crate) default_ms: Option<u64>,
    /// Cameras with a time of their own, which wins; `None` keeps their images for ever.
    pub(crate) camera_ms: BTreeMap<String, Option<u64>>,
}

const KEY: &str = "retention";

impl Retention {
    pub(crate) async fn of(store: &dyn VectorStore, gallery: &Generation) -> Result<Self, SearchError> {
        let Some(text) = store.document(gallery, KEY).await? else { return Ok(Self::default()) };
        // Removing by a rule that is not understood would be worse than keeping.
        serde_json::from_str(&text).map_err(|error| SearchError::failed("reading a retention", error))
    }

    pub(crate) async fn put(&self, store: &dyn VectorStore, gallery: &Generation) -> Result<(), SearchError> {
        let text = if *self == Self::default() { None } else { serde_json::to_string(self).ok() };
        Ok(store.put_document(gallery, KEY, text).await?)
    }

    /// Keeps it unless the gallery was told how long its images are kept.
    pub(crate) async fn put_first(&self, store: &dyn VectorStore, gallery: &Generation) -> Result<(), SearchError> {
        if let Ok(text) = serde_json::to_string(self)
            && *self != Self::default()
        {
            store.replace_document(gallery, KEY, None, Some(text)).await?;
        }
        Ok(())
    }

    /// When an image goes, in milliseconds since the Unix epoch; none for one that is kept for ever.
    pub(crate) fn kept_until_ms(&self, metadata: &ImageMetadata) -> Option<i64> {
        let of_camera = metadata.camera_id.as_ref().and_then(|camera_id| self.camera_ms.get(camera_id));
        let kept_ms = of_camera.copied().unwrap_or(self.default_ms)?;
        let since_ms = metadata.captured_at_ms.unwrap_or(metadata.indexed_at_ms);
        Some(since_ms.saturating_add(i64::try_from(kept_ms).unwrap_or(i64::MAX)))
    }

    /// How many images of a gallery have been kept long enough at a time and are not under a hold.
    pub(crate) async fn count_expired(
        &self,
        store: &dyn VectorStore,
        gallery: &Generation,
        holds: &Holds,
        now_ms: i64,
    ) -> Result<u64, SearchError> {
        let mut count = 0;
        for filter in self.expired(now_ms) {
            count += holds.count_free(store, gallery, &filter).await?;
        }
        Ok(count)
    }

    /// What has been kept long enough at a time. No image meets two of the filters.
    pub(crate) fn expired(&self, now_ms: i64) -> Vec<SearchFilter> {
        let before = |kept_ms: u64| now_ms.saturating_sub(i64::try_from(kept_ms).unwrap_or(i64::MAX));
        let mut filters = Vec::new();
        // Cameras of one span are looked for together.
        let mut cameras: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (camera_id, kept_ms) in &self.camera_ms {
            if let Some(kept_ms) = kept_ms {
                cameras.entry(*kept_ms).or_default().push(camera_id.clone());
            }
        }
        for (kept_ms, camera_ids) in cameras {
            let of_cameras = SearchFilter { camera_ids, ..SearchFilter::default() };
            filters.extend(taken_before(before(kept_ms), &of_cameras));
        }
        if let Some(kept_ms) = self.default_ms {
            let own: Vec<String> = self.camera_ms.keys().cloned().collect();
            let none = if own.is_empty() {
                Vec::new()
            } else {
                vec![SearchFilter { camera_ids: own, ..SearchFilter::default() }]
            };
            let of_others = SearchFilter { none, ..SearchFilter::default() };
            filters.extend(taken_before(before(kept_ms), &of_others));
        }
        filters
    }
}

/// Images captured before a time, and images without capture time that were indexed before it.
fn taken_before(time_ms: i64, among: &SearchFilter) -> [SearchFilter; 2] {
    let captured = SearchFilter { captured_before_ms: Some(time_ms), ..among.clone() };
    let indexed = SearchFilter {
        indexed_before_ms: Some(time_ms),
        all: vec![SearchFilter::without_capture_time()],
        ..among.clone()
    };
    [captured, indexed]
}

#[cfg(test)]
mod tests {
    use super::*;
    const DAY_MS: u64 = 86_400_000;

    fn is_expired(
        retention: &Retention,
        camera: Option<&str>,
        captured_days_ago: Option<i64>,
        indexed_days_ago: i64,
    ) -> bool {
        let now = 1_800_000_000_000;
        let ago = |days: i64| now - days * DAY_MS as i64;
        let metadata = ImageMetadata {
            camera_id: camera.map(str::to_owned),
            captured_at_ms: captured_days_ago.map(ago),
            indexed_at_ms: ago(indexed_days_ago),
            ..ImageMetadata::default()
        };
        let is_expired = retention.expired(now).iter().any(|filter| filter.matches("1", &metadata));
        // What is told at indexing is what the sweep does.
        assert_eq!(retention.kept_until_ms(&metadata).is_some_and(|until_ms| until_ms < now), is_expired);
        is_expired
    }

    #[test]
    fn cameras_win_over_the_gallery() {
        let retention = Retention {
            default_ms: Some(30 * DAY_MS),
            camera_ms: [("door".to_owned(), Some(2 * DAY_MS)), ("vault".to_owned(), None)].into(),
        };
        assert!(is_expired(&retention, None, Some(31), 0) && !is_expired(&retention, None, Some(29), 29));
        assert!(is_expired(&retention, Some("yard"), Some(31), 0));
        assert!(is_expired(&retention, Some("door"), Some(3), 0) && !is_expired(&retention, Some("door"), Some(1), 1));
        assert!(!is_expired(&retention, Some("vault"), Some(3_000), 3_000));
    }

    #[test]
    fn without_capture_time_indexing_counts() {
        let retention = Retention { default_ms: Some(30 * DAY_MS), ..Retention::default() };
        assert!(is_expired(&retention, None, None, 31) && !is_expired(&retention, None, None, 29));
        // Captured lately, indexed long ago: kept.
        assert!(!is_expired(&retention, None, Some(1), 40));
        assert!(!is_expired(&Retention::default(), None, Some(9_999), 9_999));
    }
}
