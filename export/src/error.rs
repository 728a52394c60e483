//! Everything that can go wrong between a checkpoint and a bundle. Each message says what to do next.

use descry_model::Method;
use std::path::PathBuf;

/// Why a checkpoint cannot be read, merged or written as a bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A file or folder the system does not let us read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file or folder the system does not let us write.
    #[error("cannot write {path}: {source}")]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Content of no known checkpoint format.
    #[error(
        "{path} is {found}, not a checkpoint; expected a PyTorch checkpoint (a zip file, as torch.save writes since \
         version 1.6), a .safetensors file or a Hugging Face CLIPModel folder"
    )]
    NotACheckpoint {
        /// The file or folder.
        path: PathBuf,
        /// What its content looks like.
        found: String,
    },
    /// The bare-pickle format of PyTorch before 1.6, which mixes weights and pickles in one stream.
    #[error(
        "{path} is a bare pickle, the format of PyTorch before version 1.6; save it again with a newer PyTorch: \
         torch.save(torch.load('{}', map_location='cpu', weights_only=True), 'new.pth')", .path.display()
    )]
    LegacyPickle {
        /// The file.
        path: PathBuf,
    },
    /// A part of a checkpoint that is missing, cut off or inconsistent.
    #[error("{path} is damaged or incomplete at {entry}: {reason}; download or save it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The part of the file.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A well-formed checkpoint in a variant that Descry does not read.
    #[error("{path} cannot be used: {reason}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it needs and how to save it without.
        reason: String,
    },
    /// A pickle that would run a program or arbitrary code if it were executed.
    #[error(
        "{path} asks to call `{callable}` while it is loaded, as malicious checkpoints do; Descry never executes \
         pickled code and refuses this file. Do not open it with torch.load either: get the checkpoint from a source \
         you trust"
    )]
    HostilePickle {
        /// The file.
        path: PathBuf,
        /// `module.name` of what was to be called.
        callable: String,
    },
    /// A Python object where weights must be.
    #[error(
        "{path} asks to call `{callable}` to obtain {place}; Descry never executes pickled code. Save the plain \
         weights instead: torch.save({{'model': model.state_dict()}}, 'new.pth')"
    )]
    PickledObject {
        /// The file.
        path: PathBuf,
        /// `module.name` of the class or function.
        callable: String,
        /// Where the object was found.
        place: String,
    },
    /// A checkpoint without weights where they are looked for.
    #[error(
        "{path} holds no state dict: expected a dict of tensors, alone or under `model`, `state_dict` or \
         `model_state_dict`, found {found}"
    )]
    NoStateDict {
        /// The file.
        path: PathBuf,
        /// What it holds instead.
        found: String,
    },
    /// Two tensors that become one after the wrappers' prefixes are removed, with different values.
    #[error(
        "`{first}` and `{second}` both mean `{key}` but have different values; remove the wrong one from the checkpoint"
    )]
    DuplicateTensor {
        /// The name both have without prefixes.
        key: String,
        /// Name of the first in the checkpoint.
        first: String,
        /// Name of the second in the checkpoint.
        second: String,
    },
    /// Towers in parts behind different prefixes.
    #[error(
        "the file holds more than one model: one behind the prefix `{first}`, another behind `{second}`; save the state dict \
         of the one that is meant"
    )]
    SeveralModels {
        /// The prefix of most tensors.
        first: String,
        /// Another one, with tensors that the first lacks.
        second: String,
    },
    /// Weights that are NaN or infinite.
    #[error(
        "`{key}` has {count} of {total} values that are NaN or infinite in float32; the training run diverged, use \
         an earlier checkpoint"
    )]
    NonFinite {
        /// The tensor.
        key: String,
        /// How many values are not finite.
        count: usize,
        /// How many values there are.
        total: usize,
    },
    /// A tensor the method needs and the checkpoint lacks.
    #[error("the checkpoint has no tensor `{key}`, expected {expected}; is it complete and of this method?")]
    MissingTensor {
        /// The tensor.
        key: String,
        /// The shape it should have, in words.
        expected: String,
    },
    /// Tensors that no part of the method's model uses: exporting without them would give other embeddings.
    #[error(
        "{count} tensors are unknown to the method {method}, the first: {}; was the right checkpoint given?",
        .keys.join(", ")
    )]
    UnexpectedTensors {
        /// The first few.
        keys: Vec<String>,
        /// How many there are.
        count: usize,
        /// The method they do not belong to.
        method: String,
    },
    /// A tensor of another shape than the model needs.
    #[error("`{key}` has shape {found:?}, expected {expected}")]
    WrongShape {
        /// The tensor.
        key: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have, in words.
        expected: String,
    },
    /// Weights that belong to no method that Descry exports.
    #[error("the weights are of no known method ({}): {reason}", Method::names())]
    UnknownMethod {
        /// What was looked for, or what contradicts what.
        reason: String,
    },
    /// A fine-tuned position embedding that does not fit the image size.
    #[error(
        "the checkpoint has {found} position embeddings, images of {height}x{width} pixels (height x width) need \
         {expected}; give the image size and stride the model was trained with"
    )]
    PositionCount {
        /// Rows of the position embedding.
        found: usize,
        /// Rows that the image size needs.
        expected: usize,
        /// Image height in pixels.
        height: usize,
        /// Image width in pixels.
        width: usize,
    },
    /// An image size that has as many patches as the one that the settings state, and is another.
    #[error(
        "the image size and stride given are {given}; the settings beside the checkpoint say {stated}, which are as many, \
         and which the position embeddings were trained on. Leave --image-size and --stride out, or give \
         --image-size {stated_size} (height x width)"
    )]
    OtherGrid {
        /// What the flags come to.
        given: String,
        /// What the settings come to.
        stated: String,
        /// The settings' image size.
        stated_size: String,
    },
    /// No tokenizer for a bundle that is to read texts.
    #[error(
        "no tokenizer was found that fits the {vocabulary_size} token ids of the checkpoint's text tower{}; give the one it \
         was trained with, --tokenizer FILE (a tokenizer.json or a merge table). --without-tokenizer makes a bundle that \
         cannot be searched by text",
        .misfit.as_ref().map(|misfit| format!(" (not {misfit})")).unwrap_or_default()
    )]
    NoTokenizer {
        /// Ids of the text tower.
        vocabulary_size: usize,
        /// The file that was found and does not fit, and why.
        misfit: Option<String>,
    },
    /// A setting that has no usable value.
    #[error("setting `{name}`: {reason}")]
    Setting {
        /// Its name, as in the file or flag that gave it.
        name: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// A settings file that cannot be used as a whole.
    #[error("{path} is not a usable settings file: {reason}")]
    SettingsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The bundle's own parts: manifest, tokenizer, preprocessing.
    #[error(transparent)]
    Model(#[from] descry_model::ModelError),
}
