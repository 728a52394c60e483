//! Checkpoint files to named float32 tensors, without executing pickled code.
//!
//! Every format ends in the key names of OpenAI's CLIP, so the methods need to know one set of names only.

mod hugging_face;
mod model_config;
mod named_tensors;
mod open_clip;
mod pickle;
mod run_settings;
mod safetensors_file;
mod state_dict;
mod strided;
mod tbps_clip;
#[cfg(test)]
mod tests;
mod torch_file;
mod wrapping;

pub use model_config::{LibraryDefaults, PixelSettings};
pub use named_tensors::ElementType;
pub use run_settings::RunSettings;

use crate::ExportError;
use descry_model::Method;
use descry_model::method::clip::IMAGE_SIDE;
use descry_model::method::irra::is_its_patch_kernel;
use named_tensors::NamedTensors;
use ndarray::ArrayD;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Weights and settings of a training run, as float32 under the published models' key names.
#[derive(Debug)]
pub struct Checkpoint {
    /// The file or folder that was opened.
    pub path: PathBuf,
    /// SHA-256 of the weight file in hexadecimal, the source checkpoint's name in the manifest. Of several shards, the
    /// SHA-256 over their digests, one per line in the order of their names.
    pub source_sha256: String,
    /// The state dict's floating-point tensors, finite, row-major, without the wrappers' key prefixes. Constants such as
    /// causal masks and integer tensors are left out, but for the side of the images in OpenAI's archives.
    pub tensors: BTreeMap<String, ArrayD<f32>>,
    /// How many tensors the file stores in which type.
    pub element_types: BTreeMap<ElementType, usize>,
    /// What the files beside the weights say about the run.
    pub settings: RunSettings,
}

impl Checkpoint {
    /// Opens a PyTorch zip checkpoint, a `.safetensors` file or a Hugging Face `CLIPModel` folder, whatever its name,
    /// with the settings in the run's `configs.yaml` beside it ([`RunSettings::beside`]).
    ///
    /// # Errors
    /// An [`ExportError`] that names the file and the part of it that cannot be used.
    pub fn open(path: &Path) -> Result<Self, ExportError> {
        Self::read(path, RunSettings::beside)
    }

    /// [`Checkpoint::open`] with the settings of a given file in place of the one beside the checkpoint.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn open_with_settings(path: &Path, settings: &Path) -> Result<Self, ExportError> {
        Self::read(path, |_| RunSettings::read(settings).map(Some))
    }

    /// Which published method the weights belong to, by the keys that only it has.
    ///
    /// # Errors
    /// [`ExportError::UnknownMethod`] for what is no vision transformer, or has parts of two methods.
    pub fn method(&self) -> Result<Method, ExportError> {
        crate::merging::detect(&self.tensors, self.settings.saved_by)
    }

    fn read(
        path: &Path,
        run_settings: impl FnOnce(&Path) -> Result<Option<RunSettings>, ExportError>,
    ) -> Result<Self, ExportError> {
        let weights = Weights::find(path)?;
        weights.files.iter().try_for_each(|file| check_weight_file(file))?;
        let mut settings = run_settings(&weights.location)?.unwrap_or_default();
        let source_sha256 = weights.sha256()?;
        let mut tensors = NamedTensors::new();
        for file in &weights.files {
            for (key, tensor) in read_tensors(file)? {
                if tensors.insert(key.clone(), tensor).is_some() {
                    let reason = "another shard holds it too".to_owned();
                    return Err(ExportError::Damaged { path: file.clone(), entry: format!("tensor `{key}`"), reason });
                }
            }
        }
        let is_of_irras_class = tensors.keys().any(|name| is_its_patch_kernel(name));
        let tensors = named_tensors::unwrap(tensors)?;
        let mut element_types = BTreeMap::new();
        for tensor in tensors.values() {
            *element_types.entry(tensor.element).or_default() += 1;
        }
        let mut tensors = tensors.into_iter().map(|(key, tensor)| (key, tensor.values)).collect();
        if hugging_face::has_its_names(&tensors) {
            settings = settings.or(hugging_face::read_config(&weights.location)?);
            tensors = hugging_face::rename(tensors)?;
        } else if tbps_clip::has_its_names(&tensors) {
            let of_base = open_clip::read_config_of_base(&weights.location, &tensors)?;
            settings = settings.or(of_base).or(published_settings(Method::TbpsClip));
            tensors = tbps_clip::rename(tensors);
        } else if is_of_irras_class {
            let of_base = open_clip::read_config_of_base(&weights.location, &tensors)?;
            settings = settings.or(of_base).or(published_settings(Method::Irra));
        } else {
            tensors = open_clip::rename(tensors);
            let method = crate::merging::detect(&tensors, None);
            if method.is_ok_and(|method| method != Method::Clip) {
                settings = settings.or(open_clip::read_config_of_base(&weights.location, &tensors)?);
            } else {
                settings = settings.or(open_clip::read_config(&weights.location)?);
                settings.trained_size_px = settings.trained_size_px.or(size_in_archive(&tensors));
            }
        }
        Ok(Self { path: path.to_owned(), source_sha256, tensors, element_types, settings })
    }
}

/// Height and width of the square images that OpenAI's archives say they were trained with.
fn size_in_archive(tensors: &BTreeMap<String, ArrayD<f32>>) -> Option<(usize, usize)> {
    let side = tensors.get(IMAGE_SIDE).filter(|side| side.len() == 1)?.first().copied()?;
    let is_a_size = side.fract() == 0.0 && (1.0..=MAX_IMAGE_SIDE_PX).contains(&side);
    is_a_size.then_some((side as usize, side as usize))
}

/// Far above any model's.
const MAX_IMAGE_SIDE_PX: f32 = 65_536.0;

/// What the published code of a method fixes and neither tensors under OpenAI's names nor a run's settings tell.
pub(crate) fn published_settings(method: Method) -> RunSettings {
    match method {
        Method::TbpsClip => tbps_clip::published_settings(),
        Method::Irra => RunSettings { saved_by: Some(method), ..RunSettings::default() },
        // By their tensors, these are known under any prefix.
        Method::Clip | Method::DmAdapter | Method::UpPerson | Method::Rde => RunSettings::default(),
    }
}

/// Weights in a folder, in the order they are looked for: `transformers`' and OpenCLIP's.
const WEIGHT_FILES: [&str; 4] =
    ["model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"];

/// Where a checkpoint's weights lie.
struct Weights {
    /// The file whose neighbours are the run's settings.
    location: PathBuf,
    /// One file, or the shards of a Hugging Face folder in the order of their names.
    files: Vec<PathBuf>,
}

impl Weights {
    fn find(path: &Path) -> Result<Self, ExportError> {
        if path.to_string_lossy().ends_with(".index.json") && path.is_file() {
            return Self::of_index(path.to_owned());
        }
        if !path.is_dir() {
            return Ok(Self { location: path.to_owned(), files: vec![path.to_owned()] });
        }
        for name in WEIGHT_FILES {
            let file = path.join(name);
            if file.is_file() {
                return Ok(Self { location: file.clone(), files: vec![file] });
            }
        }
        let indices = ["model.safetensors.index.json", "pytorch_model.bin.index.json"];
        if let Some(index) = indices.iter().map(|name| path.join(name)).find(|index| index.is_file()) {
            return Self::of_index(index);
        }
        Err(ExportError::NotACheckpoint { path: path.to_owned(), found: describe_folder(path)? })
    }

    /// The shards that an index names.
    fn of_index(index: PathBuf) -> Result<Self, ExportError> {
        let files = hugging_face::shards(&index)?;
        if let Some(missing) = files.iter().find(|file| !file.is_file()) {
            let reason = "the index names it, and it is not there; download all shards".to_owned();
            return Err(ExportError::Damaged { path: index, entry: missing.display().to_string(), reason });
        }
        Ok(Self { location: index, files })
    }

    fn sha256(&self) -> Result<String, ExportError> {
        let digests = self.files.iter().map(|file| file_sha256(file)).collect::<Result<Vec<_>, _>>()?;
        Ok(match <[String; 1]>::try_from(digests) {
            Ok([digest]) => digest,
            Err(digests) => descry_model::sha256_hex((digests.join("\n") + "\n").as_bytes()),
        })
    }
}

/// Weights and an optimiser's state of a ViT-L/14 take five.
const MAX_WEIGHT_BYTES: u64 = 32 << 30;

/// Refuses what has no end, and what is read more than once and cannot be.
fn check_weight_file(path: &Path) -> Result<(), ExportError> {
    let metadata =
        std::fs::metadata(path).map_err(|source| ExportError::Unreadable { path: path.to_owned(), source })?;
    let found = if !metadata.is_file() {
        "a device or a pipe".to_owned()
    } else if metadata.len() > MAX_WEIGHT_BYTES {
        format!("a file of {} bytes (at most {MAX_WEIGHT_BYTES} are read)", metadata.len())
    } else {
        return Ok(());
    };
    Err(ExportError::NotACheckpoint { path: path.to_owned(), found })
}

/// What a folder without weights has instead.
fn describe_folder(path: &Path) -> Result<String, ExportError> {
    const ENDINGS: [&str; 5] = ["pth", "pt", "bin", "safetensors", "ckpt"];
    const SHOWN: usize = 5;
    let unreadable = |source| ExportError::Unreadable { path: path.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        if Path::new(&name).extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    let folder = "a folder without model.safetensors, pytorch_model.bin or the index of their shards";
    Ok(match names.len() {
        0 => folder.to_owned(),
        count => {
            names.truncate(SHOWN);
            format!("{folder} (it holds {count} other weight files, {}; give the one that is meant)", names.join(", "))
        }
    })
}

fn file_sha256(path: &Path) -> Result<String, ExportError> {
    descry_model::file_sha256(path).map_err(|source| ExportError::Unreadable { path: path.to_owned(), source })
}

/// Reads a weight file of the format that its first bytes show; names are often wrong (`.pt`, `.pth`, `.bin`).
fn read_tensors(path: &Path) -> Result<NamedTensors, ExportError> {
    const HEAD_BYTES: u64 = 64;
    let unreadable = |source| ExportError::Unreadable { path: path.to_owned(), source };
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head)).map_err(unreadable)?;
    let not_a_checkpoint = |found: &str| ExportError::NotACheckpoint { path: path.to_owned(), found: found.to_owned() };
    match head.as_slice() {
        [b'P', b'K', 3, 4, ..] => torch_file::read(path),
        [_, _, _, _, _, _, 0, 0, b'{', ..] => safetensors_file::read(path),
        [0x80, 2..=5, ..] => Err(ExportError::LegacyPickle { path: path.to_owned() }),
        [] => Err(not_a_checkpoint("an empty file")),
        text if text.starts_with(b"version https://git-lfs") => {
            Err(not_a_checkpoint("a Git LFS pointer (fetch the file itself with `git lfs pull`)"))
        }
        text if descry_model::text_input::without_mark(text).trim_ascii_start().starts_with(b"{") => {
            Err(not_a_checkpoint("a JSON file (of a checkpoint in shards, give the folder or its .index.json)"))
        }
        text if text.trim_ascii_start().starts_with(b"<") => Err(not_a_checkpoint("a web page or XML")),
        other => {
            let start = other.get(..8.min(other.len())).unwrap_or_default().escape_ascii();
            Err(not_a_checkpoint(&format!("a file that starts with \"{start}\"")))
        }
    }
}
