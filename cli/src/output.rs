//! Standard output that may go away: `descry export | head` is no reason to panic.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};

/// What a shell reports of a process that SIGPIPE ended.
const EXIT_BROKEN_PIPE: i32 = 141;

/// Writes one line to standard output.
macro_rules! say {
    ($($argument:tt)*) => {
        $crate::output::line(format_args!($($argument)*))
    };
}
pub(crate) use say;

pub(crate) fn line(text: Arguments<'_>) {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(EXIT_BROKEN_PIPE),
        // A full disk behind a redirection: the exit code and the log remain.
        Err(error) => tracing::error!(%error, "cannot write to standard output"),
        Ok(()) => {}
    }
}
