//! How a program begins and ends.

use crate::output;
use descry_serving::telemetry::{LogConfig, LogFormat, install};
use std::error::Error;
use std::process::ExitCode;

/// What is logged where nothing else is asked for.
pub const DEFAULT_FILTER: &str = "warn";

/// Writes the log to standard error, with times: what passes `filter`, such as `warn` or `descry_search=debug,info`.
///
/// # Errors
/// A message for an unusable filter, or when the process has a log already.
pub fn start_log(filter: String) -> Result<(), String> {
    install(&LogConfig { filter, format: LogFormat::Text })
}

/// As [`start_log`], for a command that somebody waits for: warnings are sentences, unless more than these is asked for.
///
/// # Errors
/// As [`start_log`].
pub fn start_hints(filter: String) -> Result<(), String> {
    let format = if filter == DEFAULT_FILTER { LogFormat::Sentences } else { LogFormat::Text };
    install(&LogConfig { filter, format })
}

/// The program's end: says why it has no success, also where only its output could not be written.
pub fn end<Failure: AsRef<dyn Error + 'static>>(ended: Result<ExitCode, Failure>) -> ExitCode {
    match ended {
        Ok(_) if output::has_failed() => ExitCode::FAILURE,
        Ok(code) => code,
        Err(error) => fail(error.as_ref()),
    }
}

/// Says why the program ends without success.
pub fn fail(error: &(dyn Error + 'static)) -> ExitCode {
    output::complain(&format!("descry: {}", descry_serving::explain(error)));
    ExitCode::FAILURE
}
