//! Images that cost much in few bytes: who sends them waits, and others do not.

use crate::services::demo_images;
use descry_proto::encoder::v1::EncodeImageRequest;
use descry_proto::encoder::v1::encoder_service_client::EncoderServiceClient;
use descry_tests::TestStack;
use std::pin::pin;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// A bitmap of run lengths that ends at once: as many pixels as its header says, in seventy bytes.
fn bitmap(width: u32, height: u32) -> Vec<u8> {
    let mut file = b"BM\x40\0\0\0\0\0\0\0\x3e\0\0\0".to_vec();
    for field in [40, width, height, 8 << 16 | 1, 1, 2, 0, 0, 2, 0, 0, 0] {
        file.extend(field.to_le_bytes());
    }
    file.extend([0, 1]);
    file
}

type Client = EncoderServiceClient<Channel>;

async fn encode(mut client: Client, images: Vec<Vec<u8>>) -> Result<usize, Status> {
    let images = images.into_iter().map(Into::into).collect();
    let answer = client.encode_image(EncodeImageRequest { images, ..Default::default() }).await?;
    Ok(answer.into_inner().results.len())
}

#[tokio::test]
async fn a_list_that_would_cost_minutes_is_refused_with_its_cost() {
    let stack = TestStack::start().await;
    let refused = encode(stack.encoder().await, vec![bitmap(10_000, 5_000); 256]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("max_queued_megapixels"), "{refused}");
    stack.stop().await;
}

/// Both go over one connection, in this order.
#[tokio::test]
async fn anothers_image_is_answered_before_a_list_of_large_ones() {
    let stack = TestStack::start().await;
    let client = stack.encoder().await;
    let mut list = pin!(encode(client.clone(), vec![bitmap(2_000, 1_000); 16]));
    let small = encode(client, vec![demo_images(1)[0].content.to_vec()]);
    tokio::select! {
        biased;
        answered = &mut list => panic!("sixteen large images came before one small one: {answered:?}"),
        answered = small => assert_eq!(answered.unwrap(), 1),
    }
    assert_eq!(list.await.unwrap(), 16);
    stack.stop().await;
}

/// Whoever waits is cut off after the drain, and what nobody waits for is not decoded to its end.
#[tokio::test]
async fn a_service_ends_while_it_decodes() {
    let stack = TestStack::start_with(|encoder, _| encoder.server.drain_ms = 50).await;
    let client = stack.encoder().await;
    let list = tokio::spawn(encode(client.clone(), vec![bitmap(10_000, 1_000); 32]));
    tokio::task::yield_now().await;
    encode(client, vec![demo_images(1)[0].content.to_vec()]).await.unwrap();
    stack.stop().await;
    let cut_off = list.await.unwrap().unwrap_err();
    assert_ne!(cut_off.code(), Code::InvalidArgument, "{cut_off}");
}
