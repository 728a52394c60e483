//! A service as a process of its own: what stands in its `main`, apart from its arguments.

use crate::TelemetryConfig;
use crate::config::ConfigError;
use crate::explain;
use crate::health_probe;
use crate::otlp::SpanExport;
use crate::shutdown::shutdown_signal;
use crate::telemetry::{self, LogConfig};
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

/// The exit code for unusable settings, as in sysexits.h.
const EXIT_CONFIG: u8 = 64;

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
        match runtime.block_on(self.served(serve)) {
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
        let shutdown = shutdown_signal().map_err(|error| format!("cannot listen for signals: {error}"))?;
        let served = serve(Box::pin(shutdown)).await;
        if let Some(export) = export {
            // Whether the last spans got through changes nothing about how the service ended.
            let _ = tokio::task::spawn_blocking(move || export.finish()).await;
        }
        served.map_err(|error| explain(&error))
    }
}

/// Asks the service of the same settings in another process whether it is ready: what a container's health check calls.
pub fn check_health(name: &str, listen: &str, service: &str) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(name, &format!("cannot start: {error}"), ExitCode::FAILURE),
    };
    match runtime.block_on(health_probe::probe(listen, service)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(name, &message, ExitCode::FAILURE),
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
