//! What is known of an image beside its pixels.

use std::collections::BTreeMap;

/// What a record, a sidecar or a table row says of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownMetadata {
    /// Whose image it is.
    pub person_id: Option<String>,
    /// Which camera took it.
    pub camera_id: Option<String>,
    /// When it was taken, in milliseconds since 1970-01-01T00:00:00Z.
    pub captured_at_ms: Option<i64>,
    /// Everything else, by name.
    pub attributes: BTreeMap<String, String>,
}

impl KnownMetadata {
    /// Lets each field that `stronger` knows replace the one known here.
    pub(crate) fn overlay(&mut self, stronger: Self) {
        self.person_id = stronger.person_id.or(self.person_id.take());
        self.camera_id = stronger.camera_id.or(self.camera_id.take());
        self.captured_at_ms = stronger.captured_at_ms.or(self.captured_at_ms);
        self.attributes.extend(stronger.attributes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_replaced_one_by_one() {
        let attributes = |weather: &str| BTreeMap::from([("weather".to_owned(), weather.to_owned())]);
        let mut known = KnownMetadata {
            person_id: Some("7".to_owned()),
            attributes: attributes("sun"),
            ..KnownMetadata::default()
        };
        known.overlay(KnownMetadata {
            camera_id: Some("c2".to_owned()),
            attributes: attributes("rain"),
            ..KnownMetadata::default()
        });
        assert_eq!(known.person_id.as_deref(), Some("7"));
        assert_eq!(known.camera_id.as_deref(), Some("c2"));
        assert_eq!(known.attributes["weather"], "rain");
    }
}
