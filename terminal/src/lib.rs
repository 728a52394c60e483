//! How Descry's programs behave on a terminal: lines, tables, progress bars, Ctrl-C, exit codes, words to read and to
//! paste, and the files that a command line names.

mod error;
pub mod image_size;
pub mod interrupt;
pub mod new_file;
pub mod output;
pub mod piped_progress;
pub mod program;
pub mod progress;
pub mod shell;
pub mod table;
pub mod whole_file;

pub use descry_serving::telemetry::Printable;
pub use error::TerminalError;
