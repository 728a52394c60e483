//! What is trained is what the papers train, and nothing else moves.

use super::stand::{borrowed, finished, last_record, tensors};
use crate::stands::commands::succeed;
use serde_json::Value;

/// Of the CLIP that is trained here: both towers have two blocks of this width.
const WIDTH: usize = 128;
const BLOCKS: usize = 4;
/// Of the recipe for small models.
const REDUCTION: usize = 8;

/// Weights and biases of one adapter.
const fn adapter() -> usize {
    let units = WIDTH / REDUCTION;
    units * WIDTH + units + WIDTH * units + WIDTH
}

/// Layer norm, domain prompt, two gates, the factor between them, and the experts (DM-Adapter, AAAI 2025).
const fn dm_adapter() -> usize {
    let experts = 6;
    BLOCKS * (2 * WIDTH + WIDTH + 2 * experts * WIDTH + 1 + experts * adapter())
}

/// Two adapters with their factors, LoRA of keys and values, and the prefix (UP-Person, TCSVT 2025).
const fn up_person() -> usize {
    let (rank, prefix_length) = (16, 6);
    let lora = 2 * (rank * WIDTH + WIDTH * rank + 1);
    let prefix = 2 * (prefix_length * WIDTH + 1) + 1;
    BLOCKS * (2 * (adapter() + 1) + lora + prefix)
}

/// `marks`: what the names of the method's tensors contain.
fn check_trained(method: &str, expected: usize, marks: &[&str]) {
    let run = finished(method);
    let base = tensors(&finished("clip").folder.join("best.safetensors"));
    let trained = tensors(&run.folder.join("last.safetensors"));
    for (name, before) in &base {
        let after = trained.get(name).unwrap_or_else(|| panic!("{name} is lost"));
        assert!(after == before, "{name} is frozen, yet it changed");
    }
    let mut count = 0;
    for (name, stored) in trained.iter().filter(|(name, _)| !base.contains_key(*name)) {
        assert!(marks.iter().any(|mark| name.contains(mark)), "{name} does not belong to {method}");
        match prefix_of_copy(name) {
            // The published modules hold a prefix twice.
            Some(original) => assert!(trained[&original] == *stored, "{name} is not {original}"),
            None => count += stored.bytes.len() / 4,
        }
    }
    assert_eq!(count, expected);
    let start = last_record(&run.folder, "start");
    assert_eq!(start["trained_parameters"], expected, "{start}");
    let all = base.values().map(|stored| stored.bytes.len() / 4).sum::<usize>() + expected;
    assert_eq!(start["total_parameters"], all, "{start}");
    assert!(run.printed.contains(&format!("{method}: {expected} of {all} parameters are trained")), "{}", run.printed);
}

/// The learner's name of a prefix that is attached to an attention.
fn prefix_of_copy(name: &str) -> Option<String> {
    let (block, part) = name.split_once(".attn.prefix.")?;
    let (tower, layer) = block.rsplit_once('.')?;
    let learner =
        if tower.starts_with("visual.") { "vit_prefix_learner.vit_prefix" } else { "text_prefix_learner.text_prefix" };
    Some(format!("{learner}.{layer}.{part}"))
}

#[test]
fn dm_adapter_trains_its_mixtures() {
    check_trained("dm-adapter", dm_adapter(), &[".feed_forward.", ".ln_3.", ".task_param"]);
}

#[test]
fn up_person_trains_its_three_parts() {
    let marks = [
        "adapter_ln_",
        ".scale_1",
        ".scale_2",
        "LORA_learner.",
        "vit_prefix_learner.",
        "text_prefix_learner.",
        ".attn.prefix.",
    ];
    check_trained("up-person", up_person(), &marks);
}

#[test]
fn a_benchmark_steps_what_a_run_trains() {
    for (method, expected) in [("dm-adapter", dm_adapter()), ("up-person", up_person())] {
        let weights = finished(method).folder.join("last.safetensors");
        let words = ["bench", "train", "--batch", "4", "--tokens", "12", "--steps", "2", "--threads", "2"];
        let mut arguments: Vec<String> = words.map(str::to_owned).to_vec();
        arguments.extend(["--checkpoint".to_owned(), weights.to_str().unwrap().to_owned()]);
        let printed = succeed(&borrowed(&arguments));
        for word in ["2 steps", "min", "median", &expected.to_string(), "loss"] {
            assert!(printed.contains(word), "{word:?} is not in: {printed}");
        }
        arguments.extend(["--json", "-"].map(str::to_owned));
        let report: Value = serde_json::from_str(&succeed(&borrowed(&arguments))).unwrap();
        assert_eq!(report["trained_parameters"], expected);
        assert_eq!(report["step_ms"].as_array().unwrap().len(), 2);
    }
}
