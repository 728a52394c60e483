//! From what a caller sent to what a tower reads: decode and resize, or tokenize.

use crate::EncodeError;
use crate::scheduler::{Prepare, Prepared};
use crate::tower::{OnnxTextTower, OnnxVisionTower, Pixels, TokenIds};
use descry_model::{ImageInput, ModelError, TextTokenizer, preprocess_image};
use std::fmt;

/// What messages call an item: its place in a list, or its kind where it is one of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ItemName {
    /// `texts` or `images` for a list; `text` or `image` for a single item.
    pub(crate) list: &'static str,
    pub(crate) index: Option<usize>,
}

impl fmt::Display for ItemName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(formatter, "{}[{index}]", self.list),
            None => formatter.write_str(self.list),
        }
    }
}

impl ItemName {
    fn invalid(self, source: ModelError) -> EncodeError {
        EncodeError::InvalidItem { item: self.to_string(), source }
    }
}

/// A text as a caller sent it.
pub(crate) struct RawText {
    pub(crate) name: ItemName,
    pub(crate) text: String,
}

/// How texts become token ids.
pub(crate) struct TextPreparation {
    /// Some bundles have none.
    pub(crate) tokenizer: Option<TextTokenizer>,
    pub(crate) max_text_bytes: usize,
    pub(crate) allow_blank_texts: bool,
}

impl TextPreparation {
    /// Refuses what needs no preparation to be refused.
    pub(crate) fn check(&self, raw: &RawText) -> Result<(), EncodeError> {
        let (bytes, max_bytes) = (raw.text.len(), self.max_text_bytes);
        if bytes > max_bytes {
            return Err(raw.name.invalid(ModelError::TextTooLong { bytes, max_bytes }));
        }
        Ok(())
    }
}

impl Prepare<OnnxTextTower> for TextPreparation {
    type Raw = RawText;

    fn prepare(&self, raw: RawText) -> Result<Prepared<TokenIds>, EncodeError> {
        let RawText { name, text } = raw;
        let Some(tokenizer) = &self.tokenizer else {
            let reason = "the bundle was exported without one".to_owned();
            return Err(name.invalid(ModelError::Tokenizer { reason }));
        };
        let tokenized = tokenizer.tokenize(&text).map_err(|source| name.invalid(source))?;
        if tokenized.is_blank() && !self.allow_blank_texts {
            return Err(name.invalid(ModelError::EmptyText));
        }
        Ok(Prepared { item: tokenized.token_ids, truncated: tokenized.truncated })
    }
}

/// An image file as a caller sent it.
pub(crate) struct RawImage {
    pub(crate) name: ItemName,
    pub(crate) bytes: Box<dyn AsRef<[u8]> + Send>,
}

/// How image files become pixels.
pub(crate) struct ImagePreparation {
    pub(crate) input: ImageInput,
    pub(crate) max_image_bytes: usize,
    pub(crate) max_image_pixels: u64,
}

impl ImagePreparation {
    /// Refuses what needs no preparation to be refused.
    pub(crate) fn check(&self, raw: &RawImage) -> Result<(), EncodeError> {
        let (bytes, max_bytes) = ((*raw.bytes).as_ref().len(), self.max_image_bytes);
        if bytes > max_bytes {
            let reason = format!("file of {bytes} bytes is over the limit of {max_bytes} bytes");
            return Err(raw.name.invalid(ModelError::Image { reason }));
        }
        Ok(())
    }
}

impl Prepare<OnnxVisionTower> for ImagePreparation {
    type Raw = RawImage;

    fn prepare(&self, raw: RawImage) -> Result<Prepared<Pixels>, EncodeError> {
        let pixels = preprocess_image((*raw.bytes).as_ref(), &self.input, self.max_image_pixels);
        let item = pixels.map_err(|source| raw.name.invalid(source))?;
        Ok(Prepared { item, truncated: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oversized_items_are_refused_by_their_names() {
        let preparation = TextPreparation { tokenizer: None, max_text_bytes: 3, allow_blank_texts: false };
        let check = |text: &str, index| {
            let name = ItemName { list: "texts", index };
            preparation.check(&RawText { name, text: text.to_owned() }).map_err(|error| error.to_string())
        };
        assert_eq!(check("abc", Some(7)), Ok(()));
        assert!(check("abcd", Some(7)).unwrap_err().starts_with("texts[7]: "));
        let raw = RawText { name: ItemName { list: "text", index: None }, text: "abc".to_owned() };
        let refused = preparation.prepare(raw).err().unwrap();
        assert!(matches!(&refused, EncodeError::InvalidItem { item, .. } if item == "text"), "{refused}");
    }
}
