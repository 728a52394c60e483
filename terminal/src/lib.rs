//! How Descry's programs behave on a terminal: lines, progress bars, Ctrl-C, exit codes, and words to read and to paste.

pub mod image_size;
pub mod interrupt;
pub mod output;
pub mod piped_progress;
pub mod program;
pub mod progress;
pub mod shell;
