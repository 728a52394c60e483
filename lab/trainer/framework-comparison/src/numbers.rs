//! The same weights and activations for every framework.

const SEED: u64 = 20_260_401;

/// Random numbers from SplitMix64, which `pytorch_step.py` repeats.
///
/// Every framework must ask in the same order: block after block the four weights of its linear layers, then the tower's
/// projection; first the vision tower, then the text tower, then the images, then the texts.
pub(crate) struct Numbers {
    state: u64,
}

impl Numbers {
    pub(crate) fn new() -> Self {
        Self { state: SEED }
    }

    /// Weights of a linear layer, `inputs × outputs`, that keep the variance of what passes through.
    pub(crate) fn weights(&mut self, inputs: usize, outputs: usize) -> Vec<f32> {
        self.uniform(inputs * outputs, (3.0 / inputs as f64).sqrt())
    }

    /// Activations with mean zero and variance one.
    pub(crate) fn activations(&mut self, count: usize) -> Vec<f32> {
        self.uniform(count, 3.0_f64.sqrt())
    }

    /// Evenly spread over `-limit .. limit`.
    fn uniform(&mut self, count: usize, limit: f64) -> Vec<f32> {
        (0..count).map(|_| ((self.next_fraction() * 2.0 - 1.0) * limit) as f32).collect()
    }

    /// At least zero, below one.
    fn next_fraction(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}
