//! A service as a process of its own: what stands in its `main`, apart from its arguments. How it begins, which signals
//! end it, how another process asks for its health, and how it says why it failed.

use crate::ServerConfig;
use crate::config::ConfigError;
use crate::outgoing::channel_to;
use crate::signals::Signals;
use crate::telemetry::{self, LogConfig, SpanExport, TelemetryConfig};
use crate::watchdog;
use descry_trust::tls::{Address, ClientTls, explain_refusal};
use std::error::Error;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// The exit code for unusable settings, as in sysexits.h.
const EXIT_CONFIG: u8 = 64;
/// A health check that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(3);
/// Time for blocking work that nobody waits for any more; a part of what a shutdown may take behind the drain.
const LEFT_BEHIND: Duration = Duration::from_secs(1);

/// Resolves when the service is to stop.
pub type Shutdown = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a service's process needs before it serves.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program's name, as its messages and its exported spans call it.
    pub name: &'static str,
    /// Its log.
    pub log: LogConfig,
    /// Its spans.
    pub telemetry: TelemetryConfig,
    /// After how long it has ended when it was asked to stop, whatever hangs.
    pub longest_shutdown: Duration,
}

impl Program {
    /// Runs `serve` until it ends by itself or by a signal, and says on standard error why it failed, if it did.
    pub fn run<Failure, Serving>(self, serve: impl FnOnce(Shutdown) -> Serving) -> ExitCode
    where
        Failure: Error + Send + Sync + 'static,
        Serving: Future<Output = Result<(), Failure>>,
    {
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(self.name, &format!("cannot start: {error}"), ExitCode::FAILURE),
        };
        let served = runtime.block_on(self.served(serve));
        // What still runs on threads for blocking work may finish, but not keep the process for ever.
        runtime.shutdown_timeout(LEFT_BEHIND);
        match served {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => fail(self.name, &message, ExitCode::FAILURE),
        }
    }

    async fn served<Failure, Serving>(&self, serve: impl FnOnce(Shutdown) -> Serving) -> Result<(), String>
    where
        Failure: Error + Send + Sync + 'static,
        Serving: Future<Output = Result<(), Failure>>,
    {
        let export = SpanExport::open(&self.telemetry, self.name)?;
        telemetry::install_with(&self.log, export.as_ref().map(|export| export.tracer.clone()))?;
        let shutdown = shutdown_signal_within(self.longest_shutdown)
            .map_err(|error| format!("cannot listen for signals: {error}"))?;
        let served = serve(Box::pin(shutdown)).await;
        if let Some(export) = export {
            // Whether the last spans got through changes nothing about how the service ended.
            let _ = tokio::task::spawn_blocking(move || export.finish()).await;
        }
        served.map_err(|error| explain(&error))
    }
}

/// Resolves at the first SIGINT or SIGTERM, or at SIGHUP, which a terminal sends that is closed. Handlers are in place when
/// this returns, so no signal is missed. A second signal ends the process at once, whatever is still being drained.
///
/// # Errors
/// When the system refuses a handler.
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send> {
    first_signal(|| {})
}

/// As [`shutdown_signal`]; `limit` after the signal the process ends with [`EXIT_HANGING`](crate::EXIT_HANGING), if it has
/// not ended by then.
///
/// # Errors
/// When the system refuses a handler.
pub fn shutdown_signal_within(limit: Duration) -> io::Result<impl Future<Output = ()> + Send> {
    first_signal(move || watchdog::end_within(limit))
}

/// Listens on a thread of its own: a program whose other threads are all busy is stopped, too.
fn first_signal(at_first: impl FnOnce() + Send + 'static) -> io::Result<impl Future<Output = ()> + Send> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _entered = runtime.enter();
        Signals::listen()?
    };
    let (first, received) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(signals.obey(|| {
            at_first();
            // Nobody waits for the first signal any more when the program is ending anyway.
            let _ = first.send(());
        }));
    })?;
    Ok(async move {
        let _ = received.await;
    })
}

/// What a health check shows to a service that lets nobody in without a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownCertificate {
    /// The certificate, in a PEM file.
    pub certificate: PathBuf,
    /// Its private key, in a PEM file.
    pub key: PathBuf,
}

/// Asks the service of the same settings in another process whether it is ready: what a container's health check calls. Where
/// the service asks for a certificate and none is given, it is shown its own.
pub fn check_health(name: &str, server: &ServerConfig, service: &str, shown: Option<ShownCertificate>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(name, &format!("cannot start: {error}"), ExitCode::FAILURE),
    };
    match runtime.block_on(probe(server, service, shown)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(name, &message, ExitCode::FAILURE),
    }
}

/// Asks the service of these settings whether it is ready.
///
/// # Errors
/// Says what it answered, or why it did not.
pub(crate) async fn probe(server: &ServerConfig, service: &str, shown: Option<ShownCertificate>) -> Result<(), String> {
    let failed = |reason: String| format!("{service} at {}: {reason}", server.listen);
    let scheme = if server.tls.is_on() { "https" } else { "http" };
    let address = Address::parse(&format!("{scheme}://{}", reachable(&server.listen)));
    let address = address.map_err(|error| failed(error.to_string()))?;
    let tls = match shown {
        Some(shown) => Some(ClientTls::of_probe(&shown.certificate, &shown.key)),
        None => server.tls.is_on().then(|| ClientTls::of_probe(&server.tls.certificate, &server.tls.key)),
    };
    let tls = tls.transpose().map_err(|error| failed(error.to_string()))?;
    let channel =
        channel_to(&address, None, tls.as_ref(), |endpoint| endpoint.connect_timeout(PATIENCE).timeout(PATIENCE));
    let channel = channel.map_err(|error| failed(error.to_string()))?;
    let request = Request::new(HealthCheckRequest { service: service.to_owned() });
    let answer = HealthClient::new(channel).check(request).await;
    let reason = |status: Status| {
        let refusal = tls.as_ref().and_then(|tls| explain_refusal(&status, tls.hints()));
        refusal.unwrap_or_else(|| status.source().map_or_else(|| status.message().to_owned(), explain))
    };
    let status = answer.map_err(|status| failed(reason(status)))?.into_inner().status();
    match status {
        ServingStatus::Serving => Ok(()),
        ServingStatus::Unknown | ServingStatus::NotServing | ServingStatus::ServiceUnknown => {
            Err(failed(format!("is {}", status.as_str_name())))
        }
    }
}

/// Who listens on every address is asked on this machine's own.
fn reachable(listen: &str) -> String {
    match listen.rsplit_once(':') {
        Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => listen.to_owned(),
    }
}

/// Says which setting is unusable.
pub fn refuse(name: &str, error: &ConfigError) -> ExitCode {
    fail(name, &explain(error), ExitCode::from(EXIT_CONFIG))
}

#[expect(clippy::print_stderr, reason = "the log may not be installed yet")]
fn fail(name: &str, message: &str, code: ExitCode) -> ExitCode {
    eprintln!("{name}: {message}");
    code
}

/// The error and its causes, joined with colons. Many messages end with their cause already; those say it once.
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = error.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServerError;
    use crate::server::settings_of_tests as settings;

    #[test]
    fn a_cause_is_said_once() {
        let source = std::io::Error::other("the cable is cut");
        let error = ServerError::Listen { address: "localhost:1".to_owned(), source };
        assert_eq!(explain(&error), "cannot listen on localhost:1: the cable is cut");
    }

    #[test]
    fn every_address_means_this_machine() {
        assert_eq!(reachable("0.0.0.0:50051"), "127.0.0.1:50051");
        assert_eq!(reachable("[::]:50051"), "[::1]:50051");
        assert_eq!(reachable("localhost:50051"), "localhost:50051");
    }

    #[tokio::test]
    async fn who_does_not_answer_is_named() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = closed.local_addr().unwrap().to_string();
        drop(closed);
        let server = ServerConfig { listen: listen.clone(), ..settings() };
        let error = probe(&server, "some.Service", None).await.unwrap_err();
        assert!(error.contains("some.Service") && error.contains(&listen), "{error}");
    }
}
