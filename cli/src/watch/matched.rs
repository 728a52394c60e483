//! A match, as people, programs and commands are told of it.

use crate::contact_sheet::percent;
use crate::hit_json;
use crate::time::time_text;
use descry_client::PATH_ATTRIBUTE;
use descry_proto::search::v1::{Hit, ImageMetadata, WatchMatch};
use serde_json::Value;

/// An image that matched a watch.
#[derive(Debug, Clone)]
pub(super) struct Match {
    watch: String,
    hit: Hit,
    metadata: ImageMetadata,
}

impl Match {
    pub(super) fn of(found: WatchMatch) -> Self {
        let hit = found.hit.unwrap_or_default();
        let metadata = hit.metadata.clone().unwrap_or_default();
        Self { watch: found.watch, hit, metadata }
    }

    pub(super) fn watch(&self) -> &str {
        &self.watch
    }

    pub(super) fn image_id(&self) -> &str {
        &self.hit.image_id
    }

    /// One object.
    pub(super) fn json(&self) -> Value {
        let mut value = hit_json::hit(&self.hit);
        if let Some(object) = value.as_object_mut() {
            object.insert("watch".to_owned(), Value::String(self.watch.clone()));
        }
        value
    }

    /// One line: when, for which watch, how alike, which image, where, and its file.
    pub(super) fn line(&self) -> String {
        let time = time_text(self.metadata.captured_at.or(self.metadata.indexed_at));
        let camera = self.metadata.camera_id.as_ref().map(|camera| format!("  camera {camera}")).unwrap_or_default();
        let probability =
            self.hit.match_probability.map(|share| format!("  probability {}", percent(share))).unwrap_or_default();
        let path = self.path().map(|path| format!("  {path}")).unwrap_or_default();
        format!("{time}  {}  {:.4}  {}{camera}{probability}{path}", self.watch, self.hit.score, self.hit.image_id)
    }

    /// Where the image was when it was indexed.
    fn path(&self) -> Option<&str> {
        self.metadata.attributes.get(PATH_ATTRIBUTE).map(String::as_str)
    }

    /// What a command is told. A variable can't hold a zero byte, so none has one.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let variables = vec![
            ("DESCRY_WATCH", self.watch.clone()),
            ("DESCRY_IMAGE_ID", self.hit.image_id.clone()),
            ("DESCRY_SCORE", self.hit.score.to_string()),
            ("DESCRY_PROBABILITY", self.hit.match_probability.map(|share| share.to_string()).unwrap_or_default()),
            ("DESCRY_PERSON_ID", text(&self.metadata.person_id)),
            ("DESCRY_CAMERA_ID", text(&self.metadata.camera_id)),
            ("DESCRY_CAPTURED_AT", self.metadata.captured_at.map(|time| time.to_string()).unwrap_or_default()),
            ("DESCRY_PATH", self.path().unwrap_or_default().to_owned()),
        ];
        variables.into_iter().map(|(name, value)| (name, value.replace('\0', "\u{fffd}"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_file_where_it_is_known() {
        let attributes = [(PATH_ATTRIBUTE.to_owned(), "/data/a.jpg".to_owned())].into();
        let metadata = ImageMetadata { camera_id: Some("c1".to_owned()), attributes, ..ImageMetadata::default() };
        let hit = Hit { image_id: "a.jpg".to_owned(), score: 0.5, metadata: Some(metadata), ..Hit::default() };
        let found = Match::of(WatchMatch { watch: "red".to_owned(), hit: Some(hit), position: String::new() });
        assert!(found.line().ends_with("red  0.5000  a.jpg  camera c1  /data/a.jpg"), "{}", found.line());
        assert!(found.variables().contains(&("DESCRY_PATH", "/data/a.jpg".to_owned())));
        assert_eq!(found.json()["watch"], "red");
    }
}
