//! `manifest.json`: everything about a model that is not a weight.

use crate::text_input::{decode_text, read_limited};
use crate::{Fingerprint, Method, ModelError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The format this version writes and reads.
pub const FORMAT_VERSION: u32 = 2;

/// A manifest is a page of JSON; anything larger is not one.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// Number format of the towers' weights and products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point throughout.
    Fp32,
    /// Products in 16-bit floating point; layer norms, softmax, routers and the residual stream in 32.
    Fp16,
    /// Products with constant matrices in 8-bit whole numbers; everything else in 32-bit floating point.
    Int8,
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        })
    }
}

/// Which operators the towers' graphs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// ONNX Runtime's own fused operators, for its CPU and CUDA execution providers.
    Contrib,
    /// Standard ONNX operators only, for compilers such as OpenVINO and TensorRT that fuse by themselves.
    Standard,
}

impl fmt::Display for Dialect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Contrib => "contrib",
            Self::Standard => "standard",
        })
    }
}

/// How images become pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeFilter {
    /// Pillow's antialiased bilinear filter on 8-bit samples.
    PillowBilinear,
    /// Pillow's antialiased bicubic filter on 8-bit samples (TBPS-CLIP, and CLIP itself).
    PillowBicubic,
}

impl ResizeFilter {
    /// Name in the manifest, and in the fingerprint.
    pub fn name(self) -> &'static str {
        match self {
            Self::PillowBilinear => "pillow-bilinear",
            Self::PillowBicubic => "pillow-bicubic",
        }
    }
}

/// The vision tower's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageInput {
    /// Height in pixels.
    pub height_px: usize,
    /// Width in pixels.
    pub width_px: usize,
    /// How images are brought to that size.
    pub resize_filter: ResizeFilter,
    /// Subtracted from each channel after division by 255.
    pub mean: [f32; 3],
    /// Each channel is divided by this after the mean is subtracted.
    pub std: [f32; 3],
    /// Whether the EXIF orientation is applied first. The papers do not.
    pub exif_rotation: bool,
}

impl ImageInput {
    /// CLIP's normalisation (Radford et al., 2021) at a given size.
    pub fn clip(height_px: usize, width_px: usize) -> Self {
        Self {
            height_px,
            width_px,
            resize_filter: ResizeFilter::PillowBilinear,
            mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            std: [0.268_629_55, 0.261_302_6, 0.275_777_1],
            exif_rotation: false,
        }
    }

    /// Text form for the fingerprint. Spelled out, because renaming a field must not rename every model.
    fn canonical(&self) -> String {
        let Self { height_px, width_px, resize_filter, mean, std, exif_rotation } = self;
        let filter = resize_filter.name();
        format!("{height_px}x{width_px} {filter} {mean:?} {std:?} {exif_rotation}")
    }
}

/// What is done to a caption before the text repair that all published tokenizers share: lower case; each of some
/// characters becomes a space; runs of whitespace become one space; line breaks at the end and spaces at both ends go; words
/// beyond a number are cut off. A single tab between two words stays, and makes them one word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptionRules {
    /// Characters that become spaces, one after the other without separators.
    pub characters_to_spaces: String,
    /// Most words of a caption, where words are what stands between single spaces. The caller is told what was cut off.
    pub max_words: usize,
}

/// The text tower's input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextInput {
    /// Most token ids in a text, start and end marks included.
    pub context_length: usize,
    /// Number of token ids the tower knows.
    pub vocabulary_size: usize,
    /// First id of every text.
    pub start_of_text_id: i64,
    /// Last id of every text: the highest id, found by the tower with an arg-max.
    pub end_of_text_id: i64,
    /// Masked-language training's id, where the vocabulary has one.
    pub mask_id: Option<i64>,
    /// What rows are filled with on the right.
    pub padding_id: i64,
    /// What the model's training did to captions before everything else. Absent where it did nothing of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption_rules: Option<CaptionRules>,
}

impl TextInput {
    /// Text form for the fingerprint.
    fn canonical(&self) -> String {
        let Self {
            context_length,
            vocabulary_size,
            start_of_text_id,
            end_of_text_id,
            mask_id,
            padding_id,
            caption_rules,
        } = self;
        let ids = format!("{start_of_text_id} {end_of_text_id} {mask_id:?} {padding_id}");
        let all = format!("{context_length} {vocabulary_size} {ids}");
        // Models without rules keep the names that they had before there were any.
        match caption_rules {
            None => all,
            Some(CaptionRules { characters_to_spaces, max_words }) => {
                format!("{all} {characters_to_spaces:?} {max_words}")
            }
        }
    }
}

/// How closely a runtime must repeat other outputs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParityBounds {
    /// Largest difference, as a share of the other outputs' largest magnitude.
    pub max_relative_difference: f32,
    /// Largest allowed `1 - cosine` between both.
    pub max_cosine_distance: f32,
}

/// Where the weights came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// SHA-256 of the checkpoint, or a description such as `random seed 7`.
    pub checkpoint: String,
    /// SHA-256 of the base checkpoint that filled in what the first one lacks.
    pub base: Option<String>,
}

/// Content of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format of this file.
    pub format_version: u32,
    /// Name of everything that can change an embedding; recomputed and compared when the bundle is opened.
    pub fingerprint: String,
    /// The published method.
    pub family: Method,
    /// Number of values in an embedding.
    pub embedding_dimension: usize,
    /// The vision tower's input.
    pub image: ImageInput,
    /// The text tower's input.
    pub text: TextInput,
    /// Number format of the towers.
    pub precision: Precision,
    /// Which operators the towers use, and so which devices run them well.
    pub dialect: Dialect,
    /// Where the weights came from.
    pub source: Source,
    /// What the vision tower's matrix products add and multiply for one image, in 10⁹ operations, for measurements.
    pub image_gflop: f64,
    /// Sizes worth knowing, for people: widths, layers, experts, ranks, parameter counts.
    pub summary: BTreeMap<String, String>,
    /// How closely the goldens in `parity.npz` must be met.
    pub parity: ParityBounds,
    /// How closely a row of a batch must equal the row alone.
    pub row_independence: ParityBounds,
    /// SHA-256 of every other file of the bundle, by file name.
    pub files: BTreeMap<String, String>,
}

impl Manifest {
    /// Reads and checks a manifest file.
    ///
    /// # Errors
    /// [`ModelError::Unreadable`] or [`ModelError::Manifest`].
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let unreadable = |source| ModelError::Unreadable { path: path.to_owned(), source };
        let malformed = |reason: String| ModelError::Manifest { path: path.to_owned(), reason };
        let text = decode_text(read_limited(path, MAX_MANIFEST_BYTES).map_err(unreadable)?).map_err(malformed)?;
        let version: FormatVersion = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        if version.format_version != FORMAT_VERSION {
            return Err(malformed(format!(
                "format version {}, this program reads version {FORMAT_VERSION}; export the bundle again",
                version.format_version
            )));
        }
        let manifest: Self = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        manifest.check().map_err(malformed)?;
        Ok(manifest)
    }

    /// The fingerprint that the content implies.
    pub fn compute_fingerprint(&self) -> Fingerprint {
        let digest = |file: &str| self.files.get(file).map(String::as_str).unwrap_or_default().as_bytes();
        let image = self.image.canonical();
        let text = self.text.canonical();
        let precision = self.precision.to_string();
        Fingerprint::of_parts([
            (VISION_FILE, digest(VISION_FILE)),
            (TEXT_FILE, digest(TEXT_FILE)),
            (TOKENIZER_FILE, digest(TOKENIZER_FILE)),
            ("image", image.as_bytes()),
            ("text", text.as_bytes()),
            ("precision", precision.as_bytes()),
        ])
    }

    fn check(&self) -> Result<(), String> {
        let ImageInput { height_px, width_px, std, .. } = &self.image;
        let TextInput { context_length, vocabulary_size, start_of_text_id, end_of_text_id, caption_rules, .. } =
            &self.text;
        let known_id = |id: i64| usize::try_from(id).is_ok_and(|id| id < *vocabulary_size);
        let faults = [
            (self.embedding_dimension == 0, "embedding_dimension is 0"),
            (!(self.image_gflop > 0.0 && self.image_gflop < MAX_IMAGE_GFLOP), "image_gflop is out of range"),
            (self.files.len() > MAX_FILES, "more files than a bundle has"),
            (*height_px == 0 || *width_px == 0, "the image size is 0"),
            (*height_px > MAX_SIDE_PX || *width_px > MAX_SIDE_PX, "the image size is over 4096 pixels"),
            (std.iter().any(|value| value.is_nan() || *value <= 0.0), "std must be positive"),
            (*context_length < 2, "context_length must be at least 2"),
            (caption_rules.as_ref().is_some_and(|rules| rules.max_words == 0), "max_words is 0"),
            (
                caption_rules.as_ref().is_some_and(|rules| rules.characters_to_spaces.len() > MAX_CHARACTERS_BYTES),
                "characters_to_spaces is over 256 bytes",
            ),
            (!known_id(*start_of_text_id) || !known_id(*end_of_text_id), "special token ids exceed the vocabulary"),
        ];
        if let Some((_, fault)) = faults.iter().find(|(found, _)| *found) {
            return Err((*fault).to_owned());
        }
        for file in [VISION_FILE, TEXT_FILE, PARITY_FILE] {
            if !self.files.contains_key(file) {
                return Err(format!("no digest for {file}"));
            }
        }
        if let Some(file) = self.files.keys().find(|file| file.contains(['/', '\\']) || file.starts_with('.')) {
            return Err(format!("{file:?} is not a plain file name"));
        }
        let computed = self.compute_fingerprint();
        if computed.as_str() != self.fingerprint {
            return Err(format!("it states fingerprint {}, its content has {computed}", self.fingerprint));
        }
        Ok(())
    }
}

/// File name of the manifest.
pub const MANIFEST_FILE: &str = "manifest.json";
/// File name of the vision tower.
pub const VISION_FILE: &str = "vision.onnx";
/// File name of the text tower.
pub const TEXT_FILE: &str = "text.onnx";
/// File name of the tokenizer. Absent from bundles that were exported without one, as somebody asked for; those take token
/// ids only.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
/// File name of the golden inputs and outputs.
pub const PARITY_FILE: &str = "parity.npz";

const MAX_SIDE_PX: usize = 4096;
/// Every caption is searched for them.
const MAX_CHARACTERS_BYTES: usize = 256;
/// A thousand times a ViT-L/14.
const MAX_IMAGE_GFLOP: f64 = 1e6;
/// Several times what a bundle has.
const MAX_FILES: usize = 16;

/// Read first, so that another format gives a clear message instead of a missing field.
#[derive(Deserialize)]
struct FormatVersion {
    format_version: u32,
}
