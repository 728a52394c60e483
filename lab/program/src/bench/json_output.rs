//! Reports as JSON.

use anyhow::Context as _;
use descry_terminal::{new_file, say_lines};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Where a report goes as JSON.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct JsonArguments {
    /// Write everything that was measured as JSON; `-` prints it instead of the table.
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

impl JsonArguments {
    /// Whether standard output is the JSON's.
    pub(super) fn is_standard_output(&self) -> bool {
        self.json.as_deref() == Some(Path::new("-"))
    }

    pub(super) fn write(&self, report: &impl Serialize) -> anyhow::Result<()> {
        let Some(path) = &self.json else { return Ok(()) };
        let text = serde_json::to_string_pretty(report).context("writing JSON")?;
        if self.is_standard_output() {
            say_lines!("{text}");
            return Ok(());
        }
        Ok(new_file::write(path, (text + "\n").as_bytes())?)
    }
}
