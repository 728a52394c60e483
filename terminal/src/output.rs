//! Standard output that may go away: `descry export | head` is no reason to panic.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};

/// What a shell reports of a process that SIGPIPE ended.
const EXIT_BROKEN_PIPE: i32 = 141;

/// Writes one line to standard output; takes what `format!` takes.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => {
        $crate::output::line(::std::format_args!($($argument)*))
    };
}
pub use say;

/// Writes one line to standard output. Ends the program when nobody reads it any more.
pub fn line(text: Arguments<'_>) {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(EXIT_BROKEN_PIPE),
        // A full disk behind a redirection: the exit code and the log remain.
        Err(error) => tracing::error!(%error, "cannot write to standard output"),
        Ok(()) => {}
    }
}
