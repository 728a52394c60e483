//! What fills galleries until its service is gone.

use super::stand::assert_gone;
use crate::stands::Client;
use crate::stands::computed::ComputedModel;
use crate::stands::ledger::{SharedLedger, encoded_image, image};
use crate::stands::random::Random;
use descry_proto::search::v1::index_images_request::{Message, Start};
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::{IndexEmbeddingsRequest, IndexImagesRequest, IndexImagesResponse};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Requests that wait for the connection.
const REQUESTS_AHEAD: usize = 8;

/// Writes embeddings, batch after batch.
pub(super) async fn write_embeddings(
    mut client: Client,
    gallery: &'static str,
    model: ComputedModel,
    ledger: SharedLedger,
    mut random: Random,
) {
    loop {
        let sent = ledger.lock().unwrap().send(&mut random, true);
        let images = sent.iter().map(|(image_id, version)| encoded_image(image_id, *version, &model)).collect();
        let request = IndexEmbeddingsRequest {
            gallery: gallery.to_owned(),
            fingerprint: model.fingerprint.clone(),
            images,
            ..Default::default()
        };
        match client.index_embeddings(request).await {
            Ok(reply) => {
                let results = reply.into_inner().results;
                assert_eq!(results.len(), sent.len());
                results.iter().for_each(|reply| acknowledge(&ledger, reply));
            }
            Err(status) => return assert_gone(&status),
        }
    }
}

/// Streams images; some of them again if `again` allows it.
pub(super) async fn stream_images(
    mut client: Client,
    start: Start,
    ledger: SharedLedger,
    mut random: Random,
    again: bool,
) {
    let (requests, outgoing) = mpsc::channel(REQUESTS_AHEAD);
    let sending = {
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move {
            let mut messages = vec![Message::Start(start)];
            loop {
                for message in messages {
                    if requests.send(IndexImagesRequest { message: Some(message) }).await.is_err() {
                        return;
                    }
                }
                let sent = ledger.lock().unwrap().send(&mut random, again);
                messages = sent.iter().map(|(image_id, version)| Message::Image(image(image_id, *version))).collect();
            }
        })
    };
    let status = match client.index_images(ReceiverStream::new(outgoing)).await {
        Ok(replies) => {
            let mut replies = replies.into_inner();
            loop {
                match replies.message().await {
                    Ok(Some(reply)) => acknowledge(&ledger, &reply),
                    Ok(None) => panic!("the service ended a stream that goes on"),
                    Err(status) => break status,
                }
            }
        }
        Err(status) => status,
    };
    sending.abort();
    // It must not note anything more.
    let _ = sending.await;
    assert_gone(&status);
}

fn acknowledge(ledger: &SharedLedger, reply: &IndexImagesResponse) {
    if is_acknowledged(reply) {
        ledger.lock().unwrap().acknowledge(&reply.image_id);
    }
}

/// Whether the image is promised to be there. While generations change places it may have to be sent again.
pub(super) fn is_acknowledged(reply: &IndexImagesResponse) -> bool {
    match &reply.outcome {
        Some(Outcome::Indexed(_)) => true,
        Some(Outcome::Error(error)) if error.code == tonic::Code::Unavailable as i32 => false,
        Some(Outcome::Error(_)) | None => panic!("{reply:?}"),
    }
}
