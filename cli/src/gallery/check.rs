//! `descry gallery check`, `descry gallery repair`

use crate::output::{say, say_lines};
use crate::server::Server;
use descry_proto::search::v1::DamagedImage;
use descry_terminal::Printable;
use std::process::ExitCode;

/// Read every image of a gallery, and name those that cannot be read.
///
/// The exit code is 1 when there are any.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery check lobby
  descry gallery check lobby.2")]
pub(super) struct CheckArguments {
    /// The gallery, or a generation of one such as lobby.2.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
}

/// Remove the images of a gallery that cannot be read, and name them, so that they can be indexed again.
///
/// The exit code is 1 when some could not be removed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery repair lobby > removed.txt")]
pub(super) struct RepairArguments {
    /// The gallery, or a generation of one such as lobby.2.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
}

pub(super) async fn check(arguments: CheckArguments) -> anyhow::Result<ExitCode> {
    let (examined, damaged) = go_through(&arguments.server, &arguments.name, false).await?;
    if damaged.is_empty() {
        say!("gallery {}: {examined} images, none damaged", arguments.name);
        return Ok(ExitCode::SUCCESS);
    }
    damaged.iter().for_each(tell);
    say!(
        "gallery {name}: {examined} images, {} damaged; `descry gallery repair {name}` removes them, and indexing them \
          again brings them back",
        damaged.len(),
        name = arguments.name
    );
    Ok(ExitCode::FAILURE)
}

pub(super) async fn repair(arguments: RepairArguments) -> anyhow::Result<ExitCode> {
    let (examined, damaged) = go_through(&arguments.server, &arguments.name, true).await?;
    damaged.iter().for_each(tell);
    let removed = damaged.iter().filter(|image| image.removed).count();
    say!("gallery {}: {examined} images, {removed} damaged ones removed", arguments.name);
    let left = damaged.len() - removed;
    if left == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    say!(
        "{left} could not be removed: the file itself is damaged. Copy the gallery to a new store (descry gallery copy), or \
          restore the file"
    );
    Ok(ExitCode::FAILURE)
}

/// Checks page after page. Returns how many images there are, and the damaged ones.
async fn go_through(server: &Server, name: &str, repair: bool) -> anyhow::Result<(u64, Vec<DamagedImage>)> {
    let connection = server.connect().await?;
    let mut check = connection.check(name, repair);
    let (mut examined, mut damaged) = (0, Vec::new());
    while let Some(page) = check.next().await? {
        examined += page.examined;
        damaged.extend(page.damaged);
    }
    Ok((examined, damaged))
}

fn tell(image: &DamagedImage) {
    let image_id = if image.image_id.is_empty() { "(no id)" } else { &image.image_id };
    // The tab is ours; what is in the store may be anything.
    say_lines!("{}\t{}", Printable(image_id), Printable(&image.reason));
}
