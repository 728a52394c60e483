//! Requests that are no requests, byte by byte: each is refused with the name of its field, before it takes memory, and the
//! services go on.

use crate::services::{demo_images, index, text_search};
use descry_proto::search::v1::{Retention, SearchRequest, SetRetentionRequest};
use descry_tests::TestStack;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// Sends bytes as they are.
#[derive(Default)]
pub(crate) struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        bytes::Buf::advance(buffer, bytes::Buf::remaining(buffer));
        Ok(Some(()))
    }
}

pub(crate) async fn send(channel: &Channel, path: &'static str, bytes: Vec<u8>) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    client.unary(Request::new(bytes), path.parse().unwrap(), Bytes).await.map(|_| ())
}

pub(crate) fn delimited(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut bytes);
    encode_varint(content.len() as u64, &mut bytes);
    [&bytes[..], content].concat()
}

const SEARCH: &str = "/descry.search.v1.SearchService/Search";

#[tokio::test]
async fn each_is_refused_by_the_name_of_its_field() {
    let stack = TestStack::start().await;
    let mut client = stack.search().await;
    index(&mut client, "lobby", demo_images(2)).await;
    let search = Channel::from_shared(stack.search_url.clone()).unwrap().connect_lazy();
    let encoder = Channel::from_shared(stack.encoder_url.clone()).unwrap().connect_lazy();
    let valid = text_search("lobby", "a man", 2).encode_to_vec();
    send(&search, SEARCH, valid.clone()).await.unwrap();
    let and = |more: Vec<u8>| [valid.clone(), more].concat();
    let empties = [9 << 3 | 2, 0].repeat(1_000_000);
    let cases = [
        (and(delimited(5, &empties)), "filter.all: more than 1024 items"),
        (and(delimited(6, &[])).repeat(300), "given more than once"),
        (delimited(6, &[]).repeat(300), "parts: more than 256 items"),
        (and(vec![7 << 3, 9]), "fusion: 9 is none of the values that this release knows"),
        (delimited(2, &[b'a'; 2 << 20]), "text: 2097152 bytes are over the limit of 1048576 bytes"),
        (delimited(2, &[0xFF, 0xFE]), "SearchRequest.query: invalid string value"),
        (and(vec![4 << 3 | 2, 1, 0]), "limit: is of another kind on the wire"),
        (and(vec![5 << 3 | 2, 200, 1]), "filter: the message ends too early"),
        (vec![0xFF; 30], "message: a number has more than 64 bits"),
    ];
    for (bytes, expected) in cases {
        let status = send(&search, SEARCH, bytes).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains(expected), "{expected:?} is not in: {status}");
    }
    let status =
        send(&encoder, "/descry.encoder.v1.EncoderService/EncodeText", [delimited(1, b"a"), vec![2 << 3, 99]].concat());
    let status = status.await.unwrap_err();
    assert!(status.code() == Code::InvalidArgument && status.message().starts_with("priority: 99"), "{status}");
    assert_eq!(client.search(text_search("lobby", "a man", 2)).await.unwrap().into_inner().hits.len(), 2);
    stack.stop().await;
}

#[tokio::test]
async fn a_method_takes_what_its_requests_can_be_worth() {
    let stack = TestStack::start().await;
    let search = Channel::from_shared(stack.search_url.clone()).unwrap().connect_lazy();
    let large = delimited(15, &vec![0; 5 << 20]);
    for method in ["DeleteImages", "UpdateImages", "SetRetention", "Calibrate", "ListImages", "CreateGallery"] {
        let path: &'static str = format!("/descry.search.v1.SearchService/{method}").leak();
        let status = send(&search, path, large.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange, "{method}: {status}");
        assert!(status.message().contains("limit of 4194304 bytes"), "{status}");
    }
    // Where files or embeddings travel there is room for them: it is the missing gallery that is refused.
    for method in ["Search", "SearchBatch", "Refine", "IndexEmbeddings", "CreateWatch"] {
        let path: &'static str = format!("/descry.search.v1.SearchService/{method}").leak();
        let result = send(&search, path, large.clone()).await;
        assert!(!matches!(&result, Err(status) if status.code() == Code::OutOfRange), "{method}: {result:?}");
    }
    stack.stop().await;
}

#[tokio::test]
async fn retention_is_as_long_as_everybody_can_read_it() {
    let stack = TestStack::start().await;
    let mut client = stack.search().await;
    index(&mut client, "lobby", demo_images(1)).await;
    let retention = |cameras: usize, bytes: usize| {
        let camera_ms = (0..cameras).map(|number| (format!("{number:0bytes$}"), 1_000)).collect();
        let retention = Some(Retention { camera_ms, ..Retention::default() });
        SetRetentionRequest { gallery: "lobby".to_owned(), retention, validate_only: false }
    };
    client.set_retention(retention(1000, 8)).await.unwrap();
    for refused in [retention(1001, 8), retention(1, 513), retention(10_001, 8)] {
        let status = client.set_retention(refused).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains("retention.camera_ms"), "{status}");
    }
    let unsaid = SearchRequest { gallery: "lobby".to_owned(), ..SearchRequest::default() };
    assert!(client.search(unsaid).await.unwrap_err().message().contains("query"));
    stack.stop().await;
}
