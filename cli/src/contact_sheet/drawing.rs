//! The sheet as a picture.

use super::pictures::{HEIGHT, WIDTH};
use super::{Cell, Row};
use descry_terminal::{Printable, table};
use image::imageops::overlay;
use image::{Rgb, RgbImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

const MARGIN: u32 = 12;
const LINE_HEIGHT: u32 = 18;
/// Standing, id, whereabouts, frame, time.
const CAPTION_LINES: u32 = 5;
const CELL_HEIGHT: u32 = HEIGHT + 4 + CAPTION_LINES * LINE_HEIGHT;
const MAX_COLUMNS: usize = 8;
/// Narrower sheets would cut every title.
const MIN_COLUMNS: u32 = 4;
const PAPER: Rgb<u8> = Rgb([250, 250, 248]);
const INK: [u8; 3] = [32, 32, 36];
const FAINT: [u8; 3] = [96, 96, 104];
const SIZE: RasterHeight = RasterHeight::Size16;

pub(super) fn draw(rows: &[Row]) -> RgbImage {
    let columns = rows.iter().map(|row| row.cells.len()).max().unwrap_or_default().clamp(1, MAX_COLUMNS) as u32;
    let width = MARGIN + columns.max(MIN_COLUMNS) * (WIDTH + MARGIN);
    let height = MARGIN + rows.iter().map(row_height).sum::<u32>();
    let mut sheet = RgbImage::from_pixel(width, height, PAPER);
    let mut top = MARGIN;
    for row in rows {
        write_text(&mut sheet, &row.title, (MARGIN, top), width - 2 * MARGIN, FontWeight::Bold, INK);
        if let Some(note) = &row.note {
            let at = (MARGIN, top + LINE_HEIGHT);
            write_text(&mut sheet, note, at, width - 2 * MARGIN, FontWeight::Regular, INK);
        }
        for (index, cell) in row.cells.iter().enumerate() {
            let (line, column) = ((index / MAX_COLUMNS) as u32, (index % MAX_COLUMNS) as u32);
            let left = MARGIN + column * (WIDTH + MARGIN);
            draw_cell(&mut sheet, cell, left, top + head_height(row) + line * (CELL_HEIGHT + MARGIN));
        }
        top += row_height(row);
    }
    sheet
}

/// Title and note.
fn head_height(row: &Row) -> u32 {
    let lines = if row.note.is_some() { 2 } else { 1 };
    lines * LINE_HEIGHT + MARGIN / 2
}

fn row_height(row: &Row) -> u32 {
    head_height(row) + row.cells.len().div_ceil(MAX_COLUMNS) as u32 * (CELL_HEIGHT + MARGIN)
}

fn draw_cell(sheet: &mut RgbImage, cell: &Cell, left: u32, top: u32) {
    match &cell.picture {
        Ok(picture) => {
            let x = left + (WIDTH - picture.width()) / 2;
            let y = top + (HEIGHT - picture.height()) / 2;
            overlay(sheet, picture, i64::from(x), i64::from(y));
        }
        Err(_) => write_text(sheet, "(no image)", (left, top + HEIGHT / 2), WIDTH, FontWeight::Regular, FAINT),
    }
    let captured = cell.captured();
    let lines = [
        (cell.standing(), FontWeight::Bold, INK),
        (cell.hit.image_id.clone(), FontWeight::Regular, INK),
        (cell.whereabouts(), FontWeight::Regular, INK),
        (cell.frame().unwrap_or_default(), FontWeight::Regular, FAINT),
        (captured.replace('T', " "), FontWeight::Regular, FAINT),
    ];
    let mut y = top + HEIGHT + 4;
    for (text, weight, ink) in lines {
        if !text.is_empty() {
            write_text(sheet, &text, (left, y), WIDTH, weight, ink);
            y += LINE_HEIGHT;
        }
    }
}

/// Writes one line, cut in the middle to `max_width` pixels.
fn write_text(sheet: &mut RgbImage, text: &str, at: (u32, u32), max_width: u32, weight: FontWeight, ink: [u8; 3]) {
    let letter_width = get_raster_width(weight, SIZE) as u32;
    let (text, room) = (Printable(text).to_string(), (max_width / letter_width) as usize);
    let fits = text.chars().count() <= room;
    // The font has no ellipsis.
    let text = if fits { text } else { table::cut(&text, room.saturating_sub(1)).replace('…', "..") };
    for (index, letter) in text.chars().enumerate() {
        // Letters that the font lacks are seen to be there.
        let Some(raster) = get_raster(letter, weight, SIZE).or_else(|| get_raster('?', weight, SIZE)) else { continue };
        let x = at.0 + index as u32 * letter_width;
        for (row, intensities) in raster.rows().enumerate() {
            for (column, &intensity) in intensities.iter().enumerate() {
                if let Some(pixel) = sheet.get_pixel_mut_checked(x + column as u32, at.1 + row as u32) {
                    for (sample, ink) in pixel.0.iter_mut().zip(ink) {
                        let share = u32::from(intensity);
                        *sample = ((u32::from(*sample) * (255 - share) + u32::from(ink) * share) / 255) as u8;
                    }
                }
            }
        }
    }
}
