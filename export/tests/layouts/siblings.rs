//! Families that were built on another's code: what their code saves, read as the other's model.

use crate::small_clip::{CONTEXT, DIMENSION, SMALL, VOCABULARY, clip, manifest, write};
use descry_export::{ExportError, ModelFlags};
use descry_model::{Manifest, Method};
use std::collections::BTreeMap;
use std::path::Path;

/// Shapes of tensors by name.
type Shapes = BTreeMap<String, Vec<usize>>;

fn linear(shapes: &mut Shapes, name: &str, shape: &[usize]) {
    shapes.insert(format!("{name}weight"), shape.to_vec());
    shapes.insert(format!("{name}bias"), shape[..1].to_vec());
}

/// What IRRA's model class has beside `base_model` when it trains on identities and masked words.
fn heads_of_irra() -> Shapes {
    let mut heads = Shapes::new();
    linear(&mut heads, "classifier.", &[3, DIMENSION]);
    for attention in ["cross_attn", "cross_modal_transformer.resblocks.0.attn"] {
        linear(&mut heads, &format!("{attention}.in_proj_"), &[3 * DIMENSION, DIMENSION]);
        linear(&mut heads, &format!("{attention}.out_proj."), &[DIMENSION, DIMENSION]);
    }
    for norm in ["cross_modal_transformer.resblocks.0.ln_1", "ln_pre_t", "ln_pre_i", "ln_post", "mlm_head.ln"] {
        linear(&mut heads, &format!("{norm}."), &[DIMENSION]);
    }
    linear(&mut heads, "mlm_head.dense.", &[DIMENSION, DIMENSION]);
    linear(&mut heads, "mlm_head.fc.", &[VOCABULARY, DIMENSION]);
    heads
}

/// RDE's selection of tokens, with what its code saves and never reads.
fn selections() -> Shapes {
    let mut parts = Shapes::new();
    for module in ["visul_emb_layer", "texual_emb_layer"] {
        linear(&mut parts, &format!("{module}.linear."), &[2 * DIMENSION, DIMENSION]);
        for (layer, outputs) in [(0, DIMENSION), (1, 2 * DIMENSION)] {
            linear(&mut parts, &format!("{module}.mlp.layers.{layer}."), &[outputs, DIMENSION]);
            let norm = format!("{module}.mlp.bns.{layer}");
            linear(&mut parts, &format!("{norm}."), &[outputs]);
            parts.extend(["mean", "var"].map(|part| (format!("{norm}.running_{part}"), vec![outputs])));
        }
    }
    linear(&mut parts, "visul_emb_layer.fc.", &[2 * DIMENSION, DIMENSION]);
    parts
}

/// Writes what the published code saves: the CLIP in its model class, and the class' other parts beside it.
fn write_published(path: &Path, wrapper: &str, parts: &Shapes) {
    let mut shapes = clip(&SMALL);
    let beside: Vec<String> = parts.keys().cloned().collect();
    shapes.extend(parts.clone());
    write(path, &shapes, |key| {
        let class = if beside.iter().any(|part| part == key) { "" } else { "base_model." };
        format!("{wrapper}{class}{key}")
    });
}

fn small() -> ModelFlags {
    ModelFlags { image_size_px: Some((64, 64)), ..ModelFlags::default() }
}

fn parameters(manifest: &Manifest) -> usize {
    manifest.summary["parameters"].parse().unwrap()
}

fn count(shapes: &Shapes) -> usize {
    shapes.values().map(|shape| shape.iter().product::<usize>()).sum()
}

/// Each trains IRRA's model, with all of its losses or with some of them, on one machine or on several.
#[test]
fn irras_siblings_are_read_as_irra() {
    let all = heads_of_irra();
    let some = |starts: &[&str]| -> Shapes {
        let is_of_them = |key: &String| starts.iter().any(|start| key.starts_with(start));
        all.clone().into_iter().filter(|(key, _)| is_of_them(key)).collect()
    };
    let masked_words = ["cross_attn.", "cross_modal_transformer.", "ln_pre_t.", "ln_pre_i.", "ln_post.", "mlm_head."];
    let siblings = [
        ("MLLM4Text-ReID, pretrained on contrasts alone", "module.", Shapes::new()),
        ("MLLM4Text-ReID", "", all.clone()),
        ("HAM", "module.", some(&masked_words)),
        ("GA-DMS", "", some(&masked_words)),
        ("FMFA", "", some(&["classifier."])),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.safetensors");
    for (name, wrapper, heads) in siblings {
        write_published(&path, wrapper, &heads);
        let found = manifest(&path, small()).unwrap();
        assert_eq!(found.family, Method::Irra, "{name}");
        // The temperature is none of the towers' either.
        assert_eq!(parameters(&found), count(&clip(&SMALL)) - 1, "{name}");
        assert_eq!(found.summary["activation"], "quick-gelu, as the published code computes", "{name}");
    }
}

/// The head of every loss alone tells the family, where the model class has lost its prefix.
#[test]
fn every_head_of_irra_is_known_and_none_is_a_towers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.safetensors");
    let heads = heads_of_irra();
    let names = ["classifier", "cross_attn", "cross_modal_transformer", "ln_pre_t", "ln_pre_i", "ln_post", "mlm_head"];
    for name in names {
        let its: Shapes = heads.clone().into_iter().filter(|(key, _)| key.starts_with(&format!("{name}."))).collect();
        assert!(!its.is_empty(), "{name}");
        let mut shapes = clip(&SMALL);
        shapes.extend(its);
        write(&path, &shapes, str::to_owned);
        let found = manifest(&path, small()).unwrap();
        assert_eq!((found.family, parameters(&found)), (Method::Irra, count(&clip(&SMALL)) - 1), "{name}");
    }
}

/// ICL trains RDE's model, on identities too.
#[test]
fn rdes_sibling_is_read_as_rde() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.safetensors");
    let mut parts = selections();
    write_published(&path, "", &parts);
    let expected = manifest(&path, small()).unwrap();
    let is_classifier = |key: &String| key.starts_with("classifier.");
    parts.extend(heads_of_irra().into_iter().filter(|(key, _)| is_classifier(key)));
    write_published(&path, "module.", &parts);
    let found = manifest(&path, small()).unwrap();
    assert_eq!((found.family, found.embedding_dimension), (Method::Rde, 3 * DIMENSION));
    assert_eq!((parameters(&found), found.text.context_length), (parameters(&expected), CONTEXT));
    assert_eq!(found.summary["parameters added by the method"], expected.summary["parameters added by the method"]);
}

/// What is neither a tower's nor a known head's may be a part that the embeddings need.
#[test]
fn a_part_that_nobody_knows_is_named_and_never_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.safetensors");
    let selections = selections();
    for (family, known) in [("irra", heads_of_irra()), ("rde", selections)] {
        for unknown in ["token_pruner.weight", "classifier2.weight", "ln_posterior.bias", "base_model.ln_extra.weight"]
        {
            let mut parts = known.clone();
            parts.insert(unknown.to_owned(), vec![3]);
            write_published(&path, "", &parts);
            let error = manifest(&path, small()).unwrap_err();
            assert!(matches!(&error, ExportError::UnexpectedTensors { count: 1, .. }), "{family} {unknown}: {error}");
            let bare = unknown.trim_start_matches("base_model.");
            assert!(error.to_string().contains(bare) && error.to_string().contains(family), "{error}");
        }
    }
}
