//! Checkpoints and flags that `descry export` must refuse, by name; sameness of what it writes.

use descry_encoder::{EncoderConfig, open_towers};
use descry_export::ModelFlags;
use descry_model::Bundle;
use descry_tests::{demo_folder, descry, export_fixture, golden_folder, stored_zip, write_safetensors};
use std::fs;
use std::path::Path;

fn export(checkpoint: &Path, out: &Path, more: &[&str]) -> Result<String, String> {
    let mut arguments = vec!["export", "--checkpoint", checkpoint.to_str().unwrap(), "--out", out.to_str().unwrap()];
    arguments.extend(more);
    // The published fixtures have vocabularies of their own and no tokenizer, which has to be asked for.
    if !more.contains(&"--tokenizer") && !checkpoint.with_file_name("tokenizer.json").is_file() {
        arguments.push("--without-tokenizer");
    }
    let output = descry(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn check_refused(checkpoint: &Path, more: &[&str], mentions: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let message = export(checkpoint, &folder.path().join("bundle"), more).unwrap_err();
    for word in mentions {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a refused export leaves nothing behind");
}

fn fixture(name: &str) -> std::path::PathBuf {
    golden_folder().join("fixtures").join(name)
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| {
        let out = folder.path().join(name);
        export(&demo_folder().join("up_person.safetensors"), &out, &[]).unwrap();
        let mut files: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|path| (path.file_name().unwrap().to_owned(), fs::read(path).unwrap())).collect::<Vec<_>>()
    };
    assert!(read("one") == read("two"));
}

#[test]
fn the_summary_tells_what_was_exported() {
    let folder = tempfile::tempdir().unwrap();
    let summary = export(&demo_folder().join("dm_adapter.safetensors"), &folder.path().join("bundle"), &[]).unwrap();
    for word in ["dm-adapter", "fingerprint", "6, top-2", "parameters", "tokenizer.json", "128 x 48"] {
        assert!(summary.contains(word), "{word:?} is not in: {summary}");
    }
}

#[test]
fn every_number_of_chosen_experts_merges_exactly() {
    // The bundle's goldens come from the unmerged weights; opening the towers compares.
    for top_k in [1, 3, 6] {
        let folder = tempfile::tempdir().unwrap();
        let flags = ModelFlags { top_k: Some(top_k), ..ModelFlags::default() };
        let bundle = export_fixture(&fixture("dm-adapter/best.pth"), flags, folder.path());
        open_towers(&bundle, &EncoderConfig::load(None).unwrap()).unwrap();
    }
    check_refused(&fixture("dm-adapter/best.pth"), &["--topk", "7"], &["topk", "7 of 6"]);
}

#[test]
fn overlapping_patches_and_stretched_positions() {
    // Plain CLIP's square grid is stretched to another size, also with overlapping patches.
    for more in [["--image-size", "384x128", "--stride", "16"], ["--image-size", "96x64", "--stride", "11"]] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("bundle");
        export(&fixture("clip-hf"), &out, &more).unwrap();
        let manifest = Bundle::open(&out).unwrap().manifest().clone();
        assert_eq!(format!("{}x{}", manifest.image.height_px, manifest.image.width_px), more[1]);
    }
    // A fine-tuned model knows its grid.
    check_refused(&fixture("dm-adapter/best.pth"), &["--image-size", "256x128"], &["193", "129"]);
    check_refused(&fixture("dm-adapter/best.pth"), &["--stride", "12"], &["193", "311"]);
}

#[test]
fn trained_parameters_alone_need_their_base() {
    // What is left of a DM-Adapter checkpoint without CLIP's own tensors, as safetensors.
    let folder = tempfile::tempdir().unwrap();
    let whole = descry_export::Checkpoint::open(&fixture("dm-adapter/best.pth")).unwrap();
    let (trained, base): (Vec<_>, Vec<_>) = whole
        .tensors
        .into_iter()
        .partition(|(key, _)| ["feed_forward", "ln_3", "task_param"].iter().any(|mark| key.contains(mark)));
    let write = |name: &str, tensors: Vec<(String, ndarray::ArrayD<f32>)>| {
        let path = folder.path().join(name);
        write_safetensors(&path, tensors.iter().map(|(key, tensor)| (key, tensor)));
        path
    };
    let (trained, base) = (write("trained.safetensors", trained), write("base.safetensors", base));
    check_refused(&trained, &["--topk", "2"], &["visual.conv1.weight", "--base"]);
    let out = folder.path().join("bundle");
    let more = ["--base", base.to_str().unwrap(), "--image-size", "384x128"];
    export(&trained, &out, &more).unwrap();
    let joined = Bundle::open(&out).unwrap();
    let whole = export_fixture(&fixture("dm-adapter/best.pth"), ModelFlags::default(), folder.path());
    assert_eq!(joined.fingerprint(), whole.fingerprint());
}

#[test]
fn damaged_and_foreign_checkpoints_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let whole = |path: std::path::PathBuf| fs::read(path).unwrap();
    let published = whole(golden_folder().join("fixtures/dm-adapter/best.pth"));
    let ours = whole(demo_folder().join("dm_adapter.safetensors"));
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    check_refused(&write("cut.pth", &published[..published.len() / 2]), &[], &["cut.pth"]);
    check_refused(&write("cut.safetensors", &ours[..ours.len() / 2]), &[], &["cut.safetensors"]);
    check_refused(&write("empty.pth", b""), &[], &["empty.pth"]);
    check_refused(&write("text.pth", b"hello, world"), &[], &["text.pth", "PyTorch"]);
    check_refused(&folder.path().join("nowhere.pth"), &[], &["nowhere.pth"]);

    let mut tensors: Vec<_> = descry_export::Checkpoint::open(&demo_folder().join("dm_adapter.safetensors"))
        .unwrap()
        .tensors
        .into_iter()
        .collect();
    let export_of = |name: &str, tensors: &[(String, ndarray::ArrayD<f32>)], mentions: &[&str]| {
        let path = folder.path().join(name);
        write_safetensors(&path, tensors.iter().map(|(key, tensor)| (key, tensor)));
        check_refused(&path, &["--image-size", "128x48"], mentions);
    };
    let position = |tensors: &[(String, ndarray::ArrayD<f32>)], key: &str| {
        tensors.iter().position(|(name, _)| name == key).unwrap()
    };
    let missing = position(&tensors, "visual.transformer.resblocks.1.ln_2.bias");
    let removed = tensors.remove(missing);
    export_of("missing.safetensors", &tensors, &["visual.transformer.resblocks.1.ln_2.bias", "[128]"]);
    tensors.push((removed.0.clone(), ndarray::ArrayD::zeros(vec![7])));
    export_of("shape.safetensors", &tensors, &["visual.transformer.resblocks.1.ln_2.bias", "[7]", "[128]"]);
    tensors.pop();
    tensors.push((removed.0.clone(), removed.1.mapv(|_| f32::NAN)));
    export_of("nan.safetensors", &tensors, &["visual.transformer.resblocks.1.ln_2.bias", "NaN"]);
    tensors.pop();
    tensors.push(removed);
    tensors.push(("visual.mystery.weight".to_owned(), ndarray::ArrayD::zeros(vec![2])));
    export_of("unknown.safetensors", &tensors, &["visual.mystery.weight"]);
}

#[test]
fn malicious_pickles_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let proof = folder.path().join("executed");
    let command = format!("touch {}", proof.display());
    // protocol 2, the global posix.system, its argument, REDUCE: what pickle.loads would execute.
    let mut pickle = b"\x80\x02cposix\nsystem\nq\x00X".to_vec();
    pickle.extend((command.len() as u32).to_le_bytes());
    pickle.extend(command.as_bytes());
    pickle.extend(b"q\x01\x85q\x02Rq\x03.");
    let path = folder.path().join("evil.pth");
    fs::write(&path, stored_zip(&[("evil/data.pkl", &pickle), ("evil/version", b"3\n")])).unwrap();
    check_refused(&path, &[], &["evil.pth", "system"]);
    assert!(!proof.exists());
}

#[test]
fn a_folder_that_is_no_bundle_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), "years of work").unwrap();
    let message = export(&demo_folder().join("dm_adapter.safetensors"), folder.path(), &[]).unwrap_err();
    assert!(message.contains("thesis.tex"), "{message}");
    assert!(folder.path().join("thesis.tex").exists());

    // Neither somebody else's manifest nor a bundle with more in its folder.
    fs::write(folder.path().join("manifest.json"), "{}").unwrap();
    export(&demo_folder().join("dm_adapter.safetensors"), folder.path(), &[]).unwrap_err();
    let bundle = folder.path().join("bundle");
    export(&demo_folder().join("dm_adapter.safetensors"), &bundle, &[]).unwrap();
    fs::write(bundle.join("notes.txt"), "mine").unwrap();
    let message = export(&demo_folder().join("dm_adapter.safetensors"), &bundle, &[]).unwrap_err();
    assert!(message.contains("notes.txt"), "{message}");
    fs::remove_file(bundle.join("notes.txt")).unwrap();
    export(&demo_folder().join("dm_adapter.safetensors"), &bundle, &[]).unwrap();
}

#[test]
fn a_damaged_bundle_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = export_fixture(&demo_folder().join("dm_adapter.safetensors"), ModelFlags::default(), folder.path());
    let path = bundle.vision_path();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let message = Bundle::open(bundle.directory()).unwrap_err().to_string();
    assert!(message.contains("vision.onnx") && message.contains("damaged"), "{message}");
}
