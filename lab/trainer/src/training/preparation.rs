//! Everything a run needs before its first step.

use super::contrasts;
use crate::assembly::{Assembled, assemble};
use crate::data::{EvaluationInputs, ImageCache, TrainingPairs, epoch_batches};
use crate::model::Model;
use crate::parameters::saved;
use crate::report::{Position, StartReport, TrainRequest};
use crate::run::{ModelShape, RunDescription, RunFolder, TrainingState};
use crate::{DeviceKind, Recipe, TrainError, memory};
use descry_export::{Activation, Checkpoint, ExportError, RunSettings};
use descry_model::method::clip::{CLASS_EMBEDDING, HEAD_WIDTH, TOKEN_EMBEDDING};
use descry_model::text_input::read_limited;
use descry_model::{MAX_TOKENIZER_BYTES, TextInput, TextTokenizer, Vocabulary};
use ndarray::ArrayD;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// What the names of trained tensors start with in a saved state.
pub(super) const TRAINED: &str = "trained.";

/// Model and data of a run.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) model: Model,
    pub(super) pairs: Arc<TrainingPairs>,
    pub(super) cache: Arc<ImageCache>,
    pub(super) evaluation: EvaluationInputs,
    pub(super) shape: ModelShape,
    device: String,
}

impl Prepared {
    pub(super) fn start_report(&self, recipe: &Recipe, resumed_at: Option<Position>, is_trained: bool) -> StartReport {
        let (trained_parameters, total_parameters) = self.model.parameters().counts();
        let batches = epoch_batches(&self.pairs, recipe.sampler, recipe.batch_size, recipe.seed, 0);
        StartReport {
            method: recipe.method,
            trained_parameters,
            total_parameters,
            pairs: self.pairs.len(),
            identities: self.pairs.identity_count(),
            images: self.pairs.image_count(),
            steps_per_epoch: batches.len(),
            epochs: recipe.epochs,
            device: self.device.clone(),
            threads: recipe.device.threads,
            resumed_at,
            is_trained,
        }
    }
}

/// Makes the run folder: from here on the run is described by it alone.
pub(super) fn start(request: &TrainRequest) -> Result<RunFolder, TrainError> {
    let mut recipe = request.recipe.clone();
    if recipe.device.threads == 0 {
        // Sums depend on it, so a continuation on another machine has to keep it. A GPU takes a batch in one piece.
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        recipe.device.threads = if recipe.device.kind == DeviceKind::Cpu { cores() } else { 1 };
    }
    recipe.validate()?;
    contrasts::check_recipe(&recipe)?;
    let base = request.base.as_deref().map(Checkpoint::open).transpose()?;
    base.iter().try_for_each(check_base)?;
    let ids =
        base.as_ref().and_then(|base| base.tensors.get(TOKEN_EMBEDDING)).and_then(|ids| ids.shape().first().copied());
    let found = descry_export::tokenizer_json(request.tokenizer.as_deref(), request.base.as_deref(), ids);
    let (json, tokenizer) = found.map_err(|error| {
        let ExportError::NoTokenizer { misfit, .. } = error else { return TrainError::from(error) };
        let beside = misfit.map_or_else(|| "none lies beside the base".to_owned(), |misfit| format!("not {misfit}"));
        let reason = format!("{beside}, and CLIP's own has other ids; give one");
        TrainError::Setting { name: "tokenizer".to_owned(), reason }
    })?;
    let description = RunDescription {
        recipe,
        base: request.base.clone(),
        base_sha256: base.map(|base| base.source_sha256),
        tokenizer,
        root: request.root.clone(),
        dataset_sha256: None,
        descry_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    RunFolder::create(&request.out, &description, &json)
}

/// Reads base, data and, for a continuation, the saved weights, and checks them. Writes nothing: a refused continuation
/// leaves its folder as it was.
pub(super) fn prepare(folder: &mut RunFolder, state: Option<&TrainingState>) -> Result<Prepared, TrainError> {
    let description = folder.description().clone();
    let recipe = &description.recipe;
    let (tokenizer, vocabulary) = read_tokenizer(&folder.tokenizer_path(), recipe)?;
    let ids = usize::try_from(vocabulary.highest_id).unwrap_or_default() + 1;
    let (base, settings) = match read_base(&description)? {
        Some(base) => (Some(base.tensors), base.settings),
        None => (None, RunSettings::default()),
    };
    let Assembled { mut model, shape, device } = assemble(recipe, base, &settings, ids)?;
    memory::check(recipe, &shape)?;
    if let Some(state) = state {
        restore(&mut model, &state.tensors).map_err(|reason| folder.damaged_state(&reason))?;
    }
    let pairs = TrainingPairs::load(recipe.dataset, &description.root, &tokenizer, &vocabulary)?;
    check_dataset(folder, pairs.annotations_sha256())?;
    let batches = epoch_batches(&pairs, recipe.sampler, recipe.batch_size, recipe.seed, 0);
    if batches.is_empty() {
        let reason = "there are fewer identities than one batch needs; lower batch_size".to_owned();
        return Err(TrainError::Setting { name: "sampler".to_owned(), reason });
    }
    let cache = ImageCache::new(pairs.image_paths().to_vec(), &recipe.input, &recipe.loading);
    if let Some(state) = state {
        cache.retry(&state.progress.unreadable_images)?;
    }
    let split = recipe.evaluation.split.as_str();
    let evaluation =
        EvaluationInputs::load(recipe.dataset, &description.root, split, &tokenizer, &recipe.input, &recipe.loading)?;
    let people: HashSet<i64> = evaluation.image_identities().iter().copied().collect();
    if !evaluation.caption_identities().iter().any(|identity| people.contains(identity)) {
        let reason = format!("is `{split}`, where no caption has an image of its person; choose another split");
        return Err(TrainError::Setting { name: "evaluation.split".to_owned(), reason });
    }
    Ok(Prepared { model, pairs: Arc::new(pairs), cache: Arc::new(cache), evaluation, shape, device })
}

/// Refuses a base whose blocks compute what is not trained here: every other number of it would be taken, and wrongly.
fn check_base(base: &Checkpoint) -> Result<(), TrainError> {
    let refuse = |reason: String| Err(TrainError::Setting { name: "base".to_owned(), reason });
    let settings = &base.settings;
    if [settings.vision_activation, settings.text_activation].contains(&Some(Activation::Gelu)) {
        return refuse("its configuration says GELU; only models with QuickGELU are trained".to_owned());
    }
    let width = |key: &str| base.tensors.get(key).and_then(|tensor| tensor.shape().last().copied());
    let towers = [(settings.vision_heads, width(CLASS_EMBEDDING)), (settings.text_heads, width(TOKEN_EMBEDDING))];
    for (heads, width) in towers.into_iter().filter_map(|(heads, width)| heads.zip(width)) {
        if heads.checked_mul(HEAD_WIDTH) != Some(width) {
            let reason = format!(
                "its configuration says {heads} heads for a width of {width}; heads of {HEAD_WIDTH} are trained"
            );
            return refuse(reason);
        }
    }
    Ok(())
}

fn read_base(description: &RunDescription) -> Result<Option<Checkpoint>, TrainError> {
    let Some(path) = &description.base else { return Ok(None) };
    let base = Checkpoint::open(path)?;
    if description.base_sha256.as_ref().is_some_and(|digest| *digest != base.source_sha256) {
        let reason = "it is another file than the one the run was started from; put that one back".to_owned();
        return Err(TrainError::RunFolder { path: path.clone(), reason });
    }
    Ok(Some(base))
}

/// Checks that a run goes on with the pairs it began with. One that does not know yet, because it begins now or began
/// with an earlier version, remembers these.
fn check_dataset(folder: &mut RunFolder, digest: &str) -> Result<(), TrainError> {
    let mut description = folder.description().clone();
    match &description.dataset_sha256 {
        Some(begun_with) if begun_with == digest => Ok(()),
        Some(_) => {
            let reason = format!(
                "the annotation file of the data set in {} is not the one that the run was started with; put that one \
                 back, or start a new run on this one",
                description.root.display()
            );
            Err(TrainError::RunFolder { path: folder.path().to_owned(), reason })
        }
        None => {
            description.dataset_sha256 = Some(digest.to_owned());
            folder.describe(description);
            Ok(())
        }
    }
}

fn read_tokenizer(path: &Path, recipe: &Recipe) -> Result<(TextTokenizer, Vocabulary), TrainError> {
    let unreadable = |source| TrainError::Unreadable { path: path.to_owned(), source };
    let json = read_limited(path, MAX_TOKENIZER_BYTES).map_err(unreadable)?;
    let vocabulary = Vocabulary::of_tokenizer(&json)?;
    let input = TextInput {
        context_length: recipe.input.context_length,
        vocabulary_size: usize::try_from(vocabulary.highest_id).unwrap_or_default() + 1,
        start_of_text_id: vocabulary.start_of_text_id,
        end_of_text_id: vocabulary.end_of_text_id,
        mask_id: vocabulary.mask_id,
        padding_id: 0,
        caption_rules: None,
    };
    Ok((TextTokenizer::from_bytes(&json, input)?, vocabulary))
}

/// Puts saved weights into the model. The error is the reason, for the caller to say what to do.
fn restore(model: &mut Model, state: &BTreeMap<String, ArrayD<f32>>) -> Result<(), String> {
    let trained = model.parameters().trained().iter();
    let sizes: Vec<(String, usize)> = trained.map(|(name, variable)| (name.clone(), variable.elem_count())).collect();
    for (name, size) in sizes {
        let values = saved(state, &format!("{TRAINED}{name}"), size)?;
        model.set_trained(&name, values).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A base whose towers are 128 and 64 wide.
    fn check(settings: RunSettings) -> Result<(), String> {
        let widths = [(CLASS_EMBEDDING, vec![128]), (TOKEN_EMBEDDING, vec![5, 64])];
        let base = Checkpoint {
            path: "base".into(),
            source_sha256: String::new(),
            tensors: widths.map(|(key, shape)| (key.to_owned(), ArrayD::zeros(shape))).into(),
            element_types: BTreeMap::new(),
            settings,
        };
        check_base(&base).map_err(|error| error.to_string())
    }

    #[test]
    fn a_base_that_computes_otherwise_is_refused() {
        check(RunSettings::default()).unwrap();
        check(RunSettings { vision_heads: Some(2), text_heads: Some(1), ..RunSettings::default() }).unwrap();
        let gelu = check(RunSettings { text_activation: Some(Activation::Gelu), ..RunSettings::default() });
        assert!(gelu.unwrap_err().contains("only models with QuickGELU are trained"));
        let narrow = check(RunSettings { text_heads: Some(4), ..RunSettings::default() }).unwrap_err();
        assert!(narrow.contains("4 heads for a width of 64"), "{narrow}");
    }
}
