//! The bundled DM-Adapter model: bare towers, and the service in this process.

// Without this, lints count helpers of an integration test as shipped code.
#![cfg(test)]

use bytes::Bytes;
use descry_bench::{
    BenchError, EncoderPlan, LoadShape, LoadedTowers, ServiceUnderTest, TextInputs, TowerKind, TowerMeasurement,
    TowerPlan, TowerSubject, Transport, Workload, WorkloadKind, load_captions, measure_towers, run_encoder_benchmark,
};
use descry_encoder::EncoderConfig;
use descry_export::{ExportRequest, ModelFlags, ModelSource, TowerForm, export};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// An image of the demo's gallery.
const CROP: &[u8] = include_bytes!("../../../demo/gallery/imgs/test/p2601_c1_1.jpg");

fn config() -> EncoderConfig {
    static BUNDLE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, bundle) = BUNDLE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("bundle");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo/dm_adapter.safetensors");
        let request = ExportRequest {
            source: ModelSource::Checkpoint { path, config: None, base: None },
            without_tokenizer: false,
            tokenizer: None,
            flags: ModelFlags::default(),
            form: TowerForm::FP32,
            out: out.clone(),
        };
        export(&request, |_| {}).unwrap().publish().unwrap();
        (folder, out)
    });
    let mut config = EncoderConfig::load(None).unwrap();
    config.model.clone_from(bundle);
    config
}

fn towers(pad_to_context: bool) -> LoadedTowers {
    LoadedTowers::open(&TowerSubject { config: config(), pad_to_context }).unwrap()
}

fn plan(tower: TowerKind, texts: TextInputs) -> TowerPlan {
    let images = vec![Bytes::from_static(CROP)];
    TowerPlan { tower, batch_sizes: vec![1, 4], texts, images, rounds: 2 }
}

fn measure(plan: &TowerPlan, baseline: Option<&mut LoadedTowers>) -> Result<Vec<TowerMeasurement>, BenchError> {
    measure_towers(&mut towers(false), baseline, plan, &CancellationToken::new(), |_| {})
}

#[test]
fn captions_are_padded_as_asked_on_each_side() {
    let captions: Vec<String> =
        ["a man", "a man in a red coat"].into_iter().cycle().take(8).map(str::to_owned).collect();
    let mut baseline = towers(true);
    let context_length = baseline.manifest().text.context_length as f64;
    let ordered =
        |group_by_length| plan(TowerKind::Text, TextInputs::Captions { captions: captions.clone(), group_by_length });
    let found = measure(&ordered(false), Some(&mut baseline)).unwrap();
    let [one, four] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((one.batches, one.rounds, four.batches), (8, 2, 2));
    assert!(four.measured.padded_tokens.unwrap() > one.measured.padded_tokens.unwrap());
    for row in &found {
        assert_eq!(row.baseline.unwrap().padded_tokens, Some(context_length));
        let ratio = row.speedup.unwrap();
        assert!(ratio.min <= ratio.median && ratio.median <= ratio.max && ratio.min > 0.0, "{ratio:?}");
    }
    let grouped = measure(&ordered(true), None).unwrap();
    assert!(grouped[1].measured.padded_tokens < four.measured.padded_tokens);
    assert_eq!(grouped[1].speedup, None);
}

#[test]
fn both_towers_run_without_captions() {
    let vision = measure(&plan(TowerKind::Vision, TextInputs::Tokens(2)), None).unwrap();
    assert!(vision.iter().all(|row| row.measured.items_per_s > 0.0 && row.measured.padded_tokens.is_none()));
    let text = measure(&plan(TowerKind::Text, TextInputs::Tokens(10)), None).unwrap();
    assert_eq!(text[1].measured.padded_tokens, Some(10.0));
    let too_long = measure(&plan(TowerKind::Text, TextInputs::Tokens(1000)), None).unwrap_err();
    assert!(too_long.to_string().starts_with("--tokens: must be 2 to"), "{too_long}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_in_this_process_is_measured_and_ends() {
    let service = ServiceUnderTest::start(config(), 2).await.unwrap();
    assert_eq!(service.model().family, "dm-adapter");
    let plan = EncoderPlan {
        kind: WorkloadKind::Mixed,
        loads: vec![LoadShape::Closed { callers: 2 }],
        transport: Transport::Lists,
        items_per_request: 2,
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(1),
        max_unanswered: 10,
        bulk_images_in_flight: 8,
        seed: 0,
    };
    let workload = Workload { texts: load_captions(None).unwrap(), images: vec![Bytes::from_static(CROP)] };
    let report = run_encoder_benchmark(&service, &workload, &plan, &CancellationToken::new(), |_| {}).await.unwrap();
    service.stop().await.unwrap();
    for run in &report.runs {
        assert!(run.measured.items_ok > 0 && run.measured.requests_failed.is_empty(), "{run:?}");
        assert!(run.measured.items_failed.is_empty(), "{run:?}");
        let process = run.process.unwrap();
        assert!(process.includes_load_generator && process.peak_resident_bytes > 1 << 20, "{process:?}");
    }
    assert!(report.runs[1].bulk_images.as_ref().unwrap().items_ok > 0, "{report:?}");
}

#[tokio::test]
async fn a_bundle_that_does_not_load_is_no_service() {
    let mut config = config();
    config.model = PathBuf::from("no-such-bundle");
    let error = ServiceUnderTest::start(config, 1).await.err().unwrap();
    assert!(error.to_string().contains("no-such-bundle"), "{error}");
}
