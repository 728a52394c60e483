//! Questions before something is lost.

use crate::output::say;
use anyhow::Context as _;
use std::io::IsTerminal as _;

/// Asks on a terminal. Where nobody can be asked, the caller must have said `--yes`.
pub(crate) fn confirm(question: &str) -> anyhow::Result<bool> {
    anyhow::ensure!(
        std::io::stdin().is_terminal(),
        "{question} Nobody can be asked here, because standard input is no terminal; add --yes if it is meant"
    );
    say!("{question} Type yes to go on:");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("reading the answer")?;
    Ok(line.trim().eq_ignore_ascii_case("yes"))
}
