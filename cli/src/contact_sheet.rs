//! A picture of search results: a row for each query, its hits from left to right.

use anyhow::Context as _;
use image::imageops::{FilterType, overlay, resize};
use image::{Rgb, RgbImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use std::path::{Path, PathBuf};

/// A query and what it found.
pub(crate) struct Row {
    pub(crate) title: String,
    pub(crate) cells: Vec<Cell>,
}

/// One hit.
pub(crate) struct Cell {
    /// Its image file; without one, or when it cannot be read, the cell says so.
    pub(crate) image: Option<PathBuf>,
    pub(crate) caption: String,
}

const CELL_WIDTH: u32 = 112;
const CELL_HEIGHT: u32 = 256;
const MARGIN: u32 = 8;
const TEXT_HEIGHT: u32 = 20;
const MAX_COLUMNS: usize = 10;
/// Pixels of a gallery image that will be decoded for a thumbnail.
const MAX_PIXELS: u64 = 50_000_000;
const PAPER: Rgb<u8> = Rgb([250, 250, 248]);
const INK: [u8; 3] = [32, 32, 36];

/// Draws and writes the sheet as PNG.
pub(crate) fn write(path: &Path, rows: &[Row]) -> anyhow::Result<()> {
    draw(rows)
        .save_with_format(path, image::ImageFormat::Png)
        .with_context(|| format!("cannot write {}", path.display()))
}

fn draw(rows: &[Row]) -> RgbImage {
    let columns = rows.iter().map(|row| row.cells.len()).max().unwrap_or_default().clamp(1, MAX_COLUMNS) as u32;
    let width = MARGIN + columns.max(MIN_COLUMNS) * (CELL_WIDTH + MARGIN);
    let lines = |row: &Row| row.cells.len().div_ceil(MAX_COLUMNS).max(1) as u32;
    let row_height = |row: &Row| MARGIN + TEXT_HEIGHT + lines(row) * (CELL_HEIGHT + TEXT_HEIGHT + MARGIN);
    let height = MARGIN + rows.iter().map(row_height).sum::<u32>();
    let mut sheet = RgbImage::from_pixel(width, height, PAPER);
    let mut top = MARGIN;
    for row in rows {
        write_text(&mut sheet, &row.title, MARGIN, top, width - 2 * MARGIN);
        for (index, cell) in row.cells.iter().enumerate() {
            let (line, column) = ((index / MAX_COLUMNS) as u32, (index % MAX_COLUMNS) as u32);
            let left = MARGIN + column * (CELL_WIDTH + MARGIN);
            let cell_top = top + TEXT_HEIGHT + line * (CELL_HEIGHT + TEXT_HEIGHT + MARGIN);
            draw_cell(&mut sheet, cell, left, cell_top);
        }
        top += row_height(row);
    }
    sheet
}

/// Narrower sheets would cut every title.
const MIN_COLUMNS: u32 = 5;

fn draw_cell(sheet: &mut RgbImage, cell: &Cell, left: u32, top: u32) {
    match cell.image.as_deref().and_then(thumbnail) {
        Some(picture) => {
            let x = left + (CELL_WIDTH - picture.width()) / 2;
            let y = top + (CELL_HEIGHT - picture.height()) / 2;
            overlay(sheet, &picture, i64::from(x), i64::from(y));
        }
        None => write_text(sheet, "(no image)", left, top + CELL_HEIGHT / 2, CELL_WIDTH),
    }
    write_text(sheet, &cell.caption, left, top + CELL_HEIGHT, CELL_WIDTH);
}

/// The image, as large as fits a cell, proportions kept.
fn thumbnail(path: &Path) -> Option<RgbImage> {
    let decoded = descry_model::decode_image(&std::fs::read(path).ok()?, MAX_PIXELS, true).ok()?;
    let (width, height) = (decoded.width as u32, decoded.height as u32);
    let picture = RgbImage::from_raw(width, height, decoded.samples)?;
    let scale = (f64::from(CELL_WIDTH) / f64::from(width)).min(f64::from(CELL_HEIGHT) / f64::from(height));
    let fit = |side: u32, most: u32| ((f64::from(side) * scale).round() as u32).clamp(1, most);
    Some(resize(&picture, fit(width, CELL_WIDTH), fit(height, CELL_HEIGHT), FilterType::Triangle))
}

/// Writes one line, cut to `max_width` pixels.
fn write_text(sheet: &mut RgbImage, text: &str, left: u32, top: u32, max_width: u32) {
    const SIZE: RasterHeight = RasterHeight::Size16;
    const WEIGHT: FontWeight = FontWeight::Regular;
    let letter_width = get_raster_width(WEIGHT, SIZE) as u32;
    let room = (max_width / letter_width) as usize;
    let mut letters: Vec<char> = text.chars().collect();
    if letters.len() > room {
        letters.truncate(room.saturating_sub(3));
        letters.extend(['.'; 3]);
    }
    for (index, letter) in letters.into_iter().enumerate() {
        let Some(raster) = get_raster(letter, WEIGHT, SIZE).or_else(|| get_raster('?', WEIGHT, SIZE)) else { continue };
        let x = left + index as u32 * letter_width;
        for (row, intensities) in raster.rows().enumerate() {
            for (column, &intensity) in intensities.iter().enumerate() {
                if let Some(pixel) = sheet.get_pixel_mut_checked(x + column as u32, top + row as u32) {
                    for (sample, ink) in pixel.0.iter_mut().zip(INK) {
                        let share = u32::from(intensity);
                        *sample = ((u32::from(*sample) * (255 - share) + u32::from(ink) * share) / 255) as u8;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_images_and_long_titles_are_drawn_all_the_same() {
        let cells = (0..23).map(|_| Cell { image: Some("/nowhere.jpg".into()), caption: "0.5".to_owned() }).collect();
        let sheet = draw(&[Row { title: "é漢 ".repeat(200), cells }, Row { title: String::new(), cells: Vec::new() }]);
        assert_eq!(sheet.width(), MARGIN + 10 * (CELL_WIDTH + MARGIN));
        assert!(sheet.pixels().any(|pixel| *pixel != PAPER));
    }
}
