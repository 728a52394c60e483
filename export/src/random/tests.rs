use super::*;
use descry_model::method::dm_adapter::{EXPERTS, TOP_K};
use ndarray::{Array1, ArrayView1, Ix1, Ix2};
use rand_distr::StandardNormal;

/// Whatever a token is, rounding of a hundredth must not send it to another expert, whichever number of them is chosen.
#[test]
fn routers_of_random_weights_are_decided() {
    const WIDTH: usize = 192;
    const TOKENS: usize = 200;
    let mut dict = RandomDict { random: ChaCha8Rng::seed_from_u64(7), tensors: BTreeMap::new() };
    for (side, layer) in [(Side::Vision, 0), (Side::Vision, 11), (Side::Text, 0), (Side::Text, 11)] {
        dict.mixture(side.block(layer), WIDTH);
    }
    let mut first_choices = Vec::new();
    for (side, layer) in [(Side::Vision, 0), (Side::Vision, 11), (Side::Text, 0), (Side::Text, 11)] {
        let keys = side.block(layer);
        let tensor = |key: String| dict.tensors[&key].clone();
        let alpha = tensor(keys.prompt_share()).first().copied().unwrap();
        let matrix = |key: String| tensor(key).into_dimensionality::<Ix2>().unwrap();
        let (input_gate, prompt_gate) = (matrix(keys.input_gate()), matrix(keys.prompt_gate()));
        let prompt = tensor(keys.domain_prompt()).into_dimensionality::<Ix1>().unwrap();
        let constant = prompt_gate.dot(&prompt) * alpha;
        let logits = |token: ArrayView1<'_, f32>| &constant + &(input_gate.dot(&token) * (1.0 - alpha));
        let mut random = ChaCha8Rng::seed_from_u64(8);
        let mut noise = |deviation: f32| -> Array1<f32> {
            Array1::from_shape_simple_fn(WIDTH, || {
                let value: f32 = StandardNormal.sample(&mut random);
                value * deviation
            })
        };
        let ranking = |logits: Array1<f32>| {
            let mut experts: Vec<usize> = (0..EXPERTS).collect();
            experts.sort_by(|&left, &right| logits[right].total_cmp(&logits[left]));
            experts
        };
        for _ in 0..TOKENS {
            let token = noise(1.0);
            let rounded = &token + &noise(0.01);
            let exact = ranking(logits(token.view()));
            assert_eq!(exact, ranking(logits(rounded.view())), "{keys}");
            first_choices.push(exact[..TOP_K].to_vec());
        }
        // Not so far apart that the second choice is nothing.
        let gap = LOGIT_STEP * alpha;
        assert!((1.5..2.5).contains(&gap), "{gap}");
    }
    first_choices.sort();
    first_choices.dedup();
    assert!(first_choices.len() > 1, "other blocks choose others");
}
