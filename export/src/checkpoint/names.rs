//! From the names in a file to the names of the published models.

use super::{NamedTensors, StoredTensor};
use crate::ExportError;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What wrappers put before the model's own names: `DataParallel` and the retrieval papers' model class.
const WRAPPER_PREFIXES: [&str; 2] = ["module.", "base_model."];
/// Last parts of names that are no weights: constants which some scripts register as buffers (masks hold -infinity).
const CONSTANTS: [&str; 3] = ["attn_mask", "position_ids", "num_batches_tracked"];

/// Removes the wrappers' prefixes, drops constants and refuses values that are not finite.
///
/// # Errors
/// [`ExportError::DuplicateTensor`] when two names become one but their values differ; [`ExportError::NonFinite`].
pub(super) fn unwrap(tensors: NamedTensors) -> Result<NamedTensors, ExportError> {
    let mut unwrapped = NamedTensors::new();
    let mut origins: BTreeMap<String, String> = BTreeMap::new();
    for (original, tensor) in tensors {
        let key = without_wrappers(&original).to_owned();
        if key.rsplit('.').next().is_some_and(|last| CONSTANTS.contains(&last)) {
            continue;
        }
        check_finite(&key, &tensor)?;
        match unwrapped.entry(key) {
            Entry::Vacant(place) => {
                origins.insert(place.key().clone(), original);
                place.insert(tensor);
            }
            Entry::Occupied(place) if place.get().values == tensor.values => {}
            Entry::Occupied(place) => {
                let key = place.key().clone();
                let first = origins.get(&key).cloned().unwrap_or_default();
                return Err(ExportError::DuplicateTensor { key, first, second: original });
            }
        }
    }
    Ok(unwrapped)
}

fn without_wrappers(mut name: &str) -> &str {
    while let Some(rest) = WRAPPER_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        name = rest;
    }
    name
}

fn check_finite(key: &str, tensor: &StoredTensor) -> Result<(), ExportError> {
    let count = tensor.values.iter().filter(|value| !value.is_finite()).count();
    if count > 0 {
        return Err(ExportError::NonFinite { key: key.to_owned(), count, total: tensor.values.len() });
    }
    Ok(())
}
