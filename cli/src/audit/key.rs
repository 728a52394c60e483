//! `descry audit key`

use crate::output::{note, say};
use descry_audit::KeyPair;
use descry_terminal::new_file;
use std::path::PathBuf;
use std::process::ExitCode;

/// Make a pair of keys for words that are sealed: the private one opens them, the public one is for the service.
///
/// Keep the private key where no service runs. The public one is printed: it goes into the file that `audit.query_key_file`
/// names, with `audit.queries: sealed`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  descry audit key --out audit.key > audit.public")]
pub(super) struct Arguments {
    /// A new file for the private key, which its owner alone can read.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    new_file::check_folder(&arguments.out)?;
    let pair = KeyPair::generate();
    pair.write(&arguments.out)?;
    say!("{}", pair.public_digits());
    note!("the private key is in {}; without it what is sealed stays closed for ever", arguments.out.display());
    Ok(ExitCode::SUCCESS)
}
