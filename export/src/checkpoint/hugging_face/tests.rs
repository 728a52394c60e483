use crate::{Activation, Checkpoint, ExportError, LibraryDefaults, RunSettings};
use ndarray::ArrayD;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const CONFIG: &str = r#"{"model_type": "clip",
    "text_config": {"hidden_size": 64, "num_attention_heads": 1, "max_position_embeddings": 5, "vocab_size": 7,
        "bos_token_id": 5, "eos_token_id": 6, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-05},
    "vision_config": {"hidden_size": 128, "num_attention_heads": 2, "image_size": 8, "patch_size": 4}}"#;

/// Names and shapes.
type Tensors = Vec<(String, Vec<usize>)>;

/// Tensors of distinct small shapes, each counting up from its own hundred.
fn model() -> Tensors {
    let mut tensors: Tensors = [
        ("logit_scale", vec![]),
        ("vision_model.embeddings.class_embedding", vec![2]),
        ("vision_model.embeddings.patch_embedding.weight", vec![2, 3, 1, 1]),
        ("visual_projection.weight", vec![3, 2]),
        ("text_model.embeddings.token_embedding.weight", vec![7, 2]),
        ("text_model.final_layer_norm.bias", vec![2]),
        ("text_projection.weight", vec![3, 2]),
    ]
    .map(|(key, shape)| (key.to_owned(), shape))
    .into();
    for block in ["vision_model.encoder.layers.10", "text_model.encoder.layers.0"] {
        for part in ["q", "k", "v"] {
            tensors.push((format!("{block}.self_attn.{part}_proj.weight"), vec![1, 2]));
            tensors.push((format!("{block}.self_attn.{part}_proj.bias"), vec![1]));
        }
        tensors.push((format!("{block}.mlp.fc1.weight"), vec![4, 2]));
    }
    tensors
}

fn write(path: &Path, tensors: &[(String, Vec<usize>)]) {
    let bytes: Vec<Vec<u8>> = (1..)
        .zip(tensors)
        .map(|(number, (_, shape))| {
            (0..shape.iter().product::<usize>())
                .flat_map(|index| (100.0 * number as f32 + index as f32).to_le_bytes())
                .collect()
        })
        .collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((key, shape), bytes)| (key.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, path).unwrap();
}

fn folder(config: &str, tensors: &[(String, Vec<usize>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("model.safetensors"), tensors);
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    folder
}

fn flat(tensors: &BTreeMap<String, ArrayD<f32>>, key: &str) -> (Vec<usize>, Vec<f32>) {
    (tensors[key].shape().to_vec(), tensors[key].iter().copied().collect())
}

fn check_refused(result: Result<Checkpoint, ExportError>, parts: &[&str]) {
    let message = result.unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn names_and_packing_become_openais() {
    let folder = folder(CONFIG, &model());
    for path in [folder.path().to_owned(), folder.path().join("model.safetensors")] {
        let checkpoint = Checkpoint::open(&path).unwrap();
        let tensors = &checkpoint.tensors;
        let keys: Vec<&str> = tensors.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "ln_final.bias",
                "text_projection",
                "token_embedding.weight",
                "transformer.resblocks.0.attn.in_proj_bias",
                "transformer.resblocks.0.attn.in_proj_weight",
                "transformer.resblocks.0.mlp.c_fc.weight",
                "visual.class_embedding",
                "visual.conv1.weight",
                "visual.proj",
                "visual.transformer.resblocks.10.attn.in_proj_bias",
                "visual.transformer.resblocks.10.attn.in_proj_weight",
                "visual.transformer.resblocks.10.mlp.c_fc.weight",
            ]
        );
        assert_eq!(flat(tensors, "visual.proj"), (vec![2, 3], vec![400.0, 402.0, 404.0, 401.0, 403.0, 405.0]));
        assert_eq!(
            flat(tensors, "visual.transformer.resblocks.10.attn.in_proj_weight"),
            (vec![3, 2], vec![800.0, 801.0, 1000.0, 1001.0, 1200.0, 1201.0])
        );
        assert_eq!(flat(tensors, "transformer.resblocks.0.attn.in_proj_bias"), (vec![3], vec![1600.0, 1800.0, 2000.0]));
        let expected = RunSettings {
            image_size_px: Some((8, 8)),
            trained_size_px: Some((8, 8)),
            stride: Some(4),
            context_length: Some(5),
            vocab_size: Some(7),
            vision_activation: Some(Activation::QuickGelu),
            text_activation: Some(Activation::QuickGelu),
            vision_heads: Some(2),
            text_heads: Some(1),
            // The vision tower's activation is not written down.
            defaults: Some(LibraryDefaults {
                library: "transformers",
                activation: true,
                heads: false,
                resize_filter: None,
            }),
            start_of_text_id: Some(5),
            end_of_text_id: Some(6),
            ..RunSettings::default()
        };
        assert_eq!(checkpoint.settings, expected);
    }
}

#[test]
fn shards_are_read_together() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (model()[..5].to_vec(), model()[5..].to_vec());
    write(&folder.path().join("model-1.safetensors"), &first);
    write(&folder.path().join("model-2.safetensors"), &second);
    let index: PathBuf = folder.path().join("model.safetensors.index.json");
    let write_index = |second_file: &str| {
        let text =
            format!(r#"{{"metadata": {{}}, "weight_map": {{"a": "model-1.safetensors", "b": "{second_file}"}}}}"#);
        std::fs::write(&index, text).unwrap();
    };
    write_index("model-2.safetensors");
    assert_eq!(Checkpoint::open(folder.path()).unwrap().tensors.len(), 12);
    write_index("../model-2.safetensors");
    check_refused(Checkpoint::open(folder.path()), &["not a file name within the folder"]);
    write_index("model-3.safetensors");
    check_refused(Checkpoint::open(folder.path()), &["model-3.safetensors", "download all shards"]);
}

/// As `save_pretrained` cuts a model with `safe_serialization=False`; named by the folder or by the index.
#[test]
fn shards_of_pytorch_files_are_read_together() {
    let folder = tempfile::tempdir().unwrap();
    let name = |number: usize| format!("pytorch_model-0000{number}-of-00002.bin");
    write(&folder.path().join(name(1)), &model()[..5]);
    write(&folder.path().join(name(2)), &model()[5..]);
    // Without the index the message names what is there.
    check_refused(Checkpoint::open(folder.path()), &["2 other weight files", &name(1), "index of their shards"]);
    let index = folder.path().join("pytorch_model.bin.index.json");
    let text = format!(r#"{{"metadata": {{"total": NaN}}, "weight_map": {{"a": "{}", "b": "{}"}}}}"#, name(1), name(2));
    std::fs::write(&index, format!("\u{FEFF}{text}")).unwrap();
    let whole = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(whole.tensors.len(), 12);
    assert_eq!(Checkpoint::open(&index).unwrap().tensors, whole.tensors);
    check_refused(Checkpoint::open_with_settings(&folder.path().join("nowhere.pth"), &index), &["nowhere.pth"]);
    std::fs::write(folder.path().join("weights.pth"), "{}").unwrap();
    check_refused(Checkpoint::open(&folder.path().join("weights.pth")), &["a JSON file", ".index.json"]);
}

#[test]
fn devices_are_no_checkpoints() {
    check_refused(Checkpoint::open(Path::new("/dev/zero")), &["/dev/zero", "a device or a pipe"]);
}

#[test]
fn marks_and_numbers_of_other_programs_do_no_harm() {
    let config = CONFIG.replace("{\"model_type\"", "{\"score\": NaN, \"model_type\"");
    let folder = folder(&format!("\u{FEFF}{config}"), &model());
    assert_eq!(Checkpoint::open(folder.path()).unwrap().settings.context_length, Some(5));
    std::fs::write(folder.path().join("config.json"), b"{\"a\": \"\xE9\"}").unwrap();
    check_refused(Checkpoint::open(folder.path()), &["config.json", "byte 0xE9 at offset 7"]);
}

#[test]
fn models_that_compute_something_else_are_refused() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("quick_gelu", "gelu_new", &["text_config.hidden_act", "\"gelu_new\"", "quick_gelu"]),
        (
            "\"num_attention_heads\": 2",
            "\"num_attention_heads\": 3",
            &["vision_config.num_attention_heads", "is 3", "128"],
        ),
        ("1e-05", "1e-06", &["text_config.layer_norm_eps", "0.000001"]),
        ("\"model_type\": \"clip\"", "\"model_type\": \"siglip\"", &["model_type", "siglip"]),
        ("\"image_size\": 8", "\"image_size\": [8, 8]", &["vision_config", "usable settings file"]),
        (
            "\"text_config\"",
            "\"vision_config_dict\": {\"hidden_act\": \"relu\"}, \"text_config\"",
            &["vision_config.hidden_act"],
        ),
        ("{\"model_type\"", "[", &["usable settings file"]),
    ];
    for (from, to, parts) in cases {
        let config = CONFIG.replacen(from, to, 1);
        assert_ne!(&config, CONFIG);
        check_refused(Checkpoint::open(folder(&config, &model()).path()), parts);
    }
}

#[test]
fn activation_and_heads_are_the_configurations() {
    let config = CONFIG
        .replace("\"num_attention_heads\": 2", "\"num_attention_heads\": 4, \"hidden_act\": \"gelu\"")
        .replace("\"hidden_size\": 64, \"num_attention_heads\": 1", "\"hidden_size\": 64, \"num_attention_heads\": 8");
    let settings = Checkpoint::open(folder(&config, &model()).path()).unwrap().settings;
    assert_eq!(settings.vision_activation, Some(Activation::Gelu));
    assert_eq!(settings.text_activation, Some(Activation::QuickGelu));
    assert_eq!((settings.vision_heads, settings.text_heads), (Some(4), Some(8)));
}

#[test]
fn absent_and_legacy_fields_have_their_published_meaning() {
    let config = CONFIG.replace("\"eos_token_id\": 6", "\"eos_token_id\": 2").replace("\"image_size\": 8, ", "");
    let settings = Checkpoint::open(folder(&config, &model()).path()).unwrap().settings;
    assert_eq!(settings.image_size_px, Some((224, 224)));
    assert_eq!((settings.start_of_text_id, settings.end_of_text_id), (None, None));
}

#[test]
fn a_file_without_its_folder_is_enough() {
    let folder = folder(CONFIG, &model());
    std::fs::remove_file(folder.path().join("config.json")).unwrap();
    let checkpoint = Checkpoint::open(&folder.path().join("model.safetensors")).unwrap();
    assert_eq!(checkpoint.settings, RunSettings::default());
    assert_eq!(checkpoint.tensors.len(), 12);
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let with = |change: &dyn Fn(&mut Tensors)| {
        let mut tensors = model();
        change(&mut tensors);
        Checkpoint::open(folder(CONFIG, &tensors).path())
    };
    check_refused(
        with(&|tensors| tensors.push(("vision_model.head.bias".to_owned(), vec![1]))),
        &["1 tensors are unknown", "CLIPModel", "vision_model.head.bias"],
    );
    check_refused(
        with(&|tensors| tensors.retain(|(key, _)| key != "text_model.encoder.layers.0.self_attn.k_proj.bias")),
        &["`transformer.resblocks.0.attn.in_proj_bias`", "q_proj, k_proj and v_proj"],
    );
    check_refused(
        with(&|tensors| {
            for (key, shape) in tensors.iter_mut().filter(|(key, _)| key.ends_with("10.self_attn.v_proj.weight")) {
                assert!(key.starts_with("vision"));
                *shape = vec![2, 2];
            }
        }),
        &["v_proj.weight` has shape [2, 2], expected [1, 2]"],
    );
}
