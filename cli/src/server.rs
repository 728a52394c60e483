//! Where the service runs, as every command that needs one takes it.

use crate::credential::Credential;
use anyhow::Context as _;
use descry_client::{ClientError, ClientTlsSettings, Connection, Stated};
use descry_terminal::shell;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// The services, as they answer for their health.
const SEARCH_SERVICE: &str = "descry.search.v1.SearchService";
const ENCODER_SERVICE: &str = "descry.encoder.v1.EncoderService";
/// A service that is asked what it is and says nothing for so long may be busy; the command's own call will tell.
const PATIENCE: Duration = Duration::from_secs(5);
/// Galleries that are named where the one that was asked for is not there.
const SHOWN_GALLERIES: usize = 10;

/// Where the service runs and which gallery is meant.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Name of the gallery.
    #[arg(long, default_value = "default", value_name = "NAME")]
    pub(crate) gallery: String,
}

impl Target {
    /// Connects, or says what to do.
    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        self.server.connect().await
    }

    /// What a refusal means: where the gallery is not there, with those that are.
    pub(crate) async fn explained(&self, connection: &Connection, error: ClientError) -> anyhow::Error {
        if error.code() != Some(Code::NotFound) {
            return error.into();
        }
        // Something else may be missing, such as an image. And what is only advice must not hide the refusal.
        let Ok(galleries) = connection.galleries().await else { return error.into() };
        let names: Vec<&str> = galleries.iter().map(|gallery| gallery.name.as_str()).collect();
        let asked = self.gallery.split_once('.').map_or(self.gallery.as_str(), |(name, _)| name);
        if names.contains(&asked) {
            return error.into();
        }
        anyhow::anyhow!("{}; {}", descry_serving::explain(&error), galleries_there_are(&names))
    }
}

fn galleries_there_are(names: &[&str]) -> String {
    match names {
        [] => "there is no gallery yet, `descry index` makes one".to_owned(),
        [only] => format!("the only gallery is {only:?}: add --gallery {}", shell::word(Path::new(only))),
        _ => {
            let shown = names.iter().take(SHOWN_GALLERIES).copied().collect::<Vec<_>>().join(", ");
            let left_out = names.len().saturating_sub(SHOWN_GALLERIES);
            let more = if left_out > 0 { format!(" and {left_out} more") } else { String::new() };
            format!("there are {shown}{more}: choose with --gallery NAME")
        }
    }
}

/// Where the service runs, for commands that name the gallery themselves.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Server {
    /// Address of a running `descry serve` or search-service.
    #[arg(long, default_value = "http://127.0.0.1:50051", value_name = "URL", value_parser = parse_url)]
    server: String,
    /// The CA of the service's certificate (PEM), where its address begins with https:// [default: those that the system trusts].
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A certificate to show (PEM), where the service asks for one.
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    #[command(flatten)]
    credential: Credential,
    #[command(flatten)]
    stating: Stating,
}

/// Why a command is used, for the audit log of the service.
#[derive(Debug, Clone, Default, clap::Args)]
struct Stating {
    /// Why you ask, for the audit log of the service; some galleries are used only by who says.
    #[arg(long, value_name = "TEXT")]
    purpose: Option<String>,
    /// The number of your case, for the audit log of the service.
    #[arg(long, value_name = "NUMBER")]
    case: Option<String>,
    /// The number of what allows you to ask, such as a judge's order, for the audit log.
    #[arg(long, value_name = "NUMBER")]
    authorization: Option<String>,
    /// The second person who confirmed what was found, for the audit log.
    #[arg(long, value_name = "NAME")]
    verifier: Option<String>,
}

impl Server {
    /// Connects, or says what to do.
    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let is_plain = !self.server.starts_with("https://");
        if is_plain && (self.ca.is_some() || self.certificate.is_some()) {
            let address = self.server.split_once("://").map_or("", |(_, address)| address);
            anyhow::bail!(
                "{} speaks no TLS, so no CA or certificate counts; give --server https://{address}",
                self.server
            );
        }
        let Stating { purpose, case: case_number, authorization, verifier } = self.stating.clone();
        let stated = Stated { purpose, case_number, authorization, verifier };
        self.credential.prove(self.connect_to(&self.server).await?.stating(stated), &self.server)
    }

    /// Refuses to send a token to an address where others can overhear it.
    pub(crate) fn check_way(&self, url: &str) -> anyhow::Result<()> {
        self.credential.check_way(url)
    }

    /// Connects to another service, with the same certificates where it speaks TLS, and without the token.
    pub(crate) async fn connect_to(&self, url: &str) -> anyhow::Result<Connection> {
        let file = |path: &Option<PathBuf>| path.clone().unwrap_or_default();
        let tls = ClientTlsSettings { ca: file(&self.ca), certificate: file(&self.certificate), key: file(&self.key) };
        let connection = Connection::to_with_tls(url, &tls).await?;
        check_service(&connection, url).await?;
        Ok(connection)
    }
}

/// Asks who answers, so that the first call does not fail with a word of gRPC's.
async fn check_service(connection: &Connection, url: &str) -> anyhow::Result<()> {
    let ask = async |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        tokio::time::timeout(PATIENCE, HealthClient::new(connection.channel()).check(request)).await
    };
    let not_let_in = |status: &Status| match Connection::explain_refusal(status) {
        Some(reason) => Err(anyhow::anyhow!("{url}: {reason}")),
        None => Ok(()),
    };
    let Ok(Err(mut status)) = ask(SEARCH_SERVICE).await else { return Ok(()) };
    not_let_in(&status)?;
    if is_broken(&status) {
        // A service that is just restarted breaks a connection too, once; what speaks another protocol does it again. And a
        // connection may be closed so early that only the next one brings the reason.
        let Ok(Err(again)) = ask(SEARCH_SERVICE).await else { return Ok(()) };
        not_let_in(&again)?;
        if is_broken(&again) {
            return Err(again).context(format!(
                "what answers at {url} is no gRPC service: it may be a web page, or a service's metrics; the search \
                 service listens on the address that `descry serve` or search-service names when it starts"
            ));
        }
        status = again;
    }
    if status.code() != Code::NotFound {
        return Ok(());
    }
    let found = if matches!(ask(ENCODER_SERVICE).await, Ok(Ok(_))) { "an encoder service" } else { "another service" };
    anyhow::bail!(
        "{found} answers at {url}; this command needs the search service, which listens on another address: give it with \
         --server URL (`descry serve` runs both at one address, http://127.0.0.1:50051 unless told otherwise)"
    )
}

/// Whether somebody took the connection and broke it. What a service answers has no source, and where nobody listens any
/// more, the command's own call tells.
fn is_broken(status: &Status) -> bool {
    status.code() != Code::Unavailable && std::error::Error::source(status).is_some()
}

/// An address that the client can call.
fn parse_url(text: &str) -> Result<String, String> {
    let example = "give an address such as http://127.0.0.1:50051";
    match text.split_once("://") {
        Some(("http" | "https", rest)) if !rest.is_empty() => Ok(text.to_owned()),
        Some(("grpc", rest)) if !rest.is_empty() => Err(format!("gRPC goes over http: give http://{rest}")),
        Some((scheme, _)) => Err(format!("{scheme}:// is no scheme that Descry speaks: {example}")),
        None if text.is_empty() => Err(example.to_owned()),
        None => Err(format!("the scheme is missing: give http://{text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_that_is_spoken() {
        for url in ["http://127.0.0.1:50051", "https://descry.example"] {
            assert_eq!(parse_url(url).unwrap(), url);
        }
        for (wrong, advice) in [
            ("127.0.0.1:50051", "give http://127.0.0.1:50051"),
            ("grpc://a:1", "give http://a:1"),
            ("ftp://a", "ftp:// is no scheme"),
            ("http://", "such as http://127"),
            ("", "such as http://127"),
        ] {
            let error = parse_url(wrong).unwrap_err();
            assert!(error.contains(advice), "{wrong}: {error}");
        }
    }

    #[test]
    fn the_galleries_there_are_are_named() {
        assert!(galleries_there_are(&["lobby"]).ends_with("add --gallery lobby"));
        let names: Vec<String> = (0..12).map(|number| format!("g{number}")).collect();
        let text = galleries_there_are(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(text.contains("g9 and 2 more") && !text.contains("g10"), "{text}");
        assert!(galleries_there_are(&[]).contains("descry index"));
    }
}
