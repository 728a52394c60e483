//! Progress on standard error, drawn on a terminal only, so that output can be piped.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A bar with rate and time left.
pub fn bar(total: usize, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(total as u64).with_prefix(what);
    let template = "{prefix} [{bar:30}] {pos}/{len} {per_sec} {eta} left {msg}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// A spinner for steps of unknown length.
pub fn spinner(what: impl Into<std::borrow::Cow<'static, str>>) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(what);
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

/// A bar, or a counting spinner where the total is not known.
pub fn counter(total: Option<u64>, what: &'static str) -> ProgressBar {
    if let Some(total) = total {
        return bar(usize::try_from(total).unwrap_or(usize::MAX), what);
    }
    let spinner = ProgressBar::new_spinner().with_prefix(what);
    let template = "{spinner} {prefix} {pos} {per_sec} {msg}";
    spinner.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()));
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}
