//! Tables of one line a row, as wide as the terminal.

use crate::Printable;
use std::fmt;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

const GAP: &str = "  ";
const ELLIPSIS: char = '…';

/// A column: its title, and how its cells stand.
#[derive(Debug, Clone)]
pub struct Column {
    title: String,
    is_right: bool,
    least: Option<usize>,
}

impl Column {
    /// Words: from the left, never cut.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), is_right: false, least: None }
    }

    /// Numbers: to the right.
    #[must_use]
    pub fn right(mut self) -> Self {
        self.is_right = true;
        self
    }

    /// Cut in the middle where the terminal is too narrow, down to so many letters. Columns further right are cut first.
    #[must_use]
    pub fn at_least(mut self, letters: usize) -> Self {
        self.least = Some(letters);
        self
    }
}

/// Rows under titles. Nothing in a cell acts on a terminal. A column without any content is left out.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    width: Option<usize>,
}

impl Table {
    /// A table for standard output: as wide as the terminal or the variable `COLUMNS`, as wide as its content where there
    /// is neither, so that programs find every name whole.
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new(), width: terminal_width() }
    }

    /// At most so many letters wide; `None` for as wide as its content.
    #[must_use]
    pub fn within(mut self, width: Option<usize>) -> Self {
        self.width = width;
        self
    }

    /// Adds a row of as many cells as there are columns.
    pub fn add(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<String> = cells.into_iter().map(|cell| Printable(&cell).to_string()).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// The columns that have content, and how wide they are.
    fn widths(&self) -> Vec<(usize, usize)> {
        let content = |column: usize| self.rows.iter().map(move |row| row[column].width()).max().unwrap_or_default();
        let with_title = |column: usize| Some((column, content(column).max(self.columns[column].title.width())));
        let mut widths: Vec<(usize, usize)> = (0..self.columns.len())
            .filter_map(|column| if content(column) == 0 { None } else { with_title(column) })
            .collect();
        let total = widths.iter().map(|(_, width)| width).sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
        let mut excess = self.width.map_or(0, |width| total.saturating_sub(width));
        for (column, width) in widths.iter_mut().rev() {
            let least = self.columns[*column].least.map_or(*width, |least| least.min(*width));
            let cut = excess.min(*width - least);
            (*width, excess) = (*width - cut, excess - cut);
        }
        widths
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let titles = self.columns.iter().map(|column| column.title.as_str()).collect::<Vec<_>>();
        let rows = self.rows.iter().map(|row| row.iter().map(String::as_str).collect::<Vec<_>>());
        for (number, row) in std::iter::once(titles).chain(rows).enumerate() {
            let cells = widths.iter().map(|&(column, width)| {
                let cell = cut(row[column], width);
                let room = " ".repeat(width - cell.width());
                if self.columns[column].is_right { format!("{room}{cell}") } else { format!("{cell}{room}") }
            });
            let line = cells.collect::<Vec<_>>().join(GAP);
            let feed = if number == 0 { "" } else { "\n" };
            write!(formatter, "{feed}{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Text of at most `width` letters, its beginning and its end where it is longer: paths differ at their ends.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let end = take(text.chars().rev(), kept.div_ceil(2));
    let start = take(text.chars(), kept / 2);
    start.into_iter().chain((width > 0).then_some(ELLIPSIS)).chain(end.into_iter().rev()).collect()
}

/// The first letters that fit a width.
fn take(letters: impl Iterator<Item = char>, width: usize) -> Vec<char> {
    let mut taken = 0;
    let fits = |letter: &char| {
        taken += letter.width().unwrap_or_default();
        taken <= width
    };
    letters.take_while(fits).collect()
}

/// How many letters a line of standard output has; `None` where it is no terminal and nobody says.
fn terminal_width() -> Option<usize> {
    // No setting of a service, but what a shell tells every program.
    let said = std::env::var_os("COLUMNS").and_then(|columns| columns.to_str()?.parse().ok());
    let asked = || terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
    said.or_else(asked).filter(|width| *width > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(width: Option<usize>) -> Table {
        let columns = [
            Column::new("").right(),
            Column::new("image").at_least(8),
            Column::new("camera"),
            Column::new("attributes").at_least(10),
        ];
        let mut table = Table::new(columns).within(width);
        table.add(["9".to_owned(), "c1/0001/crop.jpg".to_owned(), "c1".to_owned(), "weather=rain, bag=yes".to_owned()]);
        table.add(["10".to_owned(), "c2/a.jpg".to_owned(), "c2".to_owned(), String::new()]);
        table
    }

    #[test]
    fn a_row_is_a_line_however_narrow_the_terminal_is() {
        let wide = "    image             camera  attributes\n \
                    9  c1/0001/crop.jpg  c1      weather=rain, bag=yes\n\
                    10  c2/a.jpg          c2";
        assert_eq!(table(None).to_string(), wide);
        let printed = table(Some(40)).to_string();
        assert!(printed.lines().all(|line| line.width() <= 40) && printed.lines().count() == 3, "{printed}");
        assert!(printed.contains("weat…g=yes") && printed.contains("rop.jpg"), "{printed}");
        // Columns that can't be cut stay, and wider than the terminal.
        assert_eq!(table(Some(1)).to_string().lines().count(), 3);
    }

    #[test]
    fn columns_without_content_are_left_out() {
        let mut table = Table::new([Column::new("a"), Column::new("b"), Column::new("c")]).within(None);
        table.add(["1".to_owned(), String::new(), "3".to_owned()]);
        assert_eq!(table.to_string(), "a  c\n1  3");
    }

    #[test]
    fn wide_letters_and_such_that_act_keep_the_columns() {
        let mut table = Table::new([Column::new("name"), Column::new("n")]).within(None);
        for name in ["漢字", "a\nb\u{1b}", "x"] {
            table.add([name.to_owned(), "1".to_owned()]);
        }
        assert_eq!(table.to_string(), "name        n\n漢字        1\na\\nb\\u001b  1\nx           1");
    }

    #[test]
    fn a_cut_text_keeps_both_ends() {
        for (text, width, expected) in [
            ("abcdefg", 7, "abcdefg"),
            ("abcdefg", 6, "ab…efg"),
            ("abcdefg", 1, "…"),
            ("abc", 0, ""),
            ("漢字漢字", 5, "漢…字"),
        ] {
            assert_eq!(cut(text, width), expected, "{text} {width}");
        }
    }
}
