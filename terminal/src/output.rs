//! Standard output: lines that show whatever is in them, and a program that says when they could not be written.

use crate::Printable;
use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

/// What a shell reports of a process that SIGPIPE ended.
const EXIT_BROKEN_PIPE: i32 = 141;

/// Whether something could not be written.
static HAS_FAILED: AtomicBool = AtomicBool::new(false);

/// Writes one line to standard output; takes what `format!` takes. Empty lines may precede it.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => {
        $crate::output::line(::std::format_args!($($argument)*))
    };
}
pub use say;

/// Writes several lines to standard output, such as a table; takes what `format!` takes. What comes from outside must not
/// be in it unless its line feeds are escaped already, as in a [`Table`](crate::table::Table).
#[macro_export]
macro_rules! say_lines {
    ($($argument:tt)*) => {
        $crate::output::lines(::std::format_args!($($argument)*))
    };
}
pub use say_lines;

/// Writes one line to standard error, for people beside an output that is for programs; takes what `format!` takes.
#[macro_export]
macro_rules! note {
    ($($argument:tt)*) => {
        $crate::output::complain(&::std::format!($($argument)*))
    };
}
pub use note;

/// Writes one line to standard output, in which nothing acts on a terminal. Ends the program when nobody reads it any
/// more, as Unix tools do.
pub fn line(text: Arguments<'_>) {
    let text = text.to_string();
    let line = text.trim_start_matches('\n');
    write(&format!("{}{}\n", &text[..text.len() - line.len()], Printable(line)));
}

/// As [`line()`], and line feeds and tabs stay.
pub fn lines(text: Arguments<'_>) {
    write(&escaped_lines(&text.to_string()));
}

/// Each line without what acts on a terminal, and the last one ended.
fn escaped_lines(text: &str) -> String {
    let parts = text.split_inclusive(['\n', '\t']).map(|part| {
        let letters = part.trim_end_matches(['\n', '\t']);
        format!("{}{}", Printable(letters), &part[letters.len()..])
    });
    parts.chain(["\n".to_owned()]).collect()
}

/// Whether some of the output could not be written: the program must not end as if all had gone well.
pub fn has_failed() -> bool {
    HAS_FAILED.load(Ordering::Relaxed)
}

fn write(text: &str) {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(EXIT_BROKEN_PIPE),
        // A full disk behind a redirection. What the command does besides goes on; it's told once.
        Err(error) => {
            if !HAS_FAILED.swap(true, Ordering::Relaxed) {
                complain(&format!("descry: cannot write to standard output: {error}"));
            }
        }
    }
}

/// Writes to standard error; continued lines are indented, so that none of them passes for a line of its own. Where that
/// is gone too, nobody is left to be told.
pub fn complain(text: &str) {
    let text = text.split('\n').map(|line| Printable(line).to_string()).collect::<Vec<_>>().join("\n  ");
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_keeps_its_lines_and_nothing_else_acts() {
        assert_eq!(escaped_lines("a\n\u{1b}[2Jb\tc"), "a\n\\u001b[2Jb\tc\n");
        assert_eq!(escaped_lines(""), "\n");
    }
}
