use super::*;
use crate::{DeviceKind, Method, Preset, SamplerSettings};
use descry_evaluation::DatasetLayout;
use proptest::prelude::*;
use std::path::PathBuf;

fn base() -> Recipe {
    Recipe::published(Method::DmAdapter, DatasetLayout::CuhkPedes)
}

fn pairs(overrides: &[(&str, &str)]) -> Vec<(String, String)> {
    overrides.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn set(overrides: &[(&str, &str)]) -> Result<Recipe, TrainError> {
    Recipe::layered(base(), None, &pairs(overrides))
}

fn write(folder: &tempfile::TempDir, yaml: &str) -> PathBuf {
    let path = folder.path().join("recipe.yaml");
    std::fs::write(&path, yaml).unwrap();
    path
}

#[track_caller]
fn refused(overrides: &[(&str, &str)], name: &str) -> String {
    match set(overrides) {
        Err(TrainError::Setting { name: found, reason }) => {
            assert_eq!(found, name, "{reason}");
            reason
        }
        other => panic!("{overrides:?}: {other:?}"),
    }
}

#[test]
fn every_preset_comes_through_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    for preset in Preset::ALL {
        for method in Method::TRAINABLE {
            for dataset in DatasetLayout::ALL {
                let recipe = Recipe::preset(preset, method, dataset);
                assert_eq!(Recipe::layered(recipe.clone(), None, &[]).unwrap(), recipe);
                // What `--show-recipe` prints is a file that gives the same recipe, whatever the preset under it.
                let path = write(&folder, &serde_json::to_string_pretty(&recipe).unwrap());
                let under = Recipe::published(method, dataset);
                assert_eq!(Recipe::layered(under, Some(&path), &[]).unwrap(), recipe);
            }
        }
    }
}

#[test]
fn later_layers_win() {
    let folder = tempfile::tempdir().unwrap();
    let yaml =
        "epochs: 7\nbatch_size: 64\noptimizer:\n  learning_rate: 1e-4\naugmentation:\n  erase_area: [0.1, 0.2]\n";
    let path = write(&folder, yaml);
    let overrides = pairs(&[("epochs", "8"), ("epochs", "9"), ("schedule.every_step", "true")]);
    let recipe = Recipe::layered(base(), Some(&path), &overrides).unwrap();
    let mut expected = base();
    expected.epochs = 9;
    expected.batch_size = 64;
    expected.optimizer.learning_rate = 1e-4;
    expected.augmentation.erase_area = (0.1, 0.2);
    expected.schedule.every_step = true;
    assert_eq!(recipe, expected);
}

#[test]
fn options_tuples_and_kinds_are_set_and_unset() {
    let recipe = set(&[
        ("micro_batch_size", "16"),
        ("optimizer.gradient_clip_norm", "1"),
        ("up_person.depth_lora", "3"),
        ("up_person.depth_adapter", "null"),
        ("augmentation.erase_aspect", "[1, 2.5]"),
        ("sampler.kind", "identity"),
        ("sampler.instances", "4"),
        ("device.kind", "cuda"),
        ("evaluation.split", "val"),
    ])
    .unwrap();
    assert_eq!(recipe.micro_batch_size, Some(16));
    assert_eq!(recipe.optimizer.gradient_clip_norm, Some(1.0));
    assert_eq!((recipe.up_person.depth_lora, recipe.up_person.depth_adapter), (Some(3), None));
    assert_eq!(recipe.augmentation.erase_aspect, (1.0, 2.5));
    assert_eq!(recipe.sampler, SamplerSettings::Identity { instances: 4 });
    assert_eq!(recipe.device.kind, DeviceKind::Cuda);
    assert_eq!(recipe.evaluation.split, "val");
    let back = pairs(&[
        ("micro_batch_size", "~"),
        ("optimizer.gradient_clip_norm", "null"),
        ("up_person.depth_lora", "null"),
        ("sampler.kind", "random"),
    ]);
    let recipe = Recipe::layered(recipe, None, &back).unwrap();
    assert_eq!((recipe.micro_batch_size, recipe.optimizer.gradient_clip_norm), (None, None));
    assert_eq!((recipe.up_person.depth_lora, recipe.sampler), (None, SamplerSettings::Random));
}

#[test]
fn unknown_names_are_refused_by_name() {
    assert!(refused(&[("learning_rate", "1")], "learning_rate").contains("unknown field `learning_rate`"));
    assert!(refused(&[("optimizer.lr", "1")], "optimizer.lr").contains("learning_rate"));
    refused(&[("epochs", "3"), ("sampler.instance", "4")], "sampler.instance");
    refused(&[("optimizer learning", "1")], "optimizer learning");
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, "loss:\n  temprature: 0.1\n");
    let message = Recipe::layered(base(), Some(&path), &[]).unwrap_err().to_string();
    assert!(message.contains("loss.temprature"), "{message}");
}

#[test]
fn values_of_another_type_are_refused_by_name() {
    for (name, value) in [
        ("epochs", "0.6"),
        ("epochs", "-3"),
        ("epochs", "many"),
        ("epochs", "true"),
        ("epochs", "null"),
        ("micro_batch_size", "0.5"),
        ("schedule.every_step", "1"),
        ("schedule.every_step", "yes"),
        ("optimizer.learning_rate", "high"),
        ("optimizer.epsilon", "null"),
        ("augmentation.erase_area", "0.4"),
        ("augmentation.erase_area", "[0.1, 0.2, 0.3]"),
        ("device.kind", "tpu"),
        ("sampler", "random"),
        ("loading", "4"),
        ("evaluation.split", "7"),
    ] {
        refused(&[("batch_size", "64"), (name, value)], name);
    }
    refused(&[("optimizer.gradient_clip_norm", "1e999")], "recipe");
    refused(&[("optimizer.gradient_clip_norm", ".nan")], "optimizer.gradient_clip_norm");
    refused(&[("sampler.kind", "identity")], "sampler");
}

#[test]
fn a_whole_section_is_no_value() {
    for (name, value) in [("loss", "{balancing_weight: 1}"), ("dm_adapter", "{}"), ("loss", "\n  matching: itc")] {
        let reason = refused(&[(name, value)], name);
        assert!(reason.contains(&format!("{name}.KEY=VALUE")), "{reason}");
    }
}

#[test]
fn another_method_than_the_presets_is_refused() {
    refused(&[("method", "up-person")], "method");
    refused(&[("dataset", "rstpreid")], "dataset");
    set(&[("method", "dm-adapter")]).unwrap();
}

#[test]
fn files_that_are_no_settings_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for yaml in ["- epochs\n", "epochs: [", "epochs: 1\nepochs: 2\n", "60"] {
        let path = write(&folder, yaml);
        assert!(Recipe::layered(base(), Some(&path), &[]).is_err(), "{yaml}");
    }
    let path = write(&folder, "");
    assert_eq!(Recipe::layered(base(), Some(&path), &[]).unwrap(), base());
    let missing = folder.path().join("missing.yaml");
    let error = Recipe::layered(base(), Some(&missing), &[]).unwrap_err();
    assert!(matches!(error, TrainError::Unreadable { .. }), "{error}");
}

proptest! {
    #[test]
    fn numbers_come_through_exactly(learning_rate in 1e-12_f64..1.0, seed in any::<u32>(), epochs in 1_usize..1_000) {
        let numbers = [
            ("optimizer.learning_rate".to_owned(), learning_rate.to_string()),
            ("seed".to_owned(), seed.to_string()),
            ("epochs".to_owned(), epochs.to_string()),
        ];
        let recipe = Recipe::layered(base(), None, &numbers).unwrap();
        prop_assert_eq!(recipe.optimizer.learning_rate, learning_rate);
        prop_assert_eq!((recipe.seed, recipe.epochs), (u64::from(seed), epochs));
    }
}

#[test]
fn settings_of_one_method_are_known() {
    let recipe = Recipe::published(Method::Clip, DatasetLayout::CuhkPedes);
    let recipe = serde_json::to_value(recipe).unwrap();
    let mut of_one = Vec::new();
    for (section, value) in recipe.as_object().unwrap() {
        for key in value.as_object().into_iter().flat_map(|entries| entries.keys()) {
            let name = format!("{section}.{key}");
            of_one.extend(Recipe::method_of_setting(&name).map(|method| format!("{method} {name}")));
        }
    }
    assert_eq!(of_one.iter().filter(|name| name.starts_with("dm-adapter dm_adapter.")).count(), 4);
    assert_eq!(of_one.iter().filter(|name| name.starts_with("dm-adapter loss.balanc")).count(), 2);
    assert_eq!(of_one.iter().filter(|name| name.starts_with("up-person up_person.")).count(), 7);
    assert_eq!(of_one.len(), 13);
    assert_eq!(Recipe::method_of_setting("up_person"), Some(Method::UpPerson));
    assert_eq!(Recipe::method_of_setting("epochs"), None);
}
