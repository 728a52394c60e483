use super::history::EvaluationRecord;
use super::*;
use crate::{Method, Recipe};
use descry_evaluation::DatasetLayout;
use ndarray::{Array2, arr0};

const SHAPE: ModelShape = ModelShape {
    vision_width: 128,
    vision_layers: 5,
    text_layers: 3,
    vocabulary_size: 512,
    patch_px: 16,
    stride_px: 16,
};

fn description() -> RunDescription {
    let mut recipe = Recipe::small(Method::DmAdapter, DatasetLayout::CuhkPedes);
    // Not every decimal of a number is read back to the same bits.
    recipe.optimizer.learning_rate = 0.1 + 0.2;
    RunDescription {
        recipe,
        base: Some(PathBuf::from("models/clip.pt")),
        base_sha256: Some("0".repeat(64)),
        tokenizer: "CLIP's published merge table".to_owned(),
        root: PathBuf::from("data"),
        dataset_sha256: None,
        descry_version: "0.1.0".to_owned(),
    }
}

fn create(path: &Path) -> Result<RunFolder, TrainError> {
    RunFolder::create(path, &description(), b"{}")
}

fn evaluation(epoch: usize) -> EvaluationRecord {
    EvaluationRecord {
        epoch,
        split: "test".to_owned(),
        rank_1: 68.375,
        rank_5: 92.75,
        rank_10: 97.875,
        mean_average_precision: 69.79,
        mean_inverse_negative_penalty: 58.97,
        queries: 1_600,
        gallery: 800,
        unmatched_queries: 0,
        is_best: true,
        seconds: 3.5,
    }
}

fn state(epoch: usize) -> TrainingState {
    TrainingState {
        progress: Progress {
            epoch,
            step: 3,
            loss_sum: 12.5,
            losses: 3,
            evaluation_due: false,
            steps_total: 40,
            best: Some(evaluation(1)),
            unreadable_images: vec![3, 8],
            elapsed_seconds: 61.25,
            metrics_bytes: 0,
        },
        tensors: BTreeMap::from([
            ("adapter.weight".to_owned(), Array2::from_elem((2, 3), 0.1).into_dyn()),
            ("adapter.weight.mean".to_owned(), Array2::from_elem((2, 3), 1e-30).into_dyn()),
            ("step".to_owned(), arr0(40.0).into_dyn()),
        ]),
    }
}

fn refusal(result: Result<impl Sized, TrainError>) -> String {
    match result {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_run_goes_on_where_it_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs/one");
    let mut run = create(&path).unwrap();
    let started = run.description().clone();
    assert!(started.root.is_absolute() && started.base.as_ref().unwrap().ends_with("models/clip.pt"));
    let line = HistoryRecord::Evaluation(evaluation(1));
    run.append_history(&line).unwrap();
    run.save_state(&state(1)).unwrap();
    let saved = fs::read(path.join(HISTORY)).unwrap();
    // Steps after the save are lost, and their lines with them.
    run.append_history(&HistoryRecord::Evaluation(evaluation(2))).unwrap();
    let longer = fs::read(path.join(HISTORY)).unwrap();
    drop(run);

    let (mut run, read) = RunFolder::open(&path).unwrap();
    assert_eq!(*run.description(), started);
    let mut expected = state(1);
    expected.progress.metrics_bytes = saved.len() as u64;
    assert_eq!(read, Some(expected));
    assert_eq!(fs::read(path.join(HISTORY)).unwrap(), longer, "it may still be refused");
    run.append_history(&line).unwrap();
    assert_eq!(fs::read(path.join(HISTORY)).unwrap(), [saved.clone(), saved].concat());
    assert_eq!(fs::read(run.tokenizer_path()).unwrap(), b"{}");
}

#[test]
fn what_is_written_down_later_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = create(folder.path()).unwrap();
    let changed = RunDescription { dataset_sha256: Some("1".repeat(64)), ..run.description().clone() };
    let read = || RunDescription::read(&folder.path().join(DESCRIPTION)).unwrap();
    let before = read();
    run.describe(changed.clone());
    assert_eq!((run.description(), read()), (&changed, before));
    run.begin(&SHAPE).unwrap();
    drop(run);
    assert_eq!(*RunFolder::open(folder.path()).unwrap().0.description(), changed);
}

#[test]
fn a_description_of_an_earlier_version_has_no_digest_of_the_data_set() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path()).unwrap();
    let path = folder.path().join(DESCRIPTION);
    let mut description: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    description.as_object_mut().unwrap().remove("dataset_sha256").unwrap();
    fs::write(&path, description.to_string()).unwrap();
    assert_eq!(RunFolder::open(folder.path()).unwrap().0.description().dataset_sha256, None);
}

#[test]
fn metrics_that_a_power_cut_shortened_are_whole_lines() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = create(folder.path()).unwrap();
    for epoch in 1..=2 {
        run.append_history(&HistoryRecord::Evaluation(evaluation(epoch))).unwrap();
    }
    run.save_state(&state(2)).unwrap();
    drop(run);
    let path = folder.path().join(HISTORY);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    RunFolder::open(folder.path()).unwrap().0.save_state(&state(2)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), whole[..whole.len() / 2]);
}

#[test]
fn a_run_that_was_never_saved_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = create(folder.path()).unwrap();
    let line = HistoryRecord::Evaluation(evaluation(1));
    run.append_history(&line).unwrap();
    drop(run);
    let path = folder.path().join(HISTORY);
    let once = fs::read(&path).unwrap();
    fs::write(folder.path().join(".state.safetensors.partial"), "torn").unwrap();
    let (mut run, state) = RunFolder::open(folder.path()).unwrap();
    assert_eq!(state, None);
    run.append_history(&line).unwrap();
    assert_eq!(fs::read(&path).unwrap(), once);
    assert!(!folder.path().join(".state.safetensors.partial").exists());
}

#[test]
fn two_processes_do_not_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let run = create(folder.path()).unwrap();
    assert!(refusal(RunFolder::open(folder.path())).contains("another process"));
    drop(run);
    RunFolder::open(folder.path()).unwrap();
}

#[test]
fn folders_with_something_in_them_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path()).unwrap();
    assert!(refusal(create(folder.path())).contains("--resume"));

    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(TOKENIZER), "mine").unwrap();
    assert!(refusal(create(folder.path())).contains("not empty"));
    assert!(refusal(RunFolder::open(folder.path())).contains("holds no run"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    // What a process leaves that is killed while it makes its run.
    fs::write(folder.path().join(LOCK), "").unwrap();
    fs::write(folder.path().join(".run.json.partial"), "{").unwrap();
    create(folder.path()).unwrap();
}

#[test]
fn a_damaged_state_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = create(folder.path()).unwrap();
    run.save_state(&state(1)).unwrap();
    drop(run);
    let path = folder.path().join(STATE);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let message = refusal(RunFolder::open(folder.path()));
    assert!(message.contains("state.safetensors") && message.contains("start a new run"), "{message}");
    // Weights are no state.
    let weights = BTreeMap::from([("a".to_owned(), arr0(1.0).into_dyn())]);
    fs::remove_file(&path).unwrap();
    let (run, _) = RunFolder::open(folder.path()).unwrap();
    run.write_weights(WeightsFile::Last, &weights, false).unwrap();
    drop(run);
    fs::rename(folder.path().join(WeightsFile::Last.name()), &path).unwrap();
    assert!(refusal(RunFolder::open(folder.path())).contains("its header lacks"));
}

#[test]
fn a_damaged_description_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path()).unwrap();
    fs::write(folder.path().join(DESCRIPTION), "{\"recipe\": 3}").unwrap();
    assert!(refusal(RunFolder::open(folder.path())).contains("start a new one"));
}

#[test]
fn weights_are_what_export_reads() {
    let folder = tempfile::tempdir().unwrap();
    let run = create(folder.path()).unwrap();
    run.write_settings(&SHAPE).unwrap();
    let weights = state(1).tensors;
    run.write_weights(WeightsFile::Best, &weights, false).unwrap();
    let checkpoint = descry_export::Checkpoint::open(&run.weights_path(WeightsFile::Best)).unwrap();
    assert_eq!(checkpoint.tensors, weights);
    assert_eq!(checkpoint.settings.num_experts, Some(6));
    let large = BTreeMap::from([("a".to_owned(), arr0(1e6).into_dyn())]);
    run.write_weights(WeightsFile::Last, &large, false).unwrap();
    assert!(refusal(run.write_weights(WeightsFile::Last, &large, true)).contains("float16"));
}

#[test]
fn curves_are_drawn_from_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = create(folder.path()).unwrap();
    run.draw_curves().unwrap();
    assert!(!folder.path().join(CURVES).exists());
    run.append_history(&HistoryRecord::Evaluation(evaluation(1))).unwrap();
    run.draw_curves().unwrap();
    assert!(fs::read_to_string(folder.path().join(CURVES)).unwrap().contains("dm-adapter on cuhk-pedes"));
}
