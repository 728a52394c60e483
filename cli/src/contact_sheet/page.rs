//! The sheet as a page: one file without anything outside of it, to be mailed and kept.

use super::{Cell, Row, jpeg, percent};
use crate::time::time_text;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use descry_terminal::Printable;
use std::fmt::{self, Write as _};

/// Nothing of the page runs, and it loads nothing: what is in it came from files and names.
const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Descry: search results</title>
<style>
body { margin: 1.5rem; background: #fafaf8; color: #202024; font: 14px/1.45 system-ui, sans-serif; }
h1 { margin: 1.5rem 0 0.25rem; font-size: 1.15rem; }
p { margin: 0 0 0.75rem; }
.hits { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 1.25rem; }
figure { margin: 0; }
.picture { display: flex; height: 288px; align-items: center; justify-content: center; background: #ededea; }
.picture img { max-width: 100%; max-height: 288px; }
.standing { font-weight: 600; font-variant-numeric: tabular-nums; }
.name { overflow-wrap: anywhere; }
.faint { color: #606068; overflow-wrap: anywhere; }
table { border-spacing: 0.5rem 0; font-size: 12px; }
td { overflow-wrap: anywhere; }
</style>
</head>
<body>
"#;

pub(super) fn write(rows: &[Row]) -> anyhow::Result<String> {
    let mut page = HEAD.to_owned();
    for row in rows {
        writeln!(page, "<h1>{}</h1>", Escaped(&row.title))?;
        if let Some(note) = &row.note {
            writeln!(page, "<p>{}</p>", Escaped(note))?;
        }
        page.push_str("<div class=\"hits\">\n");
        for cell in &row.cells {
            write_cell(&mut page, cell)?;
        }
        page.push_str("</div>\n");
    }
    page.push_str("</body>\n</html>\n");
    Ok(page)
}

fn write_cell(page: &mut String, cell: &Cell) -> anyhow::Result<()> {
    page.push_str("<figure>\n<div class=\"picture\">");
    match &cell.picture {
        Ok(picture) => {
            let (content, id) = (STANDARD.encode(jpeg(picture)?), Escaped(&cell.hit.image_id));
            write!(page, "<img alt=\"{id}\" src=\"data:image/jpeg;base64,{content}\">")?;
        }
        Err(reason) => write!(page, "<span class=\"faint\" title=\"{}\">(no image)</span>", Escaped(reason))?,
    }
    page.push_str("</div>\n<figcaption>\n");
    let probability = cell.hit.match_probability.map(|share| format!(" · {}", percent(share))).unwrap_or_default();
    let standing = format!("{} · {:.4}{probability}", cell.rank, cell.hit.score);
    for (class, text) in [
        ("standing", standing),
        ("name", cell.hit.image_id.clone()),
        ("name", cell.whereabouts()),
        ("faint", cell.frame().unwrap_or_default()),
        ("faint", cell.captured()),
    ] {
        if !text.is_empty() {
            writeln!(page, "<div class=\"{class}\">{}</div>", Escaped(&text))?;
        }
    }
    for (name, value) in cell.attributes() {
        writeln!(page, "<div class=\"faint\">{}: {}</div>", Escaped(name), Escaped(value))?;
    }
    write_sightings(page, cell)?;
    page.push_str("</figcaption>\n</figure>\n");
    Ok(())
}

/// Where and when a person was seen, for those who want to know.
fn write_sightings(page: &mut String, cell: &Cell) -> anyhow::Result<()> {
    let (named, count) = (cell.sightings().len() as u64, cell.hit.sighting_count);
    if named == 0 {
        return Ok(());
    }
    let some = if count > named { format!("{named} of {count} images") } else { format!("{named} images") };
    writeln!(page, "<details><summary>{some}</summary>\n<table>")?;
    for sighting in cell.sightings() {
        let camera = sighting.camera_id.as_deref().unwrap_or_default();
        let (id, time) = (Escaped(&sighting.image_id), time_text(sighting.captured_at));
        writeln!(page, "<tr><td>{}</td><td>{}</td><td>{id}</td></tr>", Escaped(&time), Escaped(camera))?;
    }
    page.push_str("</table></details>\n");
    Ok(())
}

/// Text that is text on a page too, whatever is in it.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&htmlize::escape_all_quotes(Printable(self.0).to_string()))
    }
}
