//! Asking a service whether it is ready, for health checks where no other client is installed.

use std::time::Duration;
use tonic::Request;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// A health check that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks the service that listens on `listen`, a setting of its own, whether it is ready.
///
/// # Errors
/// Says what it answered, or why it did not.
pub(crate) async fn probe(listen: &str, service: &str) -> Result<(), String> {
    let failed = |reason: String| format!("{service} at {listen}: {reason}");
    let url = format!("http://{}", reachable(listen));
    let endpoint = Endpoint::from_shared(url).map_err(|error| failed(error.to_string()))?;
    let channel = endpoint.connect_timeout(PATIENCE).timeout(PATIENCE).connect().await;
    let channel = channel.map_err(|error| failed(crate::explain(&error)))?;
    let request = Request::new(HealthCheckRequest { service: service.to_owned() });
    let answer = HealthClient::new(channel).check(request).await;
    let status = answer.map_err(|status| failed(status.message().to_owned()))?.into_inner().status();
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

#[cfg(test)]
mod tests {
    use super::*;

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
        let error = probe(&listen, "some.Service").await.unwrap_err();
        assert!(error.contains("some.Service") && error.contains(&listen), "{error}");
    }
}
