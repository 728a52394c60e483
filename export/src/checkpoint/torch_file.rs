//! PyTorch's zip checkpoints: `<name>/data.pkl` describes the tensors, `<name>/data/<n>` are their storages.

use super::named_tensors::{ElementType, NamedTensors, StoredTensor};
use super::pickle::{Pickle, PickleFault};
use super::state_dict::{self, PickledTensors, StateDictFault};
use super::strided::Layout;
use crate::ExportError;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

/// The description of the largest published checkpoints takes a few hundred kilobytes.
const MAX_PICKLE_BYTES: u64 = 64 << 20;
/// Elements of all tensors together, per byte of the file. Half-precision weights saved under two names need 1;
/// stride-0 views of hostile files could ask for any number.
const MAX_ELEMENTS_PER_BYTE: u64 = 4;

/// Reads the tensors of the state dict in a PyTorch zip checkpoint, and nothing of the optimiser's.
pub(super) fn read(path: &Path) -> Result<NamedTensors, ExportError> {
    let mut archive = TorchArchive::open(path)?;
    archive.check_byte_order()?;
    let bytes = archive.entry("data.pkl", MAX_PICKLE_BYTES)?;
    let pickle = Pickle::read(&bytes).map_err(|fault| match fault {
        PickleFault::Damaged { offset, reason } => archive.damaged("data.pkl", format!("{reason} (byte {offset})")),
        PickleFault::Hostile { callable } => ExportError::HostilePickle { path: path.to_owned(), callable },
    })?;
    let tensors = state_dict::tensors(&pickle).map_err(|fault| match fault {
        StateDictFault::Absent { found } => ExportError::NoStateDict { path: path.to_owned(), found },
        StateDictFault::Object { callable, place } => {
            ExportError::PickledObject { path: path.to_owned(), callable, place }
        }
        StateDictFault::Malformed { key, reason } => archive.damaged("data.pkl", format!("tensor `{key}`: {reason}")),
        StateDictFault::Unsupported { key, reason } => {
            ExportError::Unsupported { path: path.to_owned(), reason: format!("tensor `{key}`: {reason}") }
        }
    })?;
    archive.materialise(&tensors)
}

struct TorchArchive<'a> {
    path: &'a Path,
    zip: ZipArchive<BufReader<File>>,
    file_bytes: u64,
    /// The folder inside the zip file, with its slash; torch.save names it after the file.
    root: String,
}

impl<'a> TorchArchive<'a> {
    fn open(path: &'a Path) -> Result<Self, ExportError> {
        let unreadable = |source| ExportError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let file_bytes = file.metadata().map_err(unreadable)?.len();
        let zip = ZipArchive::new(BufReader::new(file)).map_err(|error| ExportError::Damaged {
            path: path.to_owned(),
            entry: "its zip directory".to_owned(),
            reason: error.to_string(),
        })?;
        let roots: Vec<String> = zip
            .file_names()
            .filter_map(Result::ok)
            .filter_map(|name| name.strip_suffix("data.pkl").map(str::to_owned))
            .filter(|root| root.is_empty() || root.ends_with('/') && root.matches('/').count() == 1)
            .collect();
        let found = match <[String; 1]>::try_from(roots) {
            Ok([root]) => return Ok(Self { path, zip, file_bytes, root }),
            Err(roots) if roots.is_empty() => "a zip file without data.pkl".to_owned(),
            Err(roots) => format!("a zip file with {} files data.pkl", roots.len()),
        };
        Err(ExportError::NotACheckpoint { path: path.to_owned(), found })
    }

    fn check_byte_order(&mut self) -> Result<(), ExportError> {
        // Absent from files of before PyTorch 2.1, which are little-endian on every machine in use.
        if self.zip.index_for_name(&format!("{}byteorder", self.root)).is_none() {
            return Ok(());
        }
        let order = self.entry("byteorder", 64)?;
        if order.trim_ascii() == b"little" {
            return Ok(());
        }
        let reason = format!(
            "its byte order is `{}`, only `little` is read; save it again after \
             torch.serialization.set_default_load_endianness on a little-endian machine",
            order.escape_ascii()
        );
        Err(ExportError::Unsupported { path: self.path.to_owned(), reason })
    }

    fn damaged(&self, entry: &str, reason: impl Into<String>) -> ExportError {
        ExportError::Damaged {
            path: self.path.to_owned(),
            entry: format!("{}{entry}", self.root),
            reason: reason.into(),
        }
    }

    /// Reads one entry, refusing sizes that the file cannot hold before taking memory for them.
    fn entry(&mut self, name: &str, max_bytes: u64) -> Result<Vec<u8>, ExportError> {
        let (path, max_bytes) = (self.path, max_bytes.min(self.file_bytes));
        let full_name = format!("{}{name}", self.root);
        let damaged = |reason: String| ExportError::Damaged { path: path.to_owned(), entry: full_name.clone(), reason };
        let unsupported = |what: &str| ExportError::Unsupported {
            path: path.to_owned(),
            reason: format!(
                "its entry {full_name} is {what}; write it with torch.save, which stores entries as they are"
            ),
        };
        let index = self.zip.index_for_name(&full_name).ok_or_else(|| damaged("the entry is missing".to_owned()))?;
        let mut entry = self.zip.by_index(index).map_err(|error| {
            if let ZipError::CompressionMethodNotSupported(_) = error {
                unsupported("compressed")
            } else if let ZipError::UnsupportedArchive(what) = error {
                unsupported(what)
            } else {
                damaged(error.to_string())
            }
        })?;
        if entry.compression() != CompressionMethod::Stored {
            return Err(unsupported("compressed"));
        }
        let size = entry.size();
        if size > max_bytes {
            return Err(damaged(format!("its size of {size} bytes is over {max_bytes} bytes")));
        }
        let mut bytes = Vec::with_capacity(size as usize);
        entry.by_ref().take(size + 1).read_to_end(&mut bytes).map_err(|error| damaged(error.to_string()))?;
        if bytes.len() as u64 != size {
            return Err(damaged(format!("it ends after {} of {size} bytes", bytes.len())));
        }
        Ok(bytes)
    }

    /// Reads each storage once and copies its tensors out of it.
    fn materialise(&mut self, tensors: &PickledTensors<'_>) -> Result<NamedTensors, ExportError> {
        self.check_sizes(tensors)?;
        let mut by_storage: BTreeMap<(&str, ElementType), Vec<&String>> = BTreeMap::new();
        for (key, tensor) in tensors {
            by_storage.entry((tensor.storage, tensor.element)).or_default().push(key);
        }
        let mut named = NamedTensors::new();
        for ((storage, element), keys) in by_storage {
            let entry = format!("data/{storage}");
            let values = element.decode(&self.entry(&entry, u64::MAX)?);
            for key in keys {
                let Some(tensor) = tensors.get(key) else { continue };
                if values.len() < tensor.storage_elements {
                    let reason = format!(
                        "tensor `{key}` needs a storage of {} {element} numbers, this one has {}",
                        tensor.storage_elements,
                        values.len()
                    );
                    return Err(self.damaged(&entry, reason));
                }
                let Some(values) = tensor.layout.gather(&values) else {
                    return Err(self.damaged(&entry, format!("tensor `{key}` does not fit in it")));
                };
                named.insert(key.clone(), StoredTensor { element, values });
            }
        }
        Ok(named)
    }

    /// Holds every tensor against its storage and their sum against the file, before any of them is read.
    fn check_sizes(&self, tensors: &PickledTensors<'_>) -> Result<(), ExportError> {
        let mut total = 0u64;
        for (key, tensor) in tensors {
            let end = tensor.layout.storage_end().filter(|&end| end <= tensor.storage_elements);
            let (Some(_), Some(count)) = (end, tensor.layout.element_count()) else {
                let Layout { offset, shape, strides } = &tensor.layout;
                let reason = format!(
                    "tensor `{key}` (offset {offset}, shape {shape:?}, strides {strides:?}) does not fit in its \
                     storage of {} numbers",
                    tensor.storage_elements
                );
                return Err(self.damaged("data.pkl", reason));
            };
            total = total.saturating_add(count as u64);
        }
        if total > self.file_bytes.saturating_mul(MAX_ELEMENTS_PER_BYTE) {
            let reason = format!("its tensors have {total} elements, too many for a file of {} bytes", self.file_bytes);
            return Err(self.damaged("data.pkl", reason));
        }
        Ok(())
    }
}
