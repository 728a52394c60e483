use super::*;
use descry_evaluation::DatasetLayout;
use descry_export::RunSettings;

const VIT_B_16: ModelShape = ModelShape {
    vision_width: 768,
    vision_layers: 12,
    text_layers: 12,
    vocabulary_size: 49_408,
    patch_px: 16,
    stride_px: 16,
};

fn published(method: Method) -> String {
    let recipe = Recipe::published(method, DatasetLayout::CuhkPedes);
    text(&recipe, &VIT_B_16, None, Path::new("data"), Path::new("logs/CUHK-PEDES/run"))
}

/// The keys in the order of both methods' fixtures, which the published code wrote; in UP-Person's, `reduction` is a
/// constant and not written.
#[test]
fn it_has_the_published_keys_in_the_published_order() {
    let keys = |method| -> Vec<String> {
        let text = published(method);
        let keys = text.lines().filter(|line| !line.starts_with('-')).filter_map(|line| line.split_once(':'));
        keys.map(|(key, _)| key.to_owned()).collect()
    };
    let up_person = "MLM alpha batch_size beta bias_lr_factor cmt_depth dataset_name depth depth_adapter depth_lora \
        depth_prefix distributed eval_period gamma id_loss_weight img_aug img_size local_rank log_period \
        loss_names lr lr_factor lrscheduler masked_token_rate masked_token_unchanged_rate milestones \
        mlm_loss_weight momentum n_ctx name num_epoch num_instance num_workers optimizer output_dir power \
        prefix_length pretrain_choice rank reduction resume resume_ckpt_file root_dir sampler stride_size \
        target_lr temperature test_batch_size text_length training val_dataset vocab_size warmup_epochs \
        warmup_factor warmup_method weight_decay weight_decay_bias";
    assert_eq!(keys(Method::UpPerson), up_person.split_whitespace().collect::<Vec<_>>());
    let dm_adapter = "MLM alpha batch_size beta bias_lr_factor cmt_depth dataset_name distributed eval_period gamma \
        id_loss_weight img_aug img_size local_rank log_period loss_names lr lr_factor lrscheduler \
        masked_token_rate masked_token_unchanged_rate milestones mlm_loss_weight momentum name num_epoch \
        num_experts num_instance num_workers optimizer output_dir power pretrain_choice reduction resume \
        resume_ckpt_file root_dir sampler stride_size target_lr temperature test_batch_size text_length topk \
        training val_dataset vocab_size warmup_epochs warmup_factor warmup_method weight_decay \
        weight_decay_bias";
    assert_eq!(keys(Method::DmAdapter), dm_adapter.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn values_are_written_as_pyyaml_does() {
    let text = published(Method::DmAdapter);
    for line in [
        "MLM: true",
        "alpha: 0.9",
        "bias_lr_factor: 2.0",
        "dataset_name: CUHK-PEDES",
        "img_size: !!python/tuple\n- 384\n- 128\nlocal_rank: 0",
        "loss_names: sdm+aux",
        "lr: 0.0003",
        "milestones: !!python/tuple\n- 20\n- 50",
        "name: run",
        "output_dir: logs/CUHK-PEDES/run",
        "pretrain_choice: ViT-B/16",
        "resume_ckpt_file: ''",
        "target_lr: 0",
        "warmup_epochs: 5",
        "weight_decay: 4.0e-05",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} is not in\n{text}");
    }
}

#[test]
fn python_numbers_and_texts() {
    for (value, expected) in [
        (1e-5, "1.0e-05"),
        (1.5e-7, "1.5e-07"),
        (1e16, "1.0e+16"),
        (1e-4, "0.0001"),
        (60.0, "60.0"),
        (1e-100, "1.0e-100"),
    ] {
        assert_eq!(float(value), expected);
    }
    for (text, expected) in [
        ("a b", "'a b'"),
        ("it's", "'it''s'"),
        ("off", "'off'"),
        ("60", "'60'"),
        ("/data/x: y", "'/data/x: y'"),
        ("a\nb", "\"a\\nb\""),
        ("/mnt/run_1", "/mnt/run_1"),
    ] {
        assert_eq!(quoted(text), expected);
    }
}

#[test]
fn export_reads_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("configs.yaml");
    let mut recipe = Recipe::small(Method::UpPerson, DatasetLayout::CuhkPedes);
    recipe.up_person.depth_adapter = None;
    recipe.up_person.depth_lora = Some(2);
    let shape = ModelShape { vision_width: 128, vision_layers: 5, text_layers: 3, vocabulary_size: 512, ..VIT_B_16 };
    let base = Path::new("/data/it's a base.pt");
    std::fs::write(&file, text(&recipe, &shape, Some(base), Path::new("/data"), Path::new("/runs/one"))).unwrap();
    let read = RunSettings::read(&file).unwrap();
    assert_eq!(
        read,
        RunSettings {
            image_size_px: Some((128, 48)),
            stride: Some(16),
            context_length: Some(56),
            reduction: Some(8),
            rank: Some(16),
            prefix_length: Some(6),
            depth_lora: Some(2),
            depth_prefix: Some(5),
            depth_adapter: Some(5),
            vocab_size: Some(512),
            ..RunSettings::default()
        }
    );
}
