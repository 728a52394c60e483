//! Measures one CLIP training step in candle and in burn: the numbers behind the trainer's choice of a framework.
//!
//! ```text
//! export RAYON_NUM_THREADS=2
//! cargo run --release --manifest-path lab/trainer/framework-comparison/Cargo.toml -- candle demo
//! cargo run --release --manifest-path lab/trainer/framework-comparison/Cargo.toml -- burn vit-b-16 4
//! ```
//!
//! The arguments are the framework (`candle` or `burn`), the size (`demo` or `vit-b-16`) and the number of measured
//! steps, 10 if not given. Each run is a process of its own, so that the peak of its memory is that framework's alone.
//! `RAYON_NUM_THREADS` sets the threads of both; without it candle counts physical cores and burn logical ones.
//! `pytorch_step.py` beside this crate measures the same step in PyTorch and prints the same line.
//!
//! One step is the forward pass of an image and a text tower, CLIP's contrastive loss, the backward pass, and plain
//! gradient descent on all weights. Embeddings are left out: towers read random activations. Weights and activations
//! come from one generator (`numbers`), so that all frameworks compute the same, which the printed losses show. The code
//! is what one would first write with each framework, without fused operators of our own.
//!
//! To see what one framework costs in the build, build it alone:
//! `cargo build --release --no-default-features --features candle`.

use std::error::Error;
use std::time::Duration;

mod measurement;
mod numbers;
mod size;
#[cfg(feature = "burn")]
mod with_burn;
#[cfg(feature = "candle")]
mod with_candle;

use measurement::Measurement;
use size::Size;

const USAGE: &str = "usage: framework-comparison candle|burn demo|vit-b-16 [steps]";

/// Logits are cosine similarities divided by this.
const TEMPERATURE: f64 = 0.02;
/// Step of plain gradient descent; small enough for both sizes to descend from the first step on.
const LEARNING_RATE: f64 = 0.003;
/// What is added to a variance before its root.
const LAYER_NORM_EPSILON: f64 = 1e-5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (framework, size_name, steps) = match arguments.as_slice() {
        [framework, size] => (framework, size, 10),
        [framework, size, steps] => (framework, size, steps.parse()?),
        _ => return Err(USAGE.into()),
    };
    let size = Size::by_name(size_name).ok_or(USAGE)?;
    let mut measurement = Measurement::of_steps(steps)?;
    run(framework, &size, &mut measurement)?;
    let summary = measurement.summary()?;
    println!(
        "{framework} {size_name}: median {:.1} ms, minimum {:.1} ms, loss {:.4} to {:.4}, peak memory {}",
        milliseconds(summary.median),
        milliseconds(summary.minimum),
        summary.first_loss,
        summary.last_loss,
        measurement::peak_memory(),
    );
    Ok(())
}

fn run(framework: &str, size: &Size, measurement: &mut Measurement) -> Result<(), Box<dyn Error>> {
    match framework {
        #[cfg(feature = "burn")]
        "burn" => with_burn::train(size, measurement),
        #[cfg(feature = "candle")]
        "candle" => with_candle::train(size, measurement),
        missing if ["burn", "candle"].contains(&missing) => {
            Err(format!("this program was built without the feature `{missing}`").into())
        }
        _ => Err(USAGE.into()),
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
