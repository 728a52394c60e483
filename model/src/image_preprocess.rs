//! From the bytes of an image file to the pixels a vision tower was trained on.
//!
//! The retrieval papers preprocess with Pillow and torchvision: RGB, bilinear resize to the tower's size without
//! cropping, `/255`, mean and standard deviation. A different resize moves every embedding, so [`resize`](crate::resize)
//! repeats Pillow's arithmetic to the bit.

use crate::jpeg;
use crate::orientation::{ImageNotes, turn};
use crate::patience::{Patience, PatientReader};
use crate::png_file::{self, PngFile};
use crate::resize::{RgbImage, resize_patiently};
use crate::webp_file::{WebpFile, is_webp};
use crate::{ImageInput, ModelError};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder as _, ImageReader, Limits};
use ndarray::Array3;

/// Decoder memory beyond the pixels themselves, in bytes: room for what a decoder of WebP keeps.
const DECODER_OVERHEAD_BYTES_PER_PIXEL: u64 = 16;

/// The file formats that decode, for messages.
const FORMATS: &str = "JPEG, PNG, WebP or BMP";
/// What every JPEG file begins with.
pub(crate) const JPEG_START: &[u8] = &[0xFF, 0xD8, 0xFF];

/// Decodes an image file to 8-bit RGB the way Pillow's `convert("RGB")` does: alpha dropped, grey replicated, palette
/// expanded. Of 16-bit samples the upper byte counts (Pillow clips 16-bit grey instead, which leaves little of it). The
/// size is checked before anything is allocated for pixels.
///
/// With `apply_exif_orientation` the image is turned upright first, as Pillow's `ImageOps.exif_transpose` does it: by the
/// EXIF data of JPEG, PNG and WebP, else by their XMP data. Damaged data turn nothing. The published methods do not turn.
///
/// Of damaged files those are refused that Pillow refuses by default: a JPEG that is cut short, be it by its end marker alone; a
/// PNG whose header, palette or other chunk before the pixels has a wrong checksum, or whose pixels are damaged or not all
/// there. A PNG without its `IEND` chunk is read. `png_file.rs` and `jpeg.rs` list where we differ.
///
/// # Errors
/// [`ModelError::ImageTooLarge`] above `max_pixels`; [`ModelError::Image`] for anything that is not a whole image.
pub fn decode_image(bytes: &[u8], max_pixels: u64, apply_exif_orientation: bool) -> Result<RgbImage, ModelError> {
    decode_patiently(bytes, max_pixels, apply_exif_orientation, Patience::ENDLESS)
}

fn decode_patiently(
    bytes: &[u8],
    max_pixels: u64,
    apply_exif_orientation: bool,
    patience: Patience<'_>,
) -> Result<RgbImage, ModelError> {
    let (decoded, orientation) = if bytes.starts_with(JPEG_START) {
        let notes = if apply_exif_orientation { jpeg::notes(bytes) } else { ImageNotes::default() };
        (jpeg::decode(bytes, max_pixels, patience)?, notes.orientation())
    } else if bytes.starts_with(png_file::SIGNATURE) {
        let file = PngFile::open(bytes, apply_exif_orientation)?;
        (file.decode(max_pixels, patience)?, file.notes.orientation())
    } else {
        decode_others(bytes, max_pixels, apply_exif_orientation, patience)
            .map_err(|error| patience.or_abandoned(error))?
    };
    patience.check()?;
    if !apply_exif_orientation {
        return Ok(decoded);
    }
    let turned = turn(decoded, orientation);
    patience.check()?;
    Ok(turned)
}

/// WebP and BMP.
fn decode_others(
    bytes: &[u8],
    max_pixels: u64,
    takes_notes: bool,
    patience: Patience<'_>,
) -> Result<(RgbImage, Orientation), ModelError> {
    if bytes.is_empty() {
        return Err(ModelError::Image { reason: "the file is empty (0 bytes)".to_owned() });
    }
    // The decoder's own way to the notes of a WebP allocates what they claim to have.
    let notes = if is_webp(bytes) {
        let file = WebpFile::open(bytes)?;
        check_pixels(file.size, max_pixels)?;
        if takes_notes { file.notes() } else { ImageNotes::default() }
    } else {
        ImageNotes::default()
    };
    let reader = ImageReader::new(PatientReader::new(bytes, patience)).with_guessed_format().map_err(unreadable)?;
    if reader.format().is_none() {
        return Err(ModelError::Image { reason: format!("the bytes are not {FORMATS}") });
    }
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let pixels = check_pixels(decoder.dimensions(), max_pixels)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(pixels.saturating_mul(DECODER_OVERHEAD_BYTES_PER_PIXEL).saturating_add(1 << 20));
    decoder.set_limits(limits).map_err(unreadable)?;
    let decoded = to_samples(DynamicImage::from_decoder(decoder).map_err(unreadable)?.into_rgb8());
    Ok((decoded, notes.orientation()))
}

/// How many pixels a picture of this width and height has.
fn check_pixels((width, height): (u32, u32), max_pixels: u64) -> Result<u64, ModelError> {
    match u64::from(width) * u64::from(height) {
        0 => Err(ModelError::Image { reason: format!("it has no pixels ({width}x{height})") }),
        pixels if pixels > max_pixels => Err(ModelError::ImageTooLarge { width, height, max_pixels }),
        pixels => Ok(pixels),
    }
}

/// Decodes and resizes one image file and normalises its pixels.
///
/// # Shapes
/// - returns: `[3, height, width]` f32, RGB planes, `(value / 255 - mean) / std`
///
/// # Errors
/// As [`decode_image`].
pub fn preprocess_image(bytes: &[u8], input: &ImageInput, max_pixels: u64) -> Result<Array3<f32>, ModelError> {
    preprocess_patiently(bytes, input, max_pixels, Patience::ENDLESS)
}

/// As [`preprocess_image`], as long as there is patience: the work ends some tens of milliseconds after that is over, for the
/// largest pictures some hundreds. A lossy WebP is read first and then decoded to its end: about a second for the largest.
///
/// # Errors
/// As [`decode_image`]; [`ModelError::Abandoned`].
pub fn preprocess_patiently(
    bytes: &[u8],
    input: &ImageInput,
    max_pixels: u64,
    patience: Patience<'_>,
) -> Result<Array3<f32>, ModelError> {
    let decoded = decode_patiently(bytes, max_pixels, input.exif_rotation, patience)?;
    let resized = resize_patiently(&decoded, input.height_px, input.width_px, input.resize_filter, patience)?;
    Ok(normalise(&resized, input))
}

/// Turns 8-bit RGB of the tower's size into the tower's input.
fn normalise(image: &RgbImage, input: &ImageInput) -> Array3<f32> {
    // One table per channel: the published arithmetic in float32, done 256 times instead of once a pixel.
    let tables: [[f32; 256]; 3] = std::array::from_fn(|channel| {
        std::array::from_fn(|value| (value as f32 / 255.0 - input.mean[channel]) / input.std[channel])
    });
    let plane = image.width * image.height;
    let mut values = vec![0.0; 3 * plane];
    for (position, pixel) in image.samples.chunks_exact(3).enumerate() {
        for (channel, &sample) in pixel.iter().enumerate() {
            values[channel * plane + position] = tables[channel][usize::from(sample)];
        }
    }
    let mut pixels = Array3::zeros((3, image.height, image.width));
    for (target, value) in pixels.iter_mut().zip(values) {
        *target = value;
    }
    pixels
}

fn to_samples(rgb: image::RgbImage) -> RgbImage {
    let (width, height) = rgb.dimensions();
    RgbImage { width: width as usize, height: height as usize, samples: rgb.into_raw() }
}

fn unreadable(error: impl std::fmt::Display) -> ModelError {
    ModelError::Image { reason: error.to_string() }
}

#[cfg(test)]
mod tests;
