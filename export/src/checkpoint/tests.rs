//! Whole files: the small checkpoints in `tests/data`, written by the script there.

use super::*;
use proptest::prelude::*;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Opens bytes from a folder of their own, where no settings lie beside them.
fn open_bytes(bytes: &[u8]) -> Result<Checkpoint, ExportError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.bin");
    std::fs::write(&path, bytes).unwrap();
    Checkpoint::open(&path)
}

fn values(checkpoint: &Checkpoint, key: &str) -> (Vec<usize>, Vec<f32>) {
    let tensor = checkpoint.tensors.get(key).unwrap_or_else(|| panic!("no {key}"));
    (tensor.shape().to_vec(), tensor.iter().copied().collect())
}

#[test]
fn a_training_run_gives_its_weights_and_nothing_else() {
    for name in ["training_run.pth", "training_run_protocol4.pth"] {
        let checkpoint = Checkpoint::open(&data(name)).unwrap();
        let check = |key: &str, shape: &[usize], expected: &[f32]| {
            assert_eq!(values(&checkpoint, key), (shape.to_vec(), expected.to_vec()), "{name} {key}");
        };
        check("half", &[2], &[0.5, -2.0]);
        check("double", &[2, 1], &[0.25, 3.0]);
        check("bfloat", &[3], &[1.0, -0.5, 96.0]);
        check("shared", &[3, 4], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
        check("shared_transposed", &[4, 3], &[0.0, 4.0, 8.0, 1.0, 5.0, 9.0, 2.0, 6.0, 10.0, 3.0, 7.0, 11.0]);
        check("shared_rows", &[2, 4], &[4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
        check("shared_column", &[3], &[1.0, 5.0, 9.0]);
        check("scalar", &[], &[7.0]);
        check("empty", &[0, 3], &[]);
        check("parameter", &[1], &[1.5]);
        check("subclass", &[1], &[2.5]);
        assert_eq!(
            checkpoint.tensors.len(),
            11,
            "no counters, masks or optimiser state: {:?}",
            checkpoint.tensors.keys()
        );
        assert_eq!(
            checkpoint.element_types,
            BTreeMap::from([
                (ElementType::Float64, 1),
                (ElementType::Float32, 8),
                (ElementType::Float16, 1),
                (ElementType::BFloat16, 1),
            ])
        );
        assert_eq!(checkpoint.settings, RunSettings::default());
        assert_eq!(checkpoint.source_sha256, descry_model::sha256_hex(&std::fs::read(data(name)).unwrap()));
    }
}

#[test]
fn other_data_beside_the_weights_is_passed_over() {
    for name in ["bare.pth", "object_and_weights.pth"] {
        let checkpoint = Checkpoint::open(&data(name)).unwrap();
        assert_eq!(checkpoint.tensors.keys().collect::<Vec<_>>(), ["weight"]);
    }
}

#[test]
fn equal_tensors_under_one_name_are_one() {
    let checkpoint = Checkpoint::open(&data("same_twice.pth")).unwrap();
    assert_eq!(values(&checkpoint, "weight"), (vec![1], vec![1.0]));
}

#[test]
fn script_modules_are_flattened_to_dotted_names() {
    let checkpoint = Checkpoint::open(&data("script_module.pt")).unwrap();
    assert_eq!(values(&checkpoint, "proj"), (vec![1, 2], vec![1.0, 2.0]));
    assert_eq!(values(&checkpoint, "resblocks.0.weight"), (vec![1], vec![3.0]));
    assert_eq!(values(&checkpoint, "resblocks.1.weight"), (vec![1], vec![4.0]));
    // The side of the images, and no other whole number.
    assert_eq!(values(&checkpoint, "input_resolution"), (vec![], vec![224.0]));
    assert_eq!(checkpoint.settings.trained_size_px, Some((224, 224)));
    assert_eq!(checkpoint.tensors.len(), 4);
}

#[test]
fn what_cannot_be_used_is_refused_with_a_reason() {
    let cases: &[(&str, &[&str])] = &[
        ("hostile.pth", &["asks to call `posix.system`", "never executes pickled code"]),
        ("hostile_beside_weights.pth", &["asks to call `posix.system`", "never executes pickled code"]),
        ("hostile_protocol4.pth", &["asks to call `builtins.eval`"]),
        ("whole_model.pth", &["asks to call `train.Model`", "never executes", "model.state_dict()"]),
        ("object_for_tensor.pth", &["asks to call `train.make_bias`", "the tensor `bias`"]),
        ("other_keys.pth", &["no state dict", "[net, epoch]"]),
        ("complex.pth", &["`weight`", "torch.ComplexFloatStorage"]),
        ("nan.pth", &["`broken` has 2 of 3 values"]),
        ("contradiction.pth", &["`base_model.weight` and `weight` both mean `weight`"]),
        ("big_endian.pth", &["byte order is `big`"]),
        ("compressed.pth", &["archive/byteorder is compressed"]),
        ("missing_storage.pth", &["archive/data/0", "missing"]),
        ("short_storage.pth", &["archive/data/0", "needs a storage of 3 float32 numbers, this one has 2"]),
        ("outside_storage.pth", &["`weight`", "does not fit in its storage of 2 numbers"]),
        ("expanded_beyond_reason.pth", &["1099511627776 elements, too many"]),
        ("overflowing.pth", &["`weight`", "does not fit"]),
        ("legacy.pth", &["bare pickle", "save it again"]),
        ("not_a_checkpoint.zip", &["a zip file without data.pkl", "expected a PyTorch checkpoint"]),
        ("absent.pth", &["cannot read", "absent.pth"]),
        ("", &["a folder without model.safetensors"]),
    ];
    for (name, parts) in cases {
        let message = Checkpoint::open(&data(name)).unwrap_err().to_string();
        for part in *parts {
            assert!(message.contains(part), "{name}: {message}");
        }
    }
}

#[test]
fn other_files_are_told_by_their_content() {
    let cases: &[(&[u8], &str)] = &[
        (b"", "an empty file"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x7fELF\x02\x01\x01", "starts with"),
        (b"\x80\x02}q\x00.", "bare pickle"),
        (b"\x02\0\0\0\0\0\0\0{]", "its header"),
        (b"\xff\xff\xff\xff\xff\xff\0\0{}", "its header"),
    ];
    for (bytes, part) in cases {
        let message = open_bytes(bytes).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_checkpoint_cut_off_anywhere_is_refused() {
    let whole = std::fs::read(data("training_run.pth")).unwrap();
    for length in (0..whole.len()).step_by(7) {
        assert!(open_bytes(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
    }
}

#[test]
fn settings_beside_the_checkpoint_are_read_unless_others_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.pth");
    std::fs::copy(data("bare.pth"), &path).unwrap();
    let other = folder.path().join("elsewhere.yml");
    std::fs::write(folder.path().join("configs.yaml"), "topk: 3\n").unwrap();
    std::fs::write(&other, "topk: 4\n").unwrap();
    assert_eq!(Checkpoint::open(&path).unwrap().settings.topk, Some(3));
    std::fs::write(folder.path().join("best.yaml"), "topk: 5\n").unwrap();
    assert_eq!(Checkpoint::open(&path).unwrap().settings.topk, Some(5));
    assert_eq!(Checkpoint::open_with_settings(&path, &other).unwrap().settings.topk, Some(4));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_files_never_panic(
        name in proptest::sample::select(vec!["training_run.pth", "script_module.pt", "same_twice.pth"]),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = std::fs::read(data(name)).unwrap();
        for (index, byte) in changes {
            let position = index.index(bytes.len());
            bytes[position] = byte;
        }
        let _ = open_bytes(&bytes);
    }
}
