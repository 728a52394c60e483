//! The parts of a query.

use descry_proto::search::v1::QueryPart;
use descry_proto::search::v1::query_part::What;
use descry_terminal::whole_file;
use std::path::PathBuf;

/// What somebody does not look like counts half as much as what they look like: descriptions that deny something are less
/// sure, and a whole one would push the query away from people altogether.
const WEIGHT_OF_NOT: f32 = -0.5;

/// What there may be besides the description.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct PartArguments {
    /// What another witness says of the same person; may be given several times.
    #[arg(long, value_name = "TEXT")]
    also: Vec<String>,
    /// What the person does not look like; may be given several times.
    #[arg(long, value_name = "TEXT")]
    not: Vec<String>,
    /// An image file of the person; may be given several times.
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
    /// An image of the gallery that looks alike; may be given several times.
    #[arg(long, value_name = "IMAGE_ID")]
    like: Vec<String>,
}

impl PartArguments {
    /// For the service. Unquoted words are one description, as people type it.
    pub(super) fn parts(&self, words: &[String]) -> anyhow::Result<Vec<QueryPart>> {
        let mut parts = Vec::new();
        if !words.is_empty() {
            parts.push(QueryPart { what: Some(What::Text(words.join(" "))), weight: None });
        }
        for text in &self.also {
            parts.push(QueryPart { what: Some(What::Text(text.clone())), weight: None });
        }
        for path in &self.image {
            let content = whole_file::read(path, whole_file::MAX_IMAGE_BYTES)?;
            anyhow::ensure!(!content.is_empty(), "{} is empty (0 bytes); give a picture of a person", path.display());
            parts.push(QueryPart { what: Some(What::Image(content.into())), weight: None });
        }
        for image_id in &self.like {
            parts.push(QueryPart { what: Some(What::ImageId(image_id.clone())), weight: None });
        }
        for text in &self.not {
            parts.push(QueryPart { what: Some(What::Text(text.clone())), weight: Some(WEIGHT_OF_NOT) });
        }
        Ok(parts)
    }

    /// In words.
    pub(super) fn title(&self, words: &[String]) -> String {
        let text = (!words.is_empty()).then(|| words.join(" "));
        let also = self.also.iter().cloned();
        let images = self.image.iter().map(|path| path.display().to_string());
        let like = self.like.iter().map(|image_id| format!("like {image_id}"));
        let not = self.not.iter().map(|text| format!("not {text}"));
        text.into_iter().chain(also).chain(images).chain(like).chain(not).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_one_order_and_denials_count_against() {
        let arguments = PartArguments {
            also: vec!["he limps".to_owned()],
            not: vec!["a backpack".to_owned()],
            like: vec!["c1/1.jpg".to_owned()],
            image: Vec::new(),
        };
        let words = ["a".to_owned(), "man".to_owned()];
        let parts = arguments.parts(&words).unwrap();
        let weights: Vec<Option<f32>> = parts.iter().map(|part| part.weight).collect();
        assert_eq!(weights, [None, None, None, Some(WEIGHT_OF_NOT)]);
        assert_eq!(parts[0].what, Some(What::Text("a man".to_owned())));
        assert_eq!(arguments.title(&words), "a man; he limps; like c1/1.jpg; not a backpack");
        let missing = PartArguments { image: vec!["/nowhere.jpg".into()], ..PartArguments::default() };
        assert!(missing.parts(&[]).unwrap_err().to_string().contains("/nowhere.jpg"));
    }

    #[test]
    fn no_image_is_read_without_end_and_an_empty_one_is_said_to_be_empty() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.jpg");
        std::fs::write(&empty, "").unwrap();
        for (path, told) in [(empty, "empty.jpg is empty"), ("/dev/zero".into(), "/dev/zero is a device")] {
            let arguments = PartArguments { image: vec![path], ..PartArguments::default() };
            let error = arguments.parts(&[]).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
