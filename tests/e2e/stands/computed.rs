//! A model whose embeddings a test computes itself, served as a real one is: any bytes are an image to it.

use super::random::Random;
use descry_model::Fingerprint;
use descry_proto::encoder::v1 as proto;
use descry_proto::encoder::v1::encode_result::Outcome;
use descry_proto::encoder::v1::encoder_service_server::{EncoderService, EncoderServiceServer};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

pub(crate) const DIMENSION: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ComputedModel {
    pub(crate) fingerprint: String,
}

impl ComputedModel {
    pub(crate) fn named(name: &str) -> Self {
        Self { fingerprint: Fingerprint::of_parts([("computed", name.as_bytes())]).to_string() }
    }

    /// The embedding of an image file or a text.
    pub(crate) fn embedding(&self, input: &[u8]) -> Vec<f32> {
        // FNV-1a.
        let bytes = self.fingerprint.as_bytes().iter().chain(input);
        let seed = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        Random::new(seed).direction(DIMENSION)
    }

    /// Serves the model until the test is over. Returns its address.
    pub(crate) async fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::builder().add_service(EncoderServiceServer::new(self));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        url
    }

    fn results<Input: AsRef<[u8]>>(&self, inputs: &[Input]) -> Vec<proto::EncodeResult> {
        let result = |input: &Input| {
            let embedding = proto::Embedding { values: self.embedding(input.as_ref()) };
            proto::EncodeResult { outcome: Some(Outcome::Embedding(embedding)), ..Default::default() }
        };
        inputs.iter().map(result).collect()
    }
}

/// Cosine of two vectors of length one.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

type Answer<Reply> = Result<Response<Reply>, Status>;

#[tonic::async_trait]
impl EncoderService for ComputedModel {
    type EncodeTextStreamStream = tokio_stream::Pending<Result<proto::EncodeStreamResponse, Status>>;
    type EncodeImageStreamStream = tokio_stream::Pending<Result<proto::EncodeStreamResponse, Status>>;

    async fn encode_text(&self, request: Request<proto::EncodeTextRequest>) -> Answer<proto::EncodeTextResponse> {
        let results = self.results(&request.into_inner().texts);
        let fingerprint = self.fingerprint.clone();
        Ok(Response::new(proto::EncodeTextResponse { fingerprint, results, timings: None }))
    }

    async fn encode_image(&self, request: Request<proto::EncodeImageRequest>) -> Answer<proto::EncodeImageResponse> {
        let results = self.results(&request.into_inner().images);
        let fingerprint = self.fingerprint.clone();
        Ok(Response::new(proto::EncodeImageResponse { fingerprint, results, timings: None }))
    }

    async fn encode_text_stream(
        &self,
        _: Request<tonic::Streaming<proto::EncodeTextStreamRequest>>,
    ) -> Answer<Self::EncodeTextStreamStream> {
        Err(Status::unimplemented(""))
    }

    async fn encode_image_stream(
        &self,
        _: Request<tonic::Streaming<proto::EncodeImageStreamRequest>>,
    ) -> Answer<Self::EncodeImageStreamStream> {
        Err(Status::unimplemented(""))
    }

    async fn get_model(&self, _: Request<proto::GetModelRequest>) -> Answer<proto::GetModelResponse> {
        let (fingerprint, embedding_dimension) = (self.fingerprint.clone(), DIMENSION as u32);
        Ok(Response::new(proto::GetModelResponse { fingerprint, embedding_dimension, ..Default::default() }))
    }
}
