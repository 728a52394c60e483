use super::*;
use crate::initialization::{Initializer, new_clip};
use crate::{DeviceKind, DmAdapterSettings, InputSettings, TowerSettings, TrainingPrecision, UpPersonSettings};
use descry_evaluation::DatasetLayout;
use descry_model::Method;
use descry_model::method::Side;

const LAYERS: [(Side, usize); 2] = [(Side::Vision, 3), (Side::Text, 2)];

fn small(method: Method) -> Recipe {
    Recipe {
        input: InputSettings { height_px: 32, width_px: 16, stride_px: None, context_length: 8 },
        towers: TowerSettings {
            patch_px: 16,
            vision_width: 128,
            vision_layers: 3,
            text_width: 64,
            text_layers: 2,
            embedding_dimension: 32,
        },
        dm_adapter: DmAdapterSettings { experts: 3, top_k: 1, reduction: 4, domain_prompt: true },
        up_person: UpPersonSettings {
            rank: 5,
            prefix_length: 3,
            reduction: 2,
            depth_lora: Some(1),
            depth_prefix: Some(3),
            depth_adapter: Some(2),
            prefix_scale: 100.0,
        },
        ..Recipe::published(method, DatasetLayout::CuhkPedes)
    }
}

/// What the method adds, and all of the model.
fn tensors(recipe: &Recipe) -> (usize, BTreeMap<String, ArrayD<f32>>) {
    let mut tensors = new_clip(recipe, 20);
    let initializer = Initializer::new(recipe);
    let added = match recipe.method {
        Method::Clip | Method::Irra | Method::Rde | Method::TbpsClip => BTreeMap::new(),
        Method::DmAdapter => initializer.dm_adapter(&tensors, &LAYERS).unwrap(),
        Method::UpPerson => initializer.up_person(&tensors, &LAYERS).unwrap(),
    };
    let count = added.values().map(ArrayD::len).sum();
    tensors.extend(added);
    (count, tensors)
}

fn benchmark(method: Method) -> StepBenchmark {
    StepBenchmark {
        model: MeasuredModel::Random { preset: descry_export::Preset::VitB32, method },
        pairs: 6,
        tokens: 7,
        steps: 2,
        threads: 2,
        device: DeviceKind::Cpu,
        device_index: 0,
        precision: TrainingPrecision::Float32,
        micro_batch_size: Some(4),
        balancing_loss: true,
        seed: 1,
    }
}

fn settings() -> RunSettings {
    RunSettings { image_size_px: Some((32, 16)), topk: Some(1), ..RunSettings::default() }
}

#[test]
fn tensors_show_the_methods_sizes() {
    for method in [Method::DmAdapter, Method::UpPerson] {
        let made_with = small(method);
        let (_, tensors) = tensors(&made_with);
        let found = sizes::recipe(&benchmark(method), method, &tensors, &settings());
        match method {
            Method::DmAdapter => assert_eq!(found.dm_adapter, made_with.dm_adapter),
            Method::UpPerson => assert_eq!(found.up_person, made_with.up_person),
            Method::Clip | Method::Irra | Method::Rde | Method::TbpsClip => {
                unreachable!("they add no parts of their own")
            }
        }
        assert_eq!((found.batch_size, found.input.context_length, found.input.height_px), (6, 7, 32));
    }
}

#[test]
fn what_the_method_trains_is_stepped_and_timed() {
    for method in Method::TRAINABLE {
        let (added, tensors) = tensors(&small(method));
        let all: usize = tensors.values().map(ArrayD::len).sum();
        let benchmark = benchmark(method);
        let recipe = sizes::recipe(&benchmark, method, &tensors, &settings());
        let times = measure(&benchmark, &recipe, tensors, &settings(), &|| false).unwrap();
        assert_eq!(times.step_ms.len(), 2);
        assert!(times.last_loss.is_some_and(f64::is_finite), "{times:?}");
        let trained = if method == Method::Clip { all } else { added };
        assert_eq!((times.trained_parameters, times.total_parameters), (trained, all));
    }
}

#[test]
fn what_cannot_be_measured_is_told() {
    let (_, tensors) = tensors(&small(Method::Clip));
    let message = |benchmark: &StepBenchmark| {
        let recipe = sizes::recipe(benchmark, Method::Clip, &tensors, &settings());
        measure(benchmark, &recipe, tensors.clone(), &settings(), &|| false).unwrap_err().to_string()
    };
    let good = benchmark(Method::Clip);
    assert!(message(&StepBenchmark { steps: 0, ..good.clone() }).contains("steps"));
    assert!(message(&StepBenchmark { tokens: 9, ..good.clone() }).contains("context of 8"));
    assert!(message(&StepBenchmark { micro_batch_size: Some(7), ..good }).contains("micro_batch_size"));
}

#[test]
fn a_cancelled_measurement_has_what_there_was() {
    let (_, tensors) = tensors(&small(Method::Clip));
    let benchmark = benchmark(Method::Clip);
    let recipe = sizes::recipe(&benchmark, Method::Clip, &tensors, &settings());
    let times = measure(&benchmark, &recipe, tensors, &settings(), &|| true).unwrap();
    assert_eq!((times.step_ms.len(), times.last_loss), (0, None));
}
