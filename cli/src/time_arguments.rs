//! Options for the times of images that no record tells.

use descry_intake::{ExifClock, IntakeError, TimePattern, TimeSources};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Times", group(clap::ArgGroup::new("time_source").multiple(true)))]
pub(crate) struct TimeArguments {
    /// Take captured_at from names (an image's or a frame's path below the folder) where nothing else tells it: a pattern as
    /// strftime has it, such as %Y%m%d_%H%M%S. Names that do not fit are counted.
    #[arg(long, value_name = "PATTERN", group = "time_source", conflicts_with = "embeddings")]
    time_pattern: Option<String>,
    /// Take captured_at from EXIF data (DateTimeOriginal) of an image or its frame where no record tells it; it wins over
    /// names. Images without it are counted.
    #[arg(long, value_name = "WHAT", group = "time_source", conflicts_with = "embeddings")]
    time_from: Option<Source>,
    /// How far the clocks behind these times are ahead of UTC, where the times do not say it: UTC, or an offset such as
    /// +02:00. It is never guessed.
    #[arg(long, alias = "pattern-zone", value_name = "ZONE", requires = "time_source", allow_hyphen_values = true)]
    clock_zone: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Source {
    Exif,
}

impl TimeArguments {
    /// Where times are looked for.
    pub(crate) fn sources(&self) -> Result<TimeSources, IntakeError> {
        let zone = self.clock_zone.as_deref();
        let names = self.time_pattern.as_deref().map(|pattern| TimePattern::new(pattern, zone)).transpose()?;
        let exif = self.time_from.map(|Source::Exif| ExifClock::new(zone)).transpose()?;
        Ok(TimeSources { exif, names })
    }
}
