//! The second opinion itself against outputs that others computed.

use super::*;
use crate::merging;
use crate::request::{ExportRequest, ModelFlags, ModelSource};
use crate::tower_form::TowerForm;
use crate::weights::{Unmerged, load};
use ndarray::Array4;
use ndarray_npy::NpzReader;
use std::fs::File;
use std::path::Path;

/// Largest difference, as a share of the largest magnitude.
const MAX_RELATIVE_DIFFERENCE: f32 = 2e-5;

fn compare(fixture: &str, found: &Array2<f32>, expected: &Array2<f32>) {
    assert_eq!(found.dim(), expected.dim(), "{fixture}");
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= MAX_RELATIVE_DIFFERENCE * largest, "{fixture}: {found}, not {expected}");
    }
}

/// What the published code gives; RDE's two embeddings as the one vector that the graphs make of them.
fn expected(archive: &mut NpzReader<File>, kind: &str) -> Array2<f32> {
    if let Ok(features) = archive.by_name(&format!("{kind}_features")) {
        return features;
    }
    let units = ["bge", "tse"].map(|part| {
        let embeddings: Array2<f32> = archive.by_name(&format!("{kind}_{part}")).unwrap();
        let lengths = embeddings.map_axis(Axis(1), |row| (2.0 * row.dot(&row)).sqrt()).insert_axis(Axis(1));
        embeddings / lengths
    });
    concatenate(Axis(1), &units.each_ref().map(|unit| unit.view())).unwrap()
}

fn check(fixture: &str, file: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/fixtures").join(fixture);
    let request = ExportRequest {
        source: ModelSource::Checkpoint { path: folder.join(file), config: None, base: None },
        tokenizer: None,
        without_tokenizer: true,
        flags: ModelFlags::default(),
        form: TowerForm::FP32,
        out: folder.join("not-written"),
    };
    let Unmerged { tensors, settings, positions, .. } = load(&request).unwrap();
    let model = merging::read_model(&tensors, &settings, &request.flags, &positions).unwrap();
    let eager = Eager {
        tensors: &tensors,
        grid: model.grid,
        vision_positions: &model.vision.positional_embedding,
        top_k: model.top_k,
        select_ratio: model.select_ratio,
        context_length: model.context_length,
        vision: model.vision_facts,
        text: model.text_facts,
    };
    let mut archive = NpzReader::new(File::open(folder.join("io.npz")).unwrap()).unwrap();
    let pixels: Array4<f32> = archive.by_name("pixels").unwrap();
    let token_ids: Array2<i64> = archive.by_name("token_ids").unwrap();
    compare(fixture, &eager.encode_images(pixels.view()).unwrap(), &expected(&mut archive, "image"));
    compare(fixture, &eager.encode_texts(&token_ids).unwrap(), &expected(&mut archive, "text"));
}

#[test]
fn tbps_clip_is_computed_as_its_published_code_does() {
    check("tbps-clip", "checkpoint_best.pth");
}

/// GELU, and heads that are not 64 wide.
#[test]
fn an_open_clip_model_is_computed_as_its_configuration_says() {
    check("openclip", "");
}

#[test]
fn irra_is_computed_as_its_published_code_does() {
    check("irra", "best.pth");
}

/// Both embeddings, each of unit length, side by side.
#[test]
fn rde_is_computed_as_its_published_code_does() {
    check("rde", "best.pth");
}
