//! What a training run's `configs.yaml` says about the model that its weights do not.

use super::model_config::{LibraryDefaults, PixelSettings};
use crate::ExportError;
use crate::activation::Activation;
use descry_model::text_input::{decode_text, read_limited};
use descry_model::{CaptionRules, Method};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;
use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::scanner::TScalarStyle;

/// Published settings files have about a kilobyte.
const MAX_BYTES: u64 = 1 << 20;
/// Far above any layer count or image size, far below overflow.
const MAX_NUMBER: usize = 1_000_000;

/// The settings of a training run that matter at inference, as far as they are known.
///
/// Names in angle brackets are the keys in `configs.yaml`. Its other keys are ignored; `alpha` and `beta` in particular
/// are the optimiser's, not the router's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunSettings {
    /// Image height and width in pixels <`img_size`>.
    pub image_size_px: Option<(usize, usize)>,
    /// Height and width in pixels of the images to which the stored position embeddings belong, as the weights' own
    /// configuration says it: Hugging Face's, OpenCLIP's, or the number in OpenAI's archives. What a run's `configs.yaml`
    /// says is what was wanted of them.
    pub trained_size_px: Option<(usize, usize)>,
    /// Distance of image patches in pixels <`stride_size`>.
    pub stride: Option<usize>,
    /// Experts that the router chooses for each token <`topk`>.
    pub topk: Option<usize>,
    /// Share of the tokens that RDE selects <`select_ratio`>.
    pub select_ratio: Option<f64>,
    /// Tokens of the longest text <`text_length`>.
    pub context_length: Option<usize>,
    /// Experts in each mixture <`num_experts`>.
    pub num_experts: Option<usize>,
    /// Width of a block over the width of its experts <`reduction`>.
    pub reduction: Option<usize>,
    /// Rank of the LoRA products <`rank`>.
    pub rank: Option<usize>,
    /// Learned keys and values in each prefix <`prefix_length`>.
    pub prefix_length: Option<usize>,
    /// Blocks with LoRA, from the first <`depth_lora`>.
    pub depth_lora: Option<usize>,
    /// Blocks with a prefix, from the first <`depth_prefix`>.
    pub depth_prefix: Option<usize>,
    /// The first block with adapters <`depth_adapter`>.
    pub depth_adapter: Option<usize>,
    /// Rows of the token embedding <`vocab_size`>.
    pub vocab_size: Option<usize>,
    /// Activation of the vision tower's MLPs; only the configurations of Hugging Face and OpenCLIP say it.
    pub vision_activation: Option<Activation>,
    /// Activation of the text tower's MLPs, as above.
    pub text_activation: Option<Activation>,
    /// Attention heads of the vision tower, as above.
    pub vision_heads: Option<usize>,
    /// Attention heads of the text tower, as above.
    pub text_heads: Option<usize>,
    /// How images become pixels, of OpenCLIP's configuration and of published code that has inputs of its own.
    pub pixels: Option<PixelSettings>,
    /// Which of these a configuration left to its library.
    pub defaults: Option<LibraryDefaults>,
    /// What happens to captions first, of the latter.
    pub caption_rules: Option<CaptionRules>,
    /// The method whose published code saved the file, where names tell it that are gone once the tensors have those of
    /// OpenAI's CLIP.
    pub saved_by: Option<Method>,
    /// Id of the start-of-text token; only a Hugging Face `config.json` says it.
    pub start_of_text_id: Option<usize>,
    /// Id of the end-of-text token; only a Hugging Face `config.json` says it.
    pub end_of_text_id: Option<usize>,
}

impl RunSettings {
    /// Reads `<stem>.yaml`, else `configs.yaml`, in the folder of a checkpoint file. None when neither exists.
    ///
    /// # Errors
    /// As [`RunSettings::read`].
    pub fn beside(checkpoint: &Path) -> Result<Option<Self>, ExportError> {
        let candidates = [checkpoint.with_extension("yaml"), checkpoint.with_file_name("configs.yaml")];
        candidates.iter().find(|path| path.is_file()).map(|path| Self::read(path)).transpose()
    }

    /// Reads a settings file as PyYAML writes it, with Python's tuple tags.
    ///
    /// # Errors
    /// [`ExportError::Unreadable`], also when it is over 1 MiB; [`ExportError::SettingsFile`] when it is not one YAML mapping;
    /// [`ExportError::Setting`] for a key with a value of the wrong type.
    pub fn read(path: &Path) -> Result<Self, ExportError> {
        let unusable = |reason: String| ExportError::SettingsFile { path: path.to_owned(), reason };
        let text = read_text(path)?;
        let items = top_level_items(&text).map_err(unusable)?;
        let mut settings = Self::default();
        let mut seen = HashSet::new();
        for (key, value) in items {
            if !seen.insert(key.clone()) {
                return Err(unusable(format!("`{key:.80}` is given twice")));
            }
            if let Err(expected) = settings.set(&key, &value) {
                let reason = format!("{} in {}, expected {expected}", value.describe(), path.display());
                return Err(ExportError::Setting { name: key, reason });
            }
        }
        Ok(settings)
    }

    /// These settings, with the other's where these say nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            image_size_px: self.image_size_px.or(other.image_size_px),
            trained_size_px: self.trained_size_px.or(other.trained_size_px),
            stride: self.stride.or(other.stride),
            topk: self.topk.or(other.topk),
            select_ratio: self.select_ratio.or(other.select_ratio),
            context_length: self.context_length.or(other.context_length),
            num_experts: self.num_experts.or(other.num_experts),
            reduction: self.reduction.or(other.reduction),
            rank: self.rank.or(other.rank),
            prefix_length: self.prefix_length.or(other.prefix_length),
            depth_lora: self.depth_lora.or(other.depth_lora),
            depth_prefix: self.depth_prefix.or(other.depth_prefix),
            depth_adapter: self.depth_adapter.or(other.depth_adapter),
            vocab_size: self.vocab_size.or(other.vocab_size),
            vision_activation: self.vision_activation.or(other.vision_activation),
            text_activation: self.text_activation.or(other.text_activation),
            vision_heads: self.vision_heads.or(other.vision_heads),
            text_heads: self.text_heads.or(other.text_heads),
            pixels: match (self.pixels, other.pixels) {
                (Some(these), Some(others)) => Some(these.or(others)),
                (these, others) => these.or(others),
            },
            defaults: self.defaults.or(other.defaults),
            caption_rules: self.caption_rules.or(other.caption_rules),
            saved_by: self.saved_by.or(other.saved_by),
            start_of_text_id: self.start_of_text_id.or(other.start_of_text_id),
            end_of_text_id: self.end_of_text_id.or(other.end_of_text_id),
        }
    }

    /// What of these concerns a model that was trained further: its blocks compute what its base's did.
    #[must_use]
    pub(crate) fn of_blocks(&self) -> Self {
        Self {
            vision_activation: self.vision_activation,
            text_activation: self.text_activation,
            vision_heads: self.vision_heads,
            text_heads: self.text_heads,
            defaults: self.defaults,
            ..Self::default()
        }
    }

    /// Takes one item; the error says what was expected.
    fn set(&mut self, key: &str, value: &Node) -> Result<(), &'static str> {
        if value.is_null() {
            return Ok(());
        }
        if key == "img_size" {
            self.image_size_px = Some(value.size().ok_or("a list of two positive whole numbers, height and width")?);
            return Ok(());
        }
        if key == "select_ratio" {
            self.select_ratio = Some(value.share().ok_or("a number above 0, at most 1")?);
            return Ok(());
        }
        let (field, minimum) = match key {
            "stride_size" => (&mut self.stride, 1),
            "topk" => (&mut self.topk, 1),
            "text_length" => (&mut self.context_length, 1),
            "num_experts" => (&mut self.num_experts, 1),
            "reduction" => (&mut self.reduction, 1),
            "rank" => (&mut self.rank, 1),
            "prefix_length" => (&mut self.prefix_length, 0),
            "depth_lora" => (&mut self.depth_lora, 0),
            "depth_prefix" => (&mut self.depth_prefix, 0),
            "depth_adapter" => (&mut self.depth_adapter, 0),
            "vocab_size" => (&mut self.vocab_size, 1),
            _ => return Ok(()),
        };
        let expected = if minimum == 0 { "a whole number" } else { "a positive whole number" };
        *field = Some(value.number().filter(|&number| number >= minimum).ok_or(expected)?);
        Ok(())
    }
}

fn read_text(path: &Path) -> Result<String, ExportError> {
    let unreadable = |source| ExportError::Unreadable { path: path.to_owned(), source };
    let unusable = |reason| ExportError::SettingsFile { path: path.to_owned(), reason };
    decode_text(read_limited(path, MAX_BYTES).map_err(unreadable)?).map_err(unusable)
}

/// As much of a YAML value as a setting can be. Aliases share what they refer to, so a small file cannot become
/// a huge value.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Scalar {
        text: String,
        is_plain: bool,
    },
    /// Scalars of a flat list, the first three: enough to see that it has not two.
    List(Vec<Node>),
    Other,
}

impl Node {
    fn is_null(&self) -> bool {
        matches!(self, Self::Scalar { text, is_plain: true } if matches!(text.as_str(), "" | "~" | "null"))
    }

    fn number(&self) -> Option<usize> {
        let Self::Scalar { text, is_plain: true } = self else { return None };
        text.parse().ok().filter(|&number| number <= MAX_NUMBER)
    }

    fn share(&self) -> Option<f64> {
        let Self::Scalar { text, is_plain: true } = self else { return None };
        text.parse().ok().filter(|&share| share > 0.0 && share <= 1.0)
    }

    fn size(&self) -> Option<(usize, usize)> {
        let Self::List(items) = self else { return None };
        let [height, width] = items.as_slice() else { return None };
        height.number().zip(width.number()).filter(|&(height, width)| height > 0 && width > 0)
    }

    fn describe(&self) -> String {
        match self {
            Self::Scalar { text, is_plain: true } => format!("is `{text:.80}`"),
            Self::Scalar { text, is_plain: false } => format!("is the string \"{text:.80}\""),
            Self::List(_) => "is another list".to_owned(),
            Self::Other => "is a nested value".to_owned(),
        }
    }
}

/// The items of a YAML file that is one mapping, in order.
///
/// Pulls parser events in a loop: the parser's own loader recurses and copies what aliases refer to.
fn top_level_items(text: &str) -> Result<Vec<(String, Rc<Node>)>, String> {
    let mut parser = Parser::new_from_str(text);
    let mut next = || parser.next_token().map(|(event, _)| event).map_err(|error| error.to_string());
    let mut event = next()?;
    while matches!(event, Event::StreamStart | Event::DocumentStart | Event::Nothing) {
        event = next()?;
    }
    if !matches!(event, Event::MappingStart(..)) {
        return Err("expected a YAML mapping of settings".to_owned());
    }
    let mut anchors = HashMap::new();
    let mut items = Vec::new();
    loop {
        let key = next()?;
        if matches!(key, Event::MappingEnd) {
            break;
        }
        let key = node(key, &mut next, &mut anchors)?;
        let value = next()?;
        let value = node(value, &mut next, &mut anchors)?;
        if let Node::Scalar { text, .. } = key.as_ref() {
            items.push((text.clone(), value));
        }
    }
    while !matches!(event, Event::StreamEnd) {
        event = next()?;
        if matches!(event, Event::DocumentStart) {
            return Err("it has more than one YAML document".to_owned());
        }
    }
    Ok(items)
}

/// Reads the node that starts with `first`, skipping what lies deeper than a flat list.
fn node(
    first: Event,
    next: &mut impl FnMut() -> Result<Event, String>,
    anchors: &mut HashMap<usize, Rc<Node>>,
) -> Result<Rc<Node>, String> {
    const KEPT_ITEMS: usize = 3;
    let scalar = |text, style| Node::Scalar { text, is_plain: style == TScalarStyle::Plain };
    let (node, anchor) = match first {
        Event::Scalar(text, style, anchor, _) => (scalar(text, style), anchor),
        Event::Alias(anchor) => return Ok(anchors.get(&anchor).cloned().unwrap_or(Rc::new(Node::Other))),
        Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
            let is_list = matches!(first, Event::SequenceStart(..));
            let mut items = Some(Vec::new()).filter(|_| is_list);
            let mut depth = 1usize;
            while depth > 0 {
                match next()? {
                    Event::SequenceStart(..) | Event::MappingStart(..) => {
                        depth += 1;
                        items = None;
                    }
                    Event::SequenceEnd | Event::MappingEnd => depth -= 1,
                    Event::Scalar(text, style, ..) => {
                        if let Some(items) = items.as_mut().filter(|items| items.len() < KEPT_ITEMS) {
                            items.push(scalar(text, style));
                        }
                    }
                    Event::Alias(_) => items = None,
                    Event::StreamEnd => return Err("it ends early".to_owned()),
                    Event::Nothing | Event::StreamStart | Event::DocumentStart | Event::DocumentEnd => {}
                }
            }
            (items.map_or(Node::Other, Node::List), anchor)
        }
        Event::Nothing
        | Event::StreamStart
        | Event::StreamEnd
        | Event::DocumentStart
        | Event::DocumentEnd
        | Event::SequenceEnd
        | Event::MappingEnd => return Err("it is not well-formed YAML".to_owned()),
    };
    let node = Rc::new(node);
    // Zero means no anchor.
    if anchor > 0 {
        anchors.insert(anchor, Rc::clone(&node));
    }
    Ok(node)
}

#[cfg(test)]
mod tests;
