//! Which images count.

use crate::{ImageMetadata, StoreError};
use serde::{Deserialize, Serialize};

/// Conditions that all hold for every hit. What is left empty does not restrict. Stored as JSON with a watch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchFilter {
    /// Any of these images.
    pub image_ids: Vec<String>,
    /// Any of these identities.
    pub person_ids: Vec<String>,
    /// Any of these cameras.
    pub camera_ids: Vec<String>,
    /// Any of these tracks, of whatever camera. Not written where there are none, so that earlier releases read what this one
    /// wrote.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub track_ids: Vec<String>,
    /// Captured at or after this time (milliseconds since the Unix epoch). Images without a time never match.
    pub captured_from_ms: Option<i64>,
    /// Captured before this time. Images without a time never match.
    pub captured_before_ms: Option<i64>,
    /// Written at or after this time.
    pub indexed_from_ms: Option<i64>,
    /// Written before this time.
    pub indexed_before_ms: Option<i64>,
    /// Attributes with certain values; the gallery must declare them.
    pub attributes: Vec<AttributeCondition>,
    /// All of these hold.
    pub all: Vec<SearchFilter>,
    /// At least one of these holds.
    pub any: Vec<SearchFilter>,
    /// None of these holds.
    pub none: Vec<SearchFilter>,
}

/// An attribute with any of some values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributeCondition {
    /// Name of the attribute.
    pub name: String,
    /// The values wanted.
    pub values: Vec<String>,
}

impl SearchFilter {
    /// Images that have no capture time.
    #[must_use]
    pub fn without_capture_time() -> Self {
        let timed = Self { captured_from_ms: Some(-MAX_TIME_MS), ..Self::default() };
        Self { none: vec![timed], ..Self::default() }
    }

    /// Whether any image could fail to meet it.
    #[must_use]
    pub fn restricts(&self) -> bool {
        let Self { all, any, none, .. } = self;
        let own = Self { all: Vec::new(), any: Vec::new(), none: Vec::new(), ..self.clone() };
        own != Self::default()
            || all.iter().any(Self::restricts)
            || (!any.is_empty() && any.iter().all(Self::restricts))
            || !none.is_empty()
    }

    /// The filters that it is made of, itself among them, with their depth from 1.
    #[must_use]
    pub fn walk(&self) -> Vec<(&Self, usize)> {
        let (mut found, mut next) = (vec![(self, 1)], 0);
        while let Some(&(filter, depth)) = found.get(next) {
            let nested = filter.all.iter().chain(&filter.any).chain(&filter.none);
            found.extend(nested.map(|filter| (filter, depth + 1)));
            next += 1;
        }
        found
    }

    /// All image ids that it names anywhere.
    pub(crate) fn named_images(&self) -> Vec<String> {
        self.walk().into_iter().flat_map(|(filter, _)| filter.image_ids.iter().cloned()).collect()
    }

    /// Refuses attributes that a gallery does not declare.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] naming the attribute.
    pub fn require_declared(&self, declared: &[String]) -> Result<(), StoreError> {
        let conditions = self.walk().into_iter().flat_map(|(filter, _)| &filter.attributes);
        match conditions.into_iter().find(|condition| !declared.contains(&condition.name)) {
            None => Ok(()),
            Some(condition) => Err(Self::undeclared(&condition.name, declared)),
        }
    }

    pub(crate) fn undeclared(attribute: &str, declared: &[String]) -> StoreError {
        let known = if declared.is_empty() { "none".to_owned() } else { declared.join(", ") };
        StoreError::Invalid {
            field: "filter.attributes".to_owned(),
            reason: format!(
                "the gallery does not declare {attribute:?}; only attributes declared at its creation can be filtered by: \
                 {known}"
            ),
        }
    }

    /// Whether an image meets the conditions.
    pub fn matches(&self, image_id: &str, metadata: &ImageMetadata) -> bool {
        let any_of = |wanted: &[String], value: Option<&String>| {
            wanted.is_empty() || value.is_some_and(|value| wanted.contains(value))
        };
        let within = |from: Option<i64>, before: Option<i64>, time: Option<i64>| {
            from.is_none_or(|from| time.is_some_and(|time| time >= from))
                && before.is_none_or(|before| time.is_some_and(|time| time < before))
        };
        any_of(&self.image_ids, Some(&image_id.to_owned()))
            && any_of(&self.person_ids, metadata.person_id.as_ref())
            && any_of(&self.camera_ids, metadata.camera_id.as_ref())
            && any_of(&self.track_ids, metadata.track_id.as_ref())
            && within(self.captured_from_ms, self.captured_before_ms, metadata.captured_at_ms)
            && within(self.indexed_from_ms, self.indexed_before_ms, Some(metadata.indexed_at_ms))
            && self.attributes.iter().all(|AttributeCondition { name, values }| {
                metadata.attributes.get(name).is_some_and(|value| values.contains(value))
            })
            && self.all.iter().all(|filter| filter.matches(image_id, metadata))
            && (self.any.is_empty() || self.any.iter().any(|filter| filter.matches(image_id, metadata)))
            && !self.none.iter().any(|filter| filter.matches(image_id, metadata))
    }
}

/// Further back than any capture time, and exact in float64.
const MAX_TIME_MS: i64 = 1 << 53;

#[cfg(test)]
mod tests {
    use super::*;

    /// As a release without tracks wrote it. It reads no field that it does not know, and a watch that cannot be read finds
    /// nobody.
    const EARLIER: &str = r#"{"image_ids":[],"person_ids":["7"],"camera_ids":[],"captured_from_ms":null,"captured_before_ms":null,"indexed_from_ms":5,"indexed_before_ms":null,"attributes":[{"name":"coat","values":["red"]}],"all":[],"any":[],"none":[]}"#;

    #[test]
    fn earlier_releases_read_filters_that_name_no_track() {
        let filter: SearchFilter = serde_json::from_str(EARLIER).unwrap();
        assert_eq!(serde_json::to_string(&filter).unwrap(), EARLIER);
        let tracks = SearchFilter { track_ids: vec!["1".to_owned()], ..filter };
        let json = serde_json::to_string(&tracks).unwrap();
        assert!(json.contains(r#""track_ids":["1"]"#), "{json}");
        assert_eq!(serde_json::from_str::<SearchFilter>(&json).unwrap(), tracks);
    }
}
