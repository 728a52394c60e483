//! Image files. What is decoded has no more pixels than were allowed.

use descry_model::{decode_image, image_cost};

const MAX_PIXELS: u64 = 1 << 20;

/// Reads bytes as the module says; panics where a promise is broken.
pub fn read(bytes: &[u8]) {
    let _ = image_cost(bytes, MAX_PIXELS);
    for upright in [false, true] {
        if let Ok(image) = decode_image(bytes, MAX_PIXELS, upright) {
            let pixels = image.width as u64 * image.height as u64;
            assert!(pixels <= MAX_PIXELS && image.samples.len() as u64 == pixels * 3);
        }
    }
}
