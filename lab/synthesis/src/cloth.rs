//! Cloth that is not quite smooth.

use crate::randomness::Randomness;
use tiny_skia::Pixmap;

/// Lightens and darkens what is drawn in soft spots.
pub(crate) fn crumple(pixmap: &mut Pixmap, randomness: &mut Randomness, strength: f32) {
    const COLUMNS: usize = 14;
    const ROWS: usize = 30;
    let grid: Vec<f32> = (0..(COLUMNS + 1) * (ROWS + 1)).map(|_| randomness.between(-1.0, 1.0)).collect();
    let (width, height) = (pixmap.width() as usize, pixmap.height() as usize);
    for (index, pixel) in pixmap.data_mut().chunks_exact_mut(4).enumerate() {
        if pixel[3] == 0 {
            continue;
        }
        let x = (index % width) as f32 / width as f32 * COLUMNS as f32;
        let y = (index / width) as f32 / height as f32 * ROWS as f32;
        let (column, row) = (x as usize, y as usize);
        let (across, down) = (x.fract(), y.fract());
        let at = |column: usize, row: usize| grid[row * (COLUMNS + 1) + column];
        let above = at(column, row) + (at(column + 1, row) - at(column, row)) * across;
        let below = at(column, row + 1) + (at(column + 1, row + 1) - at(column, row + 1)) * across;
        let factor = 1.0 + strength * (above + (below - above) * down);
        let alpha = pixel[3];
        for value in &mut pixel[..3] {
            // Premultiplied: no channel may exceed the opacity.
            *value = ((f32::from(*value) * factor) as u8).min(alpha);
        }
    }
}
