//! Image files for benchmarks without a data set.

use crate::BenchError;
use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rand_distr::{Distribution as _, Normal, Uniform};

/// The usual size of a person's crop in the published data sets.
const WIDTH_PX: u32 = 128;
const HEIGHT_PX: u32 = 384;
/// What cameras and data sets store with.
const JPEG_QUALITY: u8 = 90;
/// Noise of a camera's sensor, in steps of 8-bit values. Without any, decoding would be faster than a photo's.
const SENSOR_NOISE: f32 = 4.0;

/// JPEG files of 128x384 pixels that cost as much to decode as photos: a person of several plain and textured areas
/// before a shaded background, with a camera's noise. Equal seeds give equal files.
pub(crate) fn synthetic_jpegs(count: usize, seed: u64) -> Result<Vec<Bytes>, BenchError> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| encode(&draw(&mut random)?)).collect()
}

fn encode(image: &RgbImage) -> Result<Bytes, BenchError> {
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY).encode_image(image).map_err(BenchError::SyntheticImage)?;
    Ok(file.into())
}

fn draw(random: &mut ChaCha8Rng) -> Result<RgbImage, BenchError> {
    let unusable = |error: &dyn std::fmt::Display| BenchError::Report { reason: error.to_string() };
    let shade = Uniform::new(20.0_f32, 235.0).map_err(|error| unusable(&error))?;
    let frequency = Uniform::new(0.05_f32, 0.9).map_err(|error| unusable(&error))?;
    let noise = Normal::new(0.0_f32, SENSOR_NOISE).map_err(|error| unusable(&error))?;
    let colour = |random: &mut ChaCha8Rng| [(); 3].map(|()| shade.sample(random));
    let background = colour(random);
    // Head, upper body, legs and shoes: the areas in which a crop's colours lie.
    let areas = [(0.04, 0.18, 0.12), (0.18, 0.52, 0.30), (0.52, 0.90, 0.22), (0.90, 0.98, 0.26)]
        .map(|(top, bottom, half_width)| (top, bottom, half_width, colour(random), frequency.sample(random)));
    Ok(RgbImage::from_fn(WIDTH_PX, HEIGHT_PX, |column, row| {
        let (across, down) = (column as f32 / WIDTH_PX as f32, row as f32 / HEIGHT_PX as f32);
        let area = areas.iter().find(|(top, bottom, half_width, ..)| {
            (*top..*bottom).contains(&down) && (across - 0.5).abs() < *half_width
        });
        let (colour, texture) = match area {
            Some((.., colour, frequency)) => {
                (*colour, 18.0 * (column as f32 * frequency).sin() * (row as f32 * frequency * 0.7).cos())
            }
            None => (background, 40.0 * (down - across)),
        };
        Rgb(colour.map(|value| (value + texture + noise.sample(random)).clamp(0.0, 255.0) as u8))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_crops_of_a_photos_size() {
        let files = synthetic_jpegs(3, 5).unwrap();
        assert_eq!(files, synthetic_jpegs(3, 5).unwrap());
        assert_ne!(files[0], files[1]);
        for file in files {
            let image = descry_model::decode_image(&file, 1 << 20, false).unwrap();
            assert_eq!((image.width, image.height), (128, 384));
            // CUHK-PEDES' crops of this size have 8 to 40 kB.
            assert!((8_000..40_000).contains(&file.len()), "{} bytes", file.len());
        }
    }
}
