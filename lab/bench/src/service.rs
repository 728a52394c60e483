//! The service that is measured: one that runs already, or one in this process.

use crate::encoder_calls::{Client, REQUEST_TIMEOUT};
use crate::encoder_report::ModelSummary;
use crate::process_usage::ProcessMeter;
use crate::{BenchError, encoder_calls};
use descry_encoder::{EncodeError, EncoderConfig};
use descry_proto::encoder::v1::GetModelRequest;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A service that answers, and the connections to it.
pub struct ServiceUnderTest {
    name: String,
    clients: Vec<Client>,
    model: ModelSummary,
    meter: Option<ProcessMeter>,
    own: Option<OwnService>,
}

/// The service in this process.
struct OwnService {
    task: JoinHandle<Result<(), EncodeError>>,
    shutdown: CancellationToken,
}

impl ServiceUnderTest {
    /// Connects to a running service. Its CPU time and memory are known when it is process `process_id` of this
    /// machine.
    ///
    /// # Errors
    /// [`BenchError::Address`], [`BenchError::Connect`], [`BenchError::NoModel`], [`BenchError::Process`].
    pub async fn connect(url: &str, connections: usize, process_id: Option<i32>) -> Result<Self, BenchError> {
        let meter = process_id.map(ProcessMeter::open).transpose()?;
        let clients = connect_all(url, connections).await?;
        let model = ask_model(url, &clients, Some(REQUEST_TIMEOUT)).await?;
        Ok(Self { name: url.to_owned(), clients, model, meter, own: None })
    }

    /// Starts the encoder service in this process, on a free port of 127.0.0.1, and connects to it over TCP.
    ///
    /// # Errors
    /// [`BenchError::Encoder`] when the model does not load, and as [`ServiceUnderTest::connect`].
    pub async fn start(config: EncoderConfig, connections: usize) -> Result<Self, BenchError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(BenchError::Listen)?;
        let url = format!("http://{}", listener.local_addr().map_err(BenchError::Listen)?);
        let meter = ProcessMeter::of_this_process()?;
        let shutdown = CancellationToken::new();
        let mut task = tokio::spawn(descry_encoder::serve(listener, config, shutdown.clone().cancelled_owned()));
        let connected = async {
            let clients = connect_all(&url, connections).await?;
            // Loading takes as long as the model is large, so without a deadline.
            let model = ask_model(&url, &clients, None).await?;
            Ok::<_, BenchError>((clients, model))
        };
        let connected = tokio::select! {
            ended = &mut task => return Err(ended?.err().map_or(BenchError::ServiceEnded, BenchError::Encoder)),
            connected = connected => connected,
        };
        let (clients, model) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                // A service that ends takes the connection along; then its own reason is the one to tell.
                shutdown.cancel();
                return Err(task.await?.err().map_or(error, BenchError::Encoder));
            }
        };
        let own = Some(OwnService { task, shutdown });
        Ok(Self { name: "in this process".to_owned(), clients, model, meter: Some(meter), own })
    }

    /// Lets the service in this process end; one that ran already goes on running.
    ///
    /// # Errors
    /// [`BenchError::Encoder`] when it does not end well.
    pub async fn stop(self) -> Result<(), BenchError> {
        drop(self.clients);
        let Some(own) = self.own else { return Ok(()) };
        own.shutdown.cancel();
        Ok(own.task.await??)
    }

    /// Its address, or `in this process`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says of its model.
    pub fn model(&self) -> &ModelSummary {
        &self.model
    }

    pub(crate) fn clients(&self) -> &[Client] {
        &self.clients
    }

    pub(crate) fn meter(&self) -> Option<&ProcessMeter> {
        self.meter.as_ref()
    }

    pub(crate) fn is_in_this_process(&self) -> bool {
        self.own.is_some()
    }
}

async fn connect_all(url: &str, connections: usize) -> Result<Vec<Client>, BenchError> {
    let unusable = || BenchError::Address { url: url.to_owned() };
    if !url.starts_with("http://") {
        return Err(unusable());
    }
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| unusable())?;
    let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true);
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections.max(1) {
        let failed = |source| BenchError::Connect { url: url.to_owned(), source };
        clients.push(client(endpoint.connect().await.map_err(failed)?));
    }
    Ok(clients)
}

fn client(channel: Channel) -> Client {
    // The limits that count are the service's.
    encoder_calls::Client::new(channel).max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX)
}

async fn ask_model(url: &str, clients: &[Client], timeout: Option<Duration>) -> Result<ModelSummary, BenchError> {
    let no_model = |message: &str| BenchError::NoModel { url: url.to_owned(), message: message.to_owned() };
    let mut client = clients.first().cloned().ok_or_else(|| no_model("there is no connection"))?;
    let mut request = Request::new(GetModelRequest {});
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    let model = client.get_model(request).await.map_err(|status| no_model(status.message()))?.into_inner();
    Ok(ModelSummary {
        fingerprint: model.fingerprint,
        family: model.family,
        precision: model.precision,
        execution_provider: model.execution_provider,
        requested_device: model.requested_device,
        device_precision: model.device_precision,
        fallback_reason: model.fallback_reason,
    })
}
