//! Sentences about what an image shows.

mod clauses;
mod grammar;
mod phrases;
mod sentences;
mod vocabulary;

use crate::SynthesisSettings;
use crate::facts::Facts;
use crate::randomness::{Purpose, Randomness};

/// How often another wording is tried when two captions of an image would be equal.
const ATTEMPTS: usize = 20;

/// Captions of one image, all different where enough is seen.
pub(crate) fn write(settings: &SynthesisSettings, facts: &Facts<'_>, identity: usize, image: usize) -> Vec<String> {
    let mut randomness = Randomness::new(settings.world_seed(), Purpose::Captions, identity as u64, image as u64);
    let mut captions: Vec<String> = Vec::with_capacity(settings.captions_per_image);
    while captions.len() < settings.captions_per_image {
        let mut caption = grammar::caption(&mut randomness, facts);
        for _ in 0..ATTEMPTS {
            if !captions.contains(&caption) {
                break;
            }
            caption = grammar::caption(&mut randomness, facts);
        }
        captions.push(caption);
    }
    captions
}

#[cfg(test)]
mod tests;
