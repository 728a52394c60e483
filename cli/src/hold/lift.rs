//! `descry hold lift`

use crate::confirmation::confirm;
use crate::output::say;
use crate::server::Target;
use descry_proto::search::v1::LiftHoldResponse;
use std::process::ExitCode;

/// Lift a hold: what it alone kept can be removed again, and what is past the gallery's retention goes with the next sweep.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry hold lift case-17 --gallery lobby
  descry hold lift case-17 --gallery lobby --yes")]
pub(super) struct Arguments {
    /// The hold.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    target: Target,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, target, yes } = arguments;
    let connection = target.connect().await?;
    let holds = match connection.holds(&target.gallery).await {
        Ok(holds) => holds,
        Err(error) => return Err(target.explained(&connection, error).await),
    };
    // One that is not there is the service's to refuse.
    if let Some(hold) = holds.iter().find(|hold| hold.name == name)
        && !yes
    {
        let (images, reason) = (hold.images, &hold.reason);
        let question = format!("Lift hold {name:?} ({reason})? It keeps {images} images, which can be removed then.");
        if !confirm(&question)? {
            say!("the hold stays");
            return Ok(ExitCode::FAILURE);
        }
    }
    let LiftHoldResponse { released, past_retention } = connection.lift_hold(&target.gallery, &name).await?;
    say!("lifted hold {name} of gallery {}; {released} images are under no hold any more", target.gallery);
    if past_retention > 0 {
        say!("{past_retention} of them are past the gallery's retention; the service's next sweep removes them");
    }
    Ok(ExitCode::SUCCESS)
}
