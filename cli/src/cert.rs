//! `descry cert`

use crate::output::say_lines;
use crate::shell;
use clap::Subcommand;
use descry_issuing::{Files, Subject, Validity, issue_in, make_authority_in};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::ExitCode;

/// Make certificates for TLS: a CA of your own, and what it signs.
///
/// For a trial, or where there is no other CA. Keys are readable by you alone, and nothing is ever written over.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry cert ca certs
  descry cert server certs --name search.example --address 10.0.0.7
  descry cert client certs --name alice")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a CA: ca.pem for everybody, ca.key for whoever signs.
    ///
    /// Whoever has ca.key can be anybody, so keep it away from the machines that serve.
    #[command(after_help = "Examples:\n  descry cert ca certs\n  descry cert ca certs --days 3650")]
    Ca {
        /// Folder for the files; created if needed.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Days until it expires, and with it all that it signed.
        #[arg(long, default_value_t = 3_650, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
    },
    /// Make a server's certificate and key, signed by the CA of the folder.
    ///
    /// It is good for the names and addresses under which clients meet the server, or for this machine (localhost) where none
    /// are given, and is written to a file of the first of these names.
    #[command(after_help = "\
Examples:
  descry cert server certs
  descry cert server certs --name search --name search.example --address 10.0.0.7 --days 90")]
    Server {
        /// The CA's folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// A DNS name of the server; may be given several times.
        #[arg(long = "name", value_name = "NAME")]
        names: Vec<String>,
        /// An IP address of the server; may be given several times.
        #[arg(long = "address", value_name = "IP")]
        addresses: Vec<IpAddr>,
        /// Days until it expires.
        #[arg(long, default_value_t = 365, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
    },
    /// Make a client's certificate and key, signed by the CA of the folder.
    #[command(after_help = "\
Examples:
  descry cert client certs --name alice
  descry cert client certs --name spiffe://example/search --days 30")]
    Client {
        /// The CA's folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Who shows it: a word, or a URI.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Days until it expires.
        #[arg(long, default_value_t = 365, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
    },
}

/// Of a server's files where it is this machine's.
const THIS_MACHINE: &str = "server";

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Ca { folder, days } => {
            let Files { certificate, key } = make_authority_in(&folder, Validity::days(days))?;
            let folder = shell::word(&folder);
            say_lines!(
                "{certificate}: give it to whoever should trust this CA\n{key}: keep it to yourself; it signs\n\nNext:\n  \
                 descry cert server {folder}\n  descry cert client {folder} --name alice",
                certificate = certificate.display(),
                key = key.display(),
            );
        }
        Command::Server { folder, mut names, mut addresses, days } => {
            let first = names.first().cloned().or_else(|| addresses.first().map(ToString::to_string));
            if first.is_none() {
                names = vec!["localhost".to_owned()];
                addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            }
            let stem = first.as_deref().unwrap_or(THIS_MACHINE);
            let subject = Subject::Server { names: names.clone(), addresses: addresses.clone() };
            let Files { certificate, key } = issue_in(&folder, stem, &subject, Validity::days(days))?;
            let all: Vec<String> = names.into_iter().chain(addresses.iter().map(ToString::to_string)).collect();
            say_lines!(
                "{shown}: good for {all}, {days} days\n{private}: its key\n\nNext:\n  descry serve --model BUNDLE \
                 --tls-certificate {certificate} --tls-key {key} --client-ca {ca}\n  (without --client-ca everybody gets in; \
                 clients need --ca {ca})",
                shown = certificate.display(),
                private = key.display(),
                all = all.join(", "),
                certificate = shell::word(&certificate),
                key = shell::word(&key),
                ca = shell::word(&folder.join("ca.pem")),
            );
        }
        Command::Client { folder, name, days } => {
            let subject = Subject::Client { name: name.clone() };
            let Files { certificate, key } = issue_in(&folder, &name, &subject, Validity::days(days))?;
            say_lines!(
                "{shown}: shows that its owner is {name}, {days} days\n{private}: its key\n\nNext:\n  descry search \"a woman \
                 in a red coat\" --server https://localhost:50051 --ca {ca} --certificate {certificate} --key {key}",
                shown = certificate.display(),
                private = key.display(),
                ca = shell::word(&folder.join("ca.pem")),
                certificate = shell::word(&certificate),
                key = shell::word(&key),
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
