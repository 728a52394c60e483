//! Which records, as the commands take it.

use crate::time::{GivenTime, parse_time};
use descry_audit::{NameKey, Named, Opener, RecordFilter, WantedNames};
use descry_client::unix_ms;
use descry_terminal::output::note;
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
    /// Asking for this person, or leaving them out: as a condition of a search, a list, a deletion or a watch.
    #[arg(long, value_name = "ID")]
    person: Option<String>,
    /// Asking for this track, of whatever camera.
    #[arg(long, value_name = "ID")]
    track: Option<String>,
    /// The key that the service's audit.name_key_file names, where names are hashed: those that are given here are found.
    #[arg(long, value_name = "FILE")]
    name_key: Option<PathBuf>,
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
            names: self.names()?,
        })
    }

    fn names(&self) -> anyhow::Result<Vec<WantedNames>> {
        let key = self.name_key.as_deref().map(NameKey::read).transpose()?;
        let given = [(Named::Image, &self.image), (Named::Person, &self.person), (Named::Track, &self.track)];
        let given = given.into_iter().filter_map(|(named, name)| Some((named, name.clone()?)));
        Ok(given.map(|name| WantedNames::new([name], key.as_ref())).collect())
    }

    /// Says that it cannot be told of some records whether they match.
    pub(super) fn note_closed(&self, closed: u64) {
        if closed > 0 {
            let key = match self.name_key {
                None => "give the key that audit.name_key_file names with --name-key",
                Some(_) => "--name-key is another key than the one that they were hashed with",
            };
            note!("{closed} records hold hashed names, and it cannot be told whether they are meant: {key}");
        }
    }

    pub(super) fn opener(&self) -> anyhow::Result<Option<Opener>> {
        Ok(self.key.as_deref().map(Opener::read).transpose()?)
    }
}
