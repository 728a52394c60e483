//! The page that Prometheus reads: what is measured, and what the system says of this process.

use descry_trust::tls::{Accepted, ServerTls};
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// More readers than any monitoring has.
const MAX_CONNECTIONS: usize = 16;
/// From a connection's beginning to its end: it is for one page.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
/// Request line and headers.
const MAX_HEAD_BYTES: usize = 8 << 10;
/// How often measured values move to their buckets. Without it they would pile up while nobody reads.
const UPKEEP: Duration = Duration::from_secs(5);
/// After a failure to accept, which is most often a lack of file descriptors that does not pass at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Linux counts times of processes in hundredths of a second, whatever its clock.
const TICKS_PER_SECOND: f64 = 100.0;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves `GET /metrics` and nothing else, for ever.
pub(crate) async fn serve(listener: TcpListener, recorder: PrometheusHandle, tls: Option<Arc<ServerTls>>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut upkeep = tokio::time::interval(UPKEEP);
    let keeping_fresh = async {
        match &tls {
            Some(tls) => tls.keep_fresh().await,
            None => std::future::pending().await,
        }
    };
    let mut keeping_fresh = pin!(keeping_fresh);
    loop {
        tokio::select! {
            _ = upkeep.tick() => recorder.run_upkeep(),
            () = &mut keeping_fresh => {}
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match (accepted, Arc::clone(&slots).try_acquire_owned()) {
                (Ok((stream, _)), Ok(slot)) => {
                    let (recorder, tls) = (recorder.clone(), tls.clone());
                    connections.spawn(async move {
                        let _slot = slot;
                        if tokio::time::timeout(CONNECTION_LIMIT, answer(stream, recorder, tls)).await.is_err() {
                            tracing::debug!("a reader of /metrics took too long");
                        }
                    });
                }
                // Closed at once.
                (Ok(_), Err(_)) => {}
                (Err(error), _) => {
                    tracing::warn!(%error, "cannot accept a connection for /metrics");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
}

async fn answer(stream: TcpStream, recorder: PrometheusHandle, tls: Option<Arc<ServerTls>>) {
    let Some(tls) = tls else { return answer_over(stream, recorder).await };
    match tls.accept(stream).await {
        Ok(Accepted { stream, .. }) => answer_over(stream, recorder).await,
        Err(error) => {
            metrics::counter!("descry_tls_handshakes_failed_total").increment(1);
            tracing::debug!(%error, "a reader of /metrics was not let in");
        }
    }
}

async fn answer_over<Stream>(stream: Stream, recorder: PrometheusHandle)
where
    Stream: AsyncRead + AsyncWrite + Unpin,
{
    let page = service_fn(move |request: Request<Incoming>| {
        let response = page(&request, &recorder);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_LIMIT)
        .max_buf_size(MAX_HEAD_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), page);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a reader of /metrics was not understood");
    }
}

fn page(request: &Request<Incoming>, recorder: &PrometheusHandle) -> Response<String> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            let mut text = recorder.render();
            write_process_status(&mut text);
            (StatusCode::OK, CONTENT_TYPE, text)
        }
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET is answered\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "there is only /metrics\n".to_owned()),
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// Appends the process's memory, processor time and version, in Prometheus' text format. What the system does not say is
/// left out.
fn write_process_status(page: &mut String) {
    if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes) {
        metric(page, "process_resident_memory_bytes", "gauge", "Memory in use", "", bytes);
    }
    if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_seconds) {
        metric(page, "process_cpu_seconds_total", "counter", "Processor time used", "", seconds);
    }
    let version = concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    metric(page, "descry_build_info", "gauge", "The running version", version, 1);
}

fn metric(page: &mut String, name: &str, kind: &str, help: &str, labels: &str, value: impl std::fmt::Display) {
    // Writing to a string does not fail.
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{labels} {value}");
}

/// From `/proc/self/status`, the only place that says it in bytes and not in pages.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// From `/proc/self/stat`: the fields `utime` and `stime`.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the program's name, which may hold spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    Some(user.checked_add(system)? as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::prometheus::PrometheusConfig;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// What the page answers, with its head.
    pub(crate) async fn page(address: SocketAddr, request_line: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{request_line} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes()).await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        page
    }

    #[tokio::test]
    async fn the_page_is_all_there_is() {
        let config = PrometheusConfig { listen: "127.0.0.1:0".to_owned(), ..PrometheusConfig::default() };
        let first = config.open().await.unwrap().unwrap();
        // Two services in a process: both pages show what both measure.
        let second = config.open().await.unwrap().unwrap();
        metrics::counter!("descry_test_pages_total").increment(3);
        metrics::histogram!("descry_test_tokens").record(50.0);
        for page_of in [&first, &second] {
            let text = page(page_of.address(), "GET /metrics").await;
            assert!(text.starts_with("HTTP/1.1 200"), "{text}");
            for line in [
                "descry_test_pages_total 3",
                "descry_test_tokens_bucket{le=\"48\"} 0",
                "descry_test_tokens_bucket{le=\"64\"} 1",
                "descry_build_info{version=",
                "process_resident_memory_bytes ",
                "process_cpu_seconds_total ",
            ] {
                assert!(text.lines().any(|found| found.starts_with(line)), "{line} in {text}");
            }
        }
        assert!(page(first.address(), "POST /metrics").await.starts_with("HTTP/1.1 405"));
        assert!(page(first.address(), "GET /").await.starts_with("HTTP/1.1 404"));
        let long = page(first.address(), &format!("GET /{}", "x".repeat(20_000))).await;
        assert!(!long.starts_with("HTTP/1.1 200"), "{long}");

        let taken = PrometheusConfig { listen: first.address().to_string(), ..PrometheusConfig::default() }
            .open()
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(taken.contains("metrics.listen") && taken.contains("choose another address"), "{taken}");
        assert!(PrometheusConfig::default().open().await.unwrap().is_none());
    }

    #[test]
    fn the_systems_words_are_understood() {
        assert_eq!(resident_bytes("Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t  2048 kB\n"), Some(2 << 20));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 8 0 12345 1000 200";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("7 (a) S 1"), None);
    }
}
