//! From a bundle to towers that run: choose a device, build sessions, check them, warm them up.

use crate::EncodeError;
use crate::config::{BatchingConfig, EncoderConfig};
use crate::device::{
    DeviceConfig, DevicePrecision, DeviceReport, Machine, Provider, buckets, candidates, has_exact_int8_products,
};
use crate::runtime::environment;
use crate::self_test::{Goldens, TowerTest};
use crate::tower::{OnnxTextTower, OnnxVisionTower, OpenedTowers, SessionOptions, TowerOptions, thread_count};
use descry_model::{Bundle, ImageInput, ParityBounds, Precision, TextInput};
use ndarray::{Array2, Array4};
use std::panic::resume_unwind;

/// How closely bf16 must repeat what the bundle states: eight bits of mantissa through a dozen blocks. Trained models
/// stay far below; the nearly tied routers of random weights do not, and such a bundle does not start in bf16.
const BF16_PARITY: ParityBounds = ParityBounds { max_relative_difference: 0.1, max_cosine_distance: 5e-3 };

/// Loads a bundle's towers on the configured device and checks them against its stored outputs: what the service does
/// at its start, and what an export does before it hands a bundle out.
///
/// # Errors
/// [`EncodeError`] for a missing ONNX Runtime, a device that was asked for by name and does not come up, a graph that
/// does not load, or outputs beyond the manifest's bounds.
pub fn open_towers(bundle: &Bundle, config: &EncoderConfig) -> Result<OpenedTowers, EncodeError> {
    let manifest = bundle.manifest();
    let saturates = manifest.precision == Precision::Int8 && !has_exact_int8_products();
    let (towers, _) = open_on_device(bundle, config, |tests, precision| {
        let (parity, row_independence) = match precision {
            DevicePrecision::Fp32 => (manifest.parity, manifest.row_independence),
            DevicePrecision::Bf16 => {
                (looser(manifest.parity, BF16_PARITY), looser(manifest.row_independence, BF16_PARITY))
            }
        };
        let checked = tests.iter().try_for_each(|test| test.check(parity, row_independence));
        checked.map_err(|error| if saturates { explain_saturation(error) } else { error })
    })?;
    if saturates {
        tracing::warn!(
            "this processor saturates sums of int8 products; embeddings are less exact, use fp32 where it counts"
        );
    }
    Ok(towers)
}

/// What the self-test finds, without judging it: bounds are made from this.
///
/// # Errors
/// As [`open_towers`], but for the bounds.
pub fn measure_towers(bundle: &Bundle, config: &EncoderConfig) -> Result<[TowerTest; 2], EncodeError> {
    Ok(open_on_device(bundle, config, |_, _| Ok(()))?.1)
}

/// Bounds that were measured on another processor may be out of reach on this one.
fn explain_saturation(error: EncodeError) -> EncodeError {
    let EncodeError::SelfTest { tower, reason } = error else { return error };
    let reason = format!(
        "{reason}; this processor saturates sums of int8 products, so export the bundle on it, which measures that and \
         says so, or export in fp32"
    );
    EncodeError::SelfTest { tower, reason }
}

fn looser(bounds: ParityBounds, other: ParityBounds) -> ParityBounds {
    ParityBounds {
        max_relative_difference: bounds.max_relative_difference.max(other.max_relative_difference),
        max_cosine_distance: bounds.max_cosine_distance.max(other.max_cosine_distance),
    }
}

/// Opens the towers on the first candidate on which they load and `judge` is content with what the self-test found.
fn open_on_device(
    bundle: &Bundle,
    config: &EncoderConfig,
    judge: impl Fn(&[TowerTest; 2], DevicePrecision) -> Result<(), EncodeError>,
) -> Result<(OpenedTowers, [TowerTest; 2]), EncodeError> {
    let DeviceConfig { name, precision, .. } = config.device;
    let candidates = candidates(name, precision, bundle.manifest().dialect, Machine::look());
    let taken = first_that_works(candidates, |provider| {
        let opened = open_on(bundle, config, provider)?;
        judge(&opened.2, effective_precision(provider, precision))?;
        Ok(opened)
    })?;
    let FirstThatWorks { provider, opened: (vision, text, tests), fallback_reason } = taken;
    let device = DeviceReport {
        requested: name,
        execution_provider: provider.name(),
        precision: effective_precision(provider, precision),
        fallback_reason,
        health_name: provider.health_name(),
    };
    Ok((OpenedTowers { vision, text, device }, tests))
}

/// A candidate that came up and passed its test, and why those before it did not.
#[derive(Debug)]
struct FirstThatWorks<Opened> {
    provider: Provider,
    opened: Opened,
    fallback_reason: Option<String>,
}

/// Tries the candidates in their order. When none works, the last one's failure is returned, and the log has the others.
fn first_that_works<Opened>(
    candidates: Vec<Provider>,
    mut open: impl FnMut(Provider) -> Result<Opened, EncodeError>,
) -> Result<FirstThatWorks<Opened>, EncodeError> {
    let mut failures: Vec<String> = Vec::new();
    let mut candidates = candidates.into_iter().peekable();
    while let Some(provider) = candidates.next() {
        match open(provider) {
            Ok(opened) => {
                let fallback_reason = (!failures.is_empty()).then(|| failures.join("; "));
                if let Some(reason) = &fallback_reason {
                    tracing::warn!(execution_provider = provider.name(), reason, "a faster device does not work");
                }
                return Ok(FirstThatWorks { provider, opened, fallback_reason });
            }
            Err(error) if candidates.peek().is_some() => failures.push(format!("{}: {error}", provider.name())),
            Err(error) => {
                if !failures.is_empty() {
                    tracing::error!(
                        reasons = failures.join("; "),
                        "no device works; the reasons of those before the last"
                    );
                }
                return Err(error);
            }
        }
    }
    unreachable!("there is a candidate for every name")
}

/// bf16 is OpenVINO's; every other provider computes what the graph says.
fn effective_precision(provider: Provider, configured: DevicePrecision) -> DevicePrecision {
    if provider == Provider::Openvino { configured } else { DevicePrecision::Fp32 }
}

type Opened = (Vec<OnnxVisionTower>, Vec<OnnxTextTower>, [TowerTest; 2]);

fn open_on(bundle: &Bundle, config: &EncoderConfig, provider: Provider) -> Result<Opened, EncodeError> {
    let workers = config.sessions.workers;
    let threads = match config.sessions.threads {
        0 => thread_count(0).div_ceil(workers),
        threads => threads,
    };
    let BatchingConfig { max_batch_images, max_batch_texts, .. } = config.batching;
    let context_length = bundle.manifest().text.context_length;
    let planned = |configured: &[usize], largest: usize| match provider.wants_fixed_shapes() {
        true => buckets(configured, largest),
        false => Vec::new(),
    };
    let image_buckets = planned(&config.sessions.batch_buckets, max_batch_images);
    let text_buckets = planned(&config.sessions.batch_buckets, max_batch_texts);
    let token_buckets = planned(&config.sessions.token_buckets, context_length);
    let session = SessionOptions { library: &config.onnxruntime_library, threads, provider, device: &config.device };
    // Before anything else of ONNX Runtime is touched: the library must be loaded from its place.
    environment(&config.onnxruntime_library)?;
    let image_options = TowerOptions { session, batch_buckets: &image_buckets, token_buckets: &[] };
    let text_options = TowerOptions { session, batch_buckets: &text_buckets, token_buckets: &token_buckets };
    let goldens = Goldens::read(&bundle.parity_path())?;
    let (vision, text) = std::thread::scope(|scope| {
        // Compiling a tower keeps one core busy, and a service waits for both.
        let vision = scope.spawn(|| open_vision(bundle, config, image_options, &goldens));
        let text = open_text(bundle, config, text_options, &goldens);
        (vision.join().unwrap_or_else(|panic| resume_unwind(panic)), text)
    });
    let ((vision, vision_test), (text, text_test)) = (vision?, text?);
    give_memory_back();
    Ok((vision, text, [vision_test, text_test]))
}

fn open_vision(
    bundle: &Bundle,
    config: &EncoderConfig,
    options: TowerOptions<'_>,
    goldens: &Goldens,
) -> Result<(Vec<OnnxVisionTower>, TowerTest), EncodeError> {
    let image = &bundle.manifest().image;
    let mut vision = (0..config.sessions.workers)
        .map(|_| OnnxVisionTower::open(&bundle.vision_path(), options))
        .collect::<Result<Vec<_>, _>>()?;
    give_memory_back();
    let test = goldens.test_vision(first(&mut vision))?;
    vision.iter_mut().try_for_each(|tower| warm_up_vision(tower, image, config, options))?;
    Ok((vision, test))
}

fn open_text(
    bundle: &Bundle,
    config: &EncoderConfig,
    options: TowerOptions<'_>,
    goldens: &Goldens,
) -> Result<(Vec<OnnxTextTower>, TowerTest), EncodeError> {
    let input = &bundle.manifest().text;
    let mut text = (0..config.sessions.workers)
        .map(|_| OnnxTextTower::open(&bundle.text_path(), input.padding_id, options))
        .collect::<Result<Vec<_>, _>>()?;
    give_memory_back();
    let test = goldens.test_text(first(&mut text))?;
    text.iter_mut().try_for_each(|tower| warm_up_text(tower, input, config, options))?;
    Ok((text, test))
}

fn first<T>(towers: &mut [T]) -> &mut T {
    match towers {
        [first, ..] => first,
        [] => unreachable!("the settings are checked for at least one worker"),
    }
}

/// Runs every shape that is planned for, so that no request pays for the planning: all buckets, or the largest batch
/// where shapes are free.
fn warm_up_vision(
    tower: &mut OnnxVisionTower,
    image: &ImageInput,
    config: &EncoderConfig,
    options: TowerOptions<'_>,
) -> Result<(), EncodeError> {
    for batch in planned(options.batch_buckets, config.batching.max_batch_images) {
        tower.run_array(&Array4::zeros((batch, 3, image.height_px, image.width_px)))?;
    }
    Ok(())
}

/// As [`warm_up_vision`], for every batch size with every length.
fn warm_up_text(
    tower: &mut OnnxTextTower,
    input: &TextInput,
    config: &EncoderConfig,
    options: TowerOptions<'_>,
) -> Result<(), EncodeError> {
    for tokens in planned(options.token_buckets, USUAL_TOKENS) {
        let tokens = tokens.clamp(2, input.context_length);
        for batch in planned(options.batch_buckets, config.batching.max_batch_texts) {
            let mut token_ids = Array2::from_elem((batch, tokens), input.padding_id);
            token_ids.column_mut(tokens - 1).fill(input.end_of_text_id);
            tower.run_array(&token_ids)?;
        }
    }
    Ok(())
}

/// The sizes that are planned for, or the one that stands for all of them.
fn planned(buckets: &[usize], otherwise: usize) -> Vec<usize> {
    if buckets.is_empty() { vec![otherwise] } else { buckets.to_vec() }
}

/// Length of a description's batch, for warming up where lengths are free.
const USUAL_TOKENS: usize = 40;

/// Returns what the allocator keeps of freed memory. Building a session frees copies of all weights in pieces that the
/// allocator would hold on to for the life of the process.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_memory_back() {
    #[expect(unsafe_code, reason = "a function of the C library")]
    // SAFETY: callable at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other C libraries have no such call.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_memory_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(provider: Provider) -> EncodeError {
        EncodeError::Device { device: provider.name(), reason: "no driver".to_owned(), remedy: "install one" }
    }

    fn inexact() -> EncodeError {
        EncodeError::SelfTest { tower: "text", reason: "cosine distance 0.3".to_owned() }
    }

    const ALL: [Provider; 3] = [Provider::Cuda, Provider::Openvino, Provider::Cpu];

    #[test]
    fn a_device_that_fails_its_test_is_passed_over_like_one_that_does_not_come_up() {
        let taken = first_that_works(ALL.into(), |provider| match provider {
            Provider::Cuda => Err(broken(provider)),
            Provider::Openvino => Err(inexact()),
            Provider::Cpu | Provider::Tensorrt => Ok("towers"),
        })
        .unwrap();
        assert_eq!((taken.provider, taken.opened), (Provider::Cpu, "towers"));
        let reason = taken.fallback_reason.unwrap();
        let (first, second) = reason.split_once("; openvino: ").unwrap();
        assert!(first.starts_with("cuda: ") && first.contains("no driver"), "{reason}");
        assert!(second.contains("self-test") && second.contains("cosine distance 0.3"), "{reason}");
    }

    #[test]
    fn the_first_choice_needs_no_reason_and_no_second_is_tried() {
        let taken = first_that_works(ALL.into(), |provider| {
            assert_eq!(provider, Provider::Cuda);
            Ok(())
        });
        assert_eq!(taken.unwrap().fallback_reason, None);
    }

    #[test]
    fn without_a_second_or_when_none_works_the_last_failure_is_told() {
        let alone = first_that_works(vec![Provider::Cuda], |_| Err::<(), _>(inexact())).unwrap_err();
        assert!(matches!(alone, EncodeError::SelfTest { .. }), "{alone}");
        let last = first_that_works(ALL.into(), |provider| match provider {
            Provider::Cpu => Err::<(), _>(inexact()),
            Provider::Cuda | Provider::Openvino | Provider::Tensorrt => Err(broken(provider)),
        });
        assert!(matches!(last.unwrap_err(), EncodeError::SelfTest { .. }));
    }
}
