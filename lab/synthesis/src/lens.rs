//! What a camera does to the light that reaches it.

use crate::camera::Camera;
use crate::randomness::Randomness;
use tiny_skia::Pixmap;

/// Pictures are made as if 384 pixels high; effects in pixels grow with other heights.
const USUAL_HEIGHT_PX: f32 = 384.0;

/// Colours as rows of red, green and blue, 0 to 255.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    values: Vec<f32>,
}

impl Picture {
    /// The colours of an opaque drawing.
    pub(crate) fn of(pixmap: &Pixmap) -> Self {
        let values =
            pixmap.data().chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]].map(f32::from)).collect();
        Self { width: pixmap.width() as usize, height: pixmap.height() as usize, values }
    }

    /// Puts the colours back into a drawing of the same size.
    pub(crate) fn write_to(&self, pixmap: &mut Pixmap) {
        for (pixel, color) in pixmap.data_mut().chunks_exact_mut(4).zip(self.values.chunks_exact(3)) {
            for (byte, value) in pixel.iter_mut().zip(color) {
                *byte = value.clamp(0.0, 255.0) as u8;
            }
            pixel[3] = 255;
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.values.iter().map(|value| value.clamp(0.0, 255.0).round() as u8).collect()
    }

    /// Two box filters: near enough to a normal distribution for what is out of focus.
    pub(crate) fn blur(&mut self, deviation: f32) {
        for _ in 0..2 {
            self.box_filter(deviation, true);
            self.box_filter(deviation, false);
        }
    }

    /// A box along rows or columns; two of them in a row have the standard deviation, in pixels.
    fn box_filter(&mut self, deviation: f32, is_along_rows: bool) {
        // A box that reaches r pixels to both sides has the variance r(r + 1)/3; its outermost pixels count partly, so
        // that every deviation can be met.
        let variance = deviation * deviation / 2.0;
        if variance < 1e-4 {
            return;
        }
        let mut whole = 0_usize;
        while ((whole + 1) * (whole + 2)) as f32 / 3.0 <= variance {
            whole += 1;
        }
        let reach = whole as f32;
        let squares = reach * (reach + 1.0) * (2.0 * reach + 1.0) / 3.0;
        let part = (variance * (1.0 + 2.0 * reach) - squares) / (2.0 * ((reach + 1.0).powi(2) - variance));
        let width = 1.0 + 2.0 * (reach + part);
        let (lines, length, line_step, step) = if is_along_rows {
            (self.height, self.width, self.width * 3, 3)
        } else {
            (self.width, self.height, 3, self.width * 3)
        };
        let mut line = vec![0.0_f32; length + 2 * whole + 3];
        let padding = whole + 1;
        for number in 0..lines {
            for channel in 0..3 {
                let start = number * line_step + channel;
                for (index, value) in line.iter_mut().enumerate() {
                    let index = index.saturating_sub(padding).min(length - 1);
                    *value = self.values[start + index * step];
                }
                let mut sum: f32 = line[1..=2 * whole + 1].iter().sum();
                for index in 0..length {
                    let edges = line[index] + line[index + 2 * whole + 2];
                    self.values[start + index * step] = (sum + edges * part) / width;
                    sum += line[index + 2 * whole + 2] - line[index + 1];
                }
            }
        }
    }

    /// Halfway between sharp and moved: what a slow shutter leaves of somebody who walks by.
    fn smear(&mut self, pixels: f32) {
        self.box_filter(pixels * 0.5, true);
    }

    /// Down to a share of the pixels and back up.
    fn resample(&mut self, share: f32) {
        let (width, height) = (self.width, self.height);
        let small = [width, height].map(|side| ((side as f32 * share) as usize).max(8));
        let reduced = self.scaled(small[0], small[1]);
        *self = reduced.scaled(width, height);
    }

    fn scaled(&self, width: usize, height: usize) -> Self {
        let positions = |count: usize, of: usize| -> Vec<(usize, usize, f32)> {
            (0..count)
                .map(|index| {
                    let at = ((index as f32 + 0.5) * of as f32 / count as f32 - 0.5).clamp(0.0, (of - 1) as f32);
                    let low = at as usize;
                    (low, (low + 1).min(of - 1), at - low as f32)
                })
                .collect()
        };
        let columns = positions(width, self.width);
        let mut values = Vec::with_capacity(width * height * 3);
        for (top, bottom, down) in positions(height, self.height) {
            let rows = [top, bottom].map(|row| &self.values[row * self.width * 3..(row + 1) * self.width * 3]);
            for (left, right, across) in &columns {
                for channel in 0..3 {
                    let mix = |row: &[f32]| {
                        let (from, to) = (row[left * 3 + channel], row[right * 3 + channel]);
                        from + (to - from) * across
                    };
                    let (above, below) = (mix(rows[0]), mix(rows[1]));
                    values.push(above + (below - above) * down);
                }
            }
        }
        Self { width, height, values }
    }

    /// Everything that happens between the scene and the file.
    pub(crate) fn capture(&mut self, camera: &Camera, randomness: &mut Randomness) {
        let scale = self.height as f32 / USUAL_HEIGHT_PX;
        self.grade(camera, randomness);
        let defocus = camera.blur * randomness.between(0.6, 1.5) + if randomness.chance(0.08) { 0.9 } else { 0.0 };
        self.blur(defocus * scale);
        if randomness.chance(0.16) {
            self.smear(randomness.between(1.5, 5.0) * scale);
        }
        // Half of the noise is there before the camera reduces its picture, and softer afterwards.
        let noise = camera.noise * randomness.between(0.6, 1.4);
        self.add_noise(noise * 1.4, randomness);
        let share = camera.resolution * randomness.between(0.78, 1.08);
        if share < 0.95 {
            self.resample(share.max(0.25));
        }
        self.add_noise(noise * 0.45, randomness);
    }

    /// Exposure, contrast, colour of the light, darker corners.
    fn grade(&mut self, camera: &Camera, randomness: &mut Randomness) {
        let exposure = camera.exposure * randomness.normal(1.0, 0.09).clamp(0.75, 1.3);
        let contrast = camera.contrast * randomness.normal(1.0, 0.06);
        let warmth = camera.warmth + randomness.normal(0.0, 0.12);
        let balance = [1.0 + 0.11 * warmth, 1.0 + 0.015 * warmth, 1.0 - 0.13 * warmth];
        let corners = randomness.between(0.0, 0.22);
        let (width, height) = (self.width as f32, self.height as f32);
        for (index, color) in self.values.chunks_exact_mut(3).enumerate() {
            let (x, y) = ((index % self.width) as f32 / width - 0.5, (index / self.width) as f32 / height - 0.5);
            let vignette = 1.0 - corners * (x * x + y * y) * 2.0;
            if camera.is_infrared {
                // Near infrared is reflected by most dyes: clothes differ less than they do by day.
                let gray = 0.36 * color[0] + 0.40 * color[1] + 0.24 * color[2];
                let lifted = 26.0 + gray * 0.88;
                color.copy_from_slice(&[lifted, lifted * 1.01, lifted * 1.02]);
            }
            for (value, balance) in color.iter_mut().zip(balance) {
                let balance = if camera.is_infrared { 1.0 } else { balance };
                *value = ((*value * exposure * balance - 118.0) * contrast + 118.0) * vignette;
            }
        }
    }

    fn add_noise(&mut self, deviation: f32, randomness: &mut Randomness) {
        // Four bytes summed are near enough to a normal distribution; their standard deviation is 147.8.
        let factor = deviation / 147.8;
        let mut noise = || {
            let sum: i32 = randomness.bits().to_le_bytes().into_iter().map(i32::from).sum();
            (sum - 510) as f32 * factor
        };
        for color in self.values.chunks_exact_mut(3) {
            let gray = noise();
            for value in color {
                *value += gray;
            }
        }
        // Colour noise is coarser: one value for a stretch of a row.
        for stretch in self.values.chunks_mut(9) {
            let (red, blue) = (noise() * 0.3, noise() * 0.3);
            for color in stretch.chunks_exact_mut(3) {
                color[0] += red;
                color[2] += blue;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot() -> Picture {
        let mut picture = Picture { width: 33, height: 41, values: vec![0.0; 33 * 41 * 3] };
        picture.values[(20 * 33 + 16) * 3] = 1_000.0;
        picture
    }

    #[test]
    fn blurring_keeps_light_and_spreads_it_as_asked() {
        for deviation in [0.3, 1.0, 2.5] {
            let mut picture = spot();
            picture.blur(deviation);
            let total: f32 = picture.values.iter().sum();
            assert!((total - 1_000.0).abs() < 1.0, "{total}");
            let variance: f32 = picture
                .values
                .chunks_exact(3)
                .enumerate()
                .map(|(index, color)| color[0] * ((index % 33) as f32 - 16.0).powi(2))
                .sum::<f32>()
                / total;
            assert!((variance.sqrt() - deviation).abs() < 0.15, "{} {deviation}", variance.sqrt());
        }
    }

    #[test]
    fn scaling_keeps_an_even_picture() {
        let picture = Picture { width: 10, height: 20, values: vec![7.0; 600] };
        let scaled = picture.scaled(17, 9);
        assert_eq!(scaled.values, vec![7.0; 17 * 9 * 3]);
    }
}
