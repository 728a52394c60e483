//! `descry demo`

use crate::contact_sheet::{Pictures, Row, SheetFile};
use crate::job_display::JobDisplay;
use crate::output::{say, say_lines};
use crate::shell;
use crate::verified_export::export_verified;
use anyhow::Context as _;
use clap::ValueEnum;
use descry_client::{Connection, IndexJob};
use descry_encoder::EncoderConfig;
use descry_export::{ExportRequest, ModelFlags, ModelSource, TowerForm};
use descry_proto::search::v1::SearchRequest;
use descry_proto::search::v1::search_request::Query;
use descry_search::SearchConfig;
use descry_standalone::Stack;
use descry_terminal::new_file;
use descry_trust::tls::ServerTlsSettings;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

/// Show the whole chain on the bundled gallery.
///
/// Exports a bundled checkpoint, starts both services, indexes the gallery and answers three descriptions over gRPC.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  descry demo --method up-person")]
pub(crate) struct Arguments {
    /// The bundled checkpoint to use.
    #[arg(long, value_enum, default_value = "up-person")]
    method: Method,
    /// Folder with the bundled gallery and checkpoints.
    #[arg(long, default_value = "demo", value_name = "DIR")]
    demo: PathBuf,
    /// Folder for the bundle, the galleries and the contact sheet.
    #[arg(long, default_value = "descry-demo", value_name = "DIR")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Method {
    DmAdapter,
    UpPerson,
}

impl Method {
    fn checkpoint(self) -> &'static str {
        match self {
            Self::DmAdapter => "dm_adapter.safetensors",
            Self::UpPerson => "up_person.safetensors",
        }
    }

    fn bundle(self) -> &'static str {
        match self {
            Self::DmAdapter => "bundle-dm-adapter",
            Self::UpPerson => "bundle-up-person",
        }
    }

    /// Galleries of different models cannot share a name.
    fn gallery(self) -> &'static str {
        match self {
            Self::DmAdapter => "demo-dm-adapter",
            Self::UpPerson => "demo-up-person",
        }
    }
}

/// None of these sentences stands in the gallery's metadata; the images alone answer them.
const DESCRIPTIONS: [&str; 3] = [
    "a man in a white long coat and green trousers with a blue backpack",
    "a woman in a red long coat holding a black umbrella",
    "a man in a yellow long coat and black trousers with a blue bag",
];
const HITS: u32 = 8;

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { method, demo, out } = arguments;
    new_file::check_folder(&out)?;
    if !out.is_dir() {
        std::fs::create_dir(&out).with_context(|| format!("cannot create {}", out.display()))?;
    }
    let bundle = out.join(method.bundle());
    say!("1. exporting {} to {}", demo.join(method.checkpoint()).display(), bundle.display());
    let request = ExportRequest {
        source: ModelSource::Checkpoint { path: demo.join(method.checkpoint()), config: None, base: None },
        without_tokenizer: false,
        tokenizer: None,
        flags: ModelFlags::default(),
        form: TowerForm::FP32,
        out: bundle.clone(),
    };
    let manifest = export_verified(request, None).await?;
    say!("   {}, model {}", manifest.family, manifest.fingerprint.chars().take(12).collect::<String>());

    let mut encoder_config = EncoderConfig::load(None)?;
    encoder_config.model.clone_from(&bundle);
    let mut search_config = SearchConfig::load(None)?;
    search_config.embedded.path = out.join("galleries.sqlite3");
    // Nobody else meets it.
    search_config.server.tls = ServerTlsSettings::default();
    let stack = Stack::open(encoder_config, search_config, "127.0.0.1:0").await?;
    let url = format!("http://{}", stack.address()?);
    say!("2. serving on {}", stack.address()?);
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(stack.serve(shutdown.clone().cancelled_owned()));
    let shown = show(&url, method.gallery(), &demo, &out).await;
    shutdown.cancel();
    server.await.context("serving")??;
    shown?;
    say_lines!(
        "
Next:
  descry serve --model {bundle} --data {out}
  descry search \"a woman in a purple skirt\" --gallery {gallery} --sheet hits.html
  descry index YOUR_FOLDER --gallery yours   then   descry search --gallery yours \"...\"
  descry demo --method dm-adapter
(`descry` is target/release/descry)",
        bundle = shell::word(&bundle),
        out = shell::word(&out),
        gallery = method.gallery(),
    );
    Ok(ExitCode::SUCCESS)
}

async fn show(url: &str, gallery: &str, demo: &Path, out: &Path) -> anyhow::Result<()> {
    let connection = Connection::to(url).await?;
    let images = IndexJob {
        gallery: gallery.to_owned(),
        inputs: vec![demo.join("gallery/imgs")],
        metadata: Some(demo.join("gallery.csv")),
        ..IndexJob::default()
    };
    let report = connection.index_observed(images, &mut JobDisplay::new(false)).await?;
    say!(
        "3. gallery {gallery}: {} images indexed, {} unchanged, {} failed",
        report.indexed,
        report.unchanged,
        report.failed
    );
    say!("4. searching");
    let mut rows = Vec::new();
    for description in DESCRIPTIONS {
        let request = SearchRequest {
            gallery: gallery.to_owned(),
            query: Some(Query::Text(description.to_owned())),
            limit: HITS,
            ..SearchRequest::default()
        };
        let reply = connection.search(request).await?;
        say!("   {description}");
        for hit in reply.hits.iter().take(3) {
            say!("     {:.4}  {}", hit.score, hit.image_id);
        }
        // The gallery is made with the settings that nothing was said about: pixels as they are stored.
        rows.push(Row::of(description.to_owned(), &reply, 0, &Pictures::from(None, false)?)?);
    }
    let sheet = SheetFile::at(&out.join("results.png"))?;
    sheet.write(&rows)?;
    say!("5. contact sheet: {}", sheet.path().display());
    Ok(())
}
