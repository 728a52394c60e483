//! Which records, as the commands take it.

use crate::time::{GivenTime, parse_time};
use descry_audit::{Opener, RecordFilter};
use descry_client::unix_ms;
use std::path::PathBuf;

/// The log, and conditions on its records that all hold.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct RecordArguments {
    /// Folder of the log, or that of one instance below it.
    #[arg(value_name = "DIR")]
    pub(super) folder: PathBuf,
    /// From this time on, such as 2026-05-01T08:00:00Z; without a zone it is of --time-zone.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<GivenTime>,
    /// Before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    before: Option<GivenTime>,
    /// Of this person or program.
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    /// Of this gallery.
    #[arg(long, value_name = "NAME")]
    gallery: Option<String>,
    /// For this purpose.
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
    /// Of this case.
    #[arg(long, value_name = "NUMBER")]
    case: Option<String>,
    /// Naming this image: told, judged, looked for, changed or deleted.
    #[arg(long, value_name = "ID")]
    image: Option<String>,
    /// Private key that `descry audit key` wrote: sealed words are shown.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl RecordArguments {
    pub(super) fn filter(&self) -> anyhow::Result<RecordFilter> {
        let ms =
            |time: Option<GivenTime>| anyhow::Ok(time.map(GivenTime::moment).transpose()?.map(|time| unix_ms(&time)));
        Ok(RecordFilter {
            from_ms: ms(self.from)?,
            before_ms: ms(self.before)?,
            principal: self.principal.clone(),
            gallery: self.gallery.clone(),
            purpose: self.purpose.clone(),
            case_number: self.case.clone(),
            image_id: self.image.clone(),
        })
    }

    pub(super) fn opener(&self) -> anyhow::Result<Option<Opener>> {
        Ok(self.key.as_deref().map(Opener::read).transpose()?)
    }
}
