//! How a program begins and ends.

use descry_serving::telemetry::{LogConfig, LogFormat, install};
use std::error::Error;
use std::process::ExitCode;

/// Writes the log to standard error: what passes `filter`, such as `warn` or `descry_search=debug,info`.
///
/// # Errors
/// A message for an unusable filter, or when the process has a log already.
pub fn start_log(filter: String) -> Result<(), String> {
    install(&LogConfig { filter, format: LogFormat::Text })
}

/// Says why the program ends without success.
#[expect(clippy::print_stderr, reason = "the error is the program's last word")]
pub fn fail(error: &(dyn Error + 'static)) -> ExitCode {
    eprintln!("descry: {}", descry_serving::explain(error));
    ExitCode::FAILURE
}
