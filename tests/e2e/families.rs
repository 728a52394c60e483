//! A bundle of every family behind the services; what RDE's selection of tokens must keep to.

use crate::services::{demo_images, index, text_search};
use descry_encoder::{DeviceName, EncoderConfig, OpenedTowers, open_towers};
use descry_export::{Checkpoint, ModelFlags, TowerForm};
use descry_model::Dialect;
use descry_proto::encoder::v1::encode_result::Outcome;
use descry_proto::encoder::v1::{EncodeImageRequest, EncodeTextRequest, GetModelRequest};
use descry_proto::search::v1::GetGalleryRequest;
use descry_tests::{TestStack, export_fixture, export_form, fixture_with_tokenizer, golden_folder, write_safetensors};
use ndarray::{Array2, Array4, ArrayD, Axis, Slice, s};
use ndarray_npy::NpzReader;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Of letters that the fixtures' tokenizer has, and no longer than the shortest context.
const SENTENCE: &str = "a red cat";

/// From a checkpoint to hits: images go in, a sentence goes in, and what comes back is ranked by the model's own numbers.
async fn check_search(name: &str, file: &str, vocabulary_size: usize, family: &str, dimension: u32) {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = fixture_with_tokenizer(name, file, vocabulary_size, folder.path());
    let bundle = export_fixture(&checkpoint, ModelFlags::default(), folder.path());
    let stack = TestStack::start_with(|encoder, _| encoder.model = bundle.directory().to_owned()).await;
    let mut encoder = stack.encoder().await;
    let model = encoder.get_model(GetModelRequest {}).await.unwrap().into_inner();
    assert_eq!((model.family.as_str(), model.fingerprint.as_str()), (family, bundle.fingerprint().as_str()));

    let images = demo_images(3);
    let mut client = stack.search().await;
    assert_eq!(index(&mut client, "lobby", images.clone()).await.len(), 3);
    let gallery = client.get_gallery(GetGalleryRequest { name: "lobby".to_owned() }).await.unwrap().into_inner();
    assert_eq!((gallery.images, gallery.embedding_dimension), (3, dimension), "{name}");
    assert_eq!(gallery.fingerprint, bundle.fingerprint().as_str());

    let hits = client.search(text_search("lobby", SENTENCE, 5)).await.unwrap().into_inner().hits;
    let values = |outcome: &Option<Outcome>| match outcome {
        Some(Outcome::Embedding(embedding)) => embedding.values.clone(),
        other => panic!("{other:?}"),
    };
    let request = EncodeTextRequest { texts: vec![SENTENCE.to_owned()], ..EncodeTextRequest::default() };
    let text = values(&encoder.encode_text(request).await.unwrap().into_inner().results[0].outcome);
    let contents = images.iter().map(|image| image.content.clone()).collect();
    let request = EncodeImageRequest { images: contents, ..EncodeImageRequest::default() };
    let results = encoder.encode_image(request).await.unwrap().into_inner().results;
    let mut expected: Vec<(f32, String)> = images
        .iter()
        .zip(&results)
        .map(|(image, result)| {
            let embedding = values(&result.outcome);
            assert_eq!(embedding.len() as u32, dimension);
            (text.iter().zip(&embedding).map(|(a, b)| a * b).sum(), image.image_id.clone())
        })
        .collect();
    expected.sort_by(|a, b| b.0.total_cmp(&a.0));
    assert_eq!(hits.len(), 3);
    for (hit, (score, image_id)) in hits.iter().zip(expected) {
        assert_eq!(hit.image_id, image_id, "{name}");
        assert!((hit.score - score).abs() < 1e-4, "{name}: {}, not {score}", hit.score);
    }
    stack.stop().await;
}

#[tokio::test]
async fn a_sentence_finds_images_with_irra() {
    check_search("irra", "best.pth", 512, "irra", 64).await;
}

/// Both embeddings go through the services as one vector.
#[tokio::test]
async fn a_sentence_finds_images_with_rde() {
    check_search("rde", "best.pth", 512, "rde", 192).await;
}

#[tokio::test]
async fn a_sentence_finds_images_with_tbps_clip() {
    check_search("tbps-clip", "checkpoint_best.pth", 512, "tbps-clip", 64).await;
}

#[tokio::test]
async fn a_sentence_finds_images_with_open_clip() {
    check_search("openclip", "open_clip_model.safetensors", 23, "clip", 10).await;
}

/// The RDE fixture with a last block that asks for nothing: every token is attended to as much as every other.
fn undecided(folder: &Path) -> PathBuf {
    let fixture = golden_folder().join("fixtures/rde");
    let mut tensors: BTreeMap<String, ArrayD<f32>> = Checkpoint::open(&fixture.join("best.pth")).unwrap().tensors;
    for tower in ["visual.transformer", "transformer"] {
        for part in ["weight", "bias"] {
            let packed = tensors.get_mut(&format!("{tower}.resblocks.2.attn.in_proj_{part}")).unwrap();
            let queries = packed.len_of(Axis(0)) / 3;
            packed.slice_axis_mut(Axis(0), Slice::from(..queries)).fill(0.0);
        }
    }
    let path = folder.join("best.safetensors");
    write_safetensors(&path, &tensors);
    fs::copy(fixture.join("configs.yaml"), folder.join("configs.yaml")).unwrap();
    path
}

fn largest_difference(found: &Array2<f32>, expected: &Array2<f32>) -> f32 {
    assert_eq!(found.dim(), expected.dim());
    found.iter().zip(expected).fold(0.0, |worst, (a, b)| f32::max(worst, (a - b).abs()))
}

/// Which of equals is selected must depend neither on a text's padding, nor on the batch, nor on the runtime. That it is the
/// first ones is what the self-test of each opening compares with the checkpoint evaluated by itself.
#[test]
fn ties_of_rdes_attention_are_settled_alike_everywhere() {
    /// Differences of runtimes and lengths in vectors of unit length; other tokens make a hundred times as much.
    const ROUNDING: f32 = 2e-5;
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = undecided(folder.path());
    // More words than are selected, 22 of 75, none of them twice.
    let ids: Vec<i64> = std::iter::once(510).chain(1..=40).chain([511]).collect();
    let short = ids.len();
    let padded = |tokens: usize| Array2::from_shape_fn((1, tokens), |(_, at)| ids.get(at).copied().unwrap_or(0));
    let mut batch = padded(77).select(Axis(0), &[0, 0, 0]);
    // Neighbours with more words and with fewer.
    batch.slice_mut(s![0, 1..76]).fill(9);
    batch[[0, 76]] = 511;
    batch.slice_mut(s![2, 3..]).fill(0);
    batch[[2, 3]] = 511;
    let path = golden_folder().join("fixtures/rde/io.npz");
    let pixels: Array4<f32> = NpzReader::new(File::open(path).unwrap()).unwrap().by_name("pixels").unwrap();
    let mut first: Option<[Array2<f32>; 2]> = None;
    for (dialect, device) in [
        (Dialect::Contrib, DeviceName::Cpu),
        (Dialect::Standard, DeviceName::Cpu),
        (Dialect::Standard, DeviceName::Openvino),
    ] {
        let form = TowerForm { dialect: Some(dialect), ..TowerForm::FP32 };
        let bundle = export_form(&checkpoint, ModelFlags::default(), form, folder.path());
        let mut config = EncoderConfig::load(None).unwrap();
        config.device.name = device;
        let OpenedTowers { mut vision, mut text, .. } = open_towers(&bundle, &config).unwrap();
        let expected = text[0].run_array(&padded(short)).unwrap();
        for tokens in [short + 1, 50, 64, 77] {
            let found = text[0].run_array(&padded(tokens)).unwrap();
            let difference = largest_difference(&found, &expected);
            assert!(difference < ROUNDING, "{device}, {tokens} tokens: {difference}");
        }
        let among_others = text[0].run_array(&batch).unwrap().slice(s![1..2, ..]).to_owned();
        assert!(largest_difference(&among_others, &expected) < ROUNDING, "{device}");
        let images = vision[0].run_array(&pixels).unwrap();
        for row in 0..images.nrows() {
            let alone = vision[0].run_array(&pixels.select(Axis(0), &[row])).unwrap();
            assert!(largest_difference(&alone, &images.select(Axis(0), &[row])) < ROUNDING, "{device}");
        }
        if let Some([texts, pictures]) = &first {
            assert!(largest_difference(&expected, texts) < ROUNDING, "{device}");
            assert!(largest_difference(&images, pictures) < ROUNDING, "{device}");
        }
        first.get_or_insert([expected, images]);
    }
}

/// The end mark's attention is averaged over heads, and each head divides by all that it sees: what stands behind the end
/// mark must be in none of the sums, or padding would select other words. One head alone would rank them alike.
#[test]
fn what_stands_behind_a_text_moves_none_of_rdes_heads() {
    const ROUNDING: f32 = 2e-5;
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = golden_folder().join("fixtures/rde/best.pth");
    let flags = ModelFlags { heads: Some((2, 4)), ..ModelFlags::default() };
    // More words than are selected, and fewer.
    let texts: [Vec<i64>; 3] = [40, 23, 3].map(|words| {
        let words = (1..=words).map(|word: i64| 1 + word * 97 % 500);
        std::iter::once(510).chain(words).chain([511]).collect()
    });
    for dialect in [Dialect::Contrib, Dialect::Standard] {
        let form = TowerForm { dialect: Some(dialect), ..TowerForm::FP32 };
        // Opening compares with the checkpoint evaluated by itself, whose texts are padded.
        let bundle = export_form(&checkpoint, flags.clone(), form, folder.path());
        let mut config = EncoderConfig::load(None).unwrap();
        config.device.name = DeviceName::Cpu;
        let OpenedTowers { mut text, .. } = open_towers(&bundle, &config).unwrap();
        for ids in &texts {
            let alone = Array2::from_shape_vec((1, ids.len()), ids.clone()).unwrap();
            let expected = text[0].run_array(&alone).unwrap();
            for behind in [0, 7, 511] {
                let padded = Array2::from_shape_fn((1, 77), |(_, at)| ids.get(at).copied().unwrap_or(behind));
                let difference = largest_difference(&text[0].run_array(&padded).unwrap(), &expected);
                assert!(difference < ROUNDING, "{dialect:?}, {} tokens, {behind} behind: {difference}", ids.len());
            }
        }
    }
}
