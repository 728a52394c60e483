//! Progress for whoever reads standard error through a pipe or from a file: a plain line now and then, where a terminal
//! has a bar.

use crate::output;
use std::io::IsTerminal as _;
use std::time::Duration;
use tokio::time::Instant;

/// Between two lines: often enough to see that something goes on, seldom enough for a log.
const PAUSE: Duration = Duration::from_secs(10);

/// Counts what is done, and says it from time to time.
#[derive(Debug)]
pub struct PipedProgress {
    what: &'static str,
    total: Option<u64>,
    began_at: Instant,
    said_at: Instant,
}

impl PipedProgress {
    /// Begins to count. `what` is a plural, such as `images`.
    pub fn new(what: &'static str, total: Option<u64>) -> Self {
        let now = Instant::now();
        Self { what, total, began_at: now, said_at: now }
    }

    /// The same where standard error is no terminal; nothing where it is one, and shows a bar.
    pub fn unless_terminal(what: &'static str, total: Option<u64>) -> Option<Self> {
        (!std::io::stderr().is_terminal()).then(|| Self::new(what, total))
    }

    /// Writes a line to standard error if it is time for one. To be called whenever something is done.
    pub fn say(&mut self, done: u64, failed: u64) {
        if let Some(line) = self.line(done, failed) {
            // A log that takes nothing more must not end the work.
            output::complain(&line);
        }
    }

    /// The line, if it is time for one.
    fn line(&mut self, done: u64, failed: u64) -> Option<String> {
        let now = Instant::now();
        if now - self.said_at < PAUSE {
            return None;
        }
        self.said_at = now;
        let of = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
        let failed = if failed == 0 { String::new() } else { format!(", {failed} failed") };
        let per_second = done as f64 / (now - self.began_at).as_secs_f64();
        Some(format!("{done}{of} {} done{failed}, {per_second:.1} a second", self.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_line_comes_every_ten_seconds() {
        let mut progress = PipedProgress::new("images", Some(400));
        assert_eq!(progress.line(1, 0), None);
        let mut lines = Vec::new();
        for second in 1..=25 {
            advance(Duration::from_secs(1)).await;
            lines.extend(progress.line(second * 4, u64::from(second > 15)));
        }
        assert_eq!(lines, ["40 of 400 images done, 4.0 a second", "80 of 400 images done, 1 failed, 4.0 a second"]);
        advance(PAUSE).await;
        let mut endless = PipedProgress::new("images", None);
        advance(PAUSE).await;
        assert_eq!(endless.line(5, 0).as_deref(), Some("5 images done, 0.5 a second"));
    }
}
