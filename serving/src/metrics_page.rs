//! The page that Prometheus reads.

use crate::process_status;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
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

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves `GET /metrics` and nothing else, for ever.
pub(crate) async fn serve(listener: TcpListener, recorder: PrometheusHandle) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut upkeep = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            _ = upkeep.tick() => recorder.run_upkeep(),
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match (accepted, Arc::clone(&places).try_acquire_owned()) {
                (Ok((stream, _)), Ok(place)) => {
                    let recorder = recorder.clone();
                    connections.spawn(async move {
                        let _place = place;
                        answer(stream, recorder).await;
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

async fn answer(stream: TcpStream, recorder: PrometheusHandle) {
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
    match tokio::time::timeout(CONNECTION_LIMIT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a reader of /metrics was not understood"),
        Err(_) => tracing::debug!("a reader of /metrics took too long"),
    }
}

fn page(request: &Request<Incoming>, recorder: &PrometheusHandle) -> Response<String> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            let mut text = recorder.render();
            process_status::write(&mut text);
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

#[cfg(test)]
pub(crate) mod tests {
    use crate::metrics::MetricsConfig;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

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
        let config = MetricsConfig { listen: "127.0.0.1:0".to_owned() };
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

        let taken = MetricsConfig { listen: first.address().to_string() }.open().await.err().unwrap().to_string();
        assert!(taken.contains("metrics.listen") && taken.contains("choose another address"), "{taken}");
        assert!(MetricsConfig::default().open().await.unwrap().is_none());
    }
}
