//! Images that lie on their side in the file: the encoder turns them upright where a request asks for it.

use descry_model::decode_image;
use descry_proto::encoder::v1::encode_result::Outcome;
use descry_proto::encoder::v1::{EncodeImageRequest, EncodeImageStreamRequest};
use descry_tests::TestStack;
use std::fs;
use std::path::Path;
use tokio_stream::StreamExt as _;

/// A person who lies on the side, with an orientation that says so.
fn lying() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/data/images/07_exif6.jpg")).unwrap()
}

/// The pixels that a decoder gives, as a file without an orientation.
fn written(apply_exif_orientation: bool) -> Vec<u8> {
    let decoded = decode_image(&lying(), 1 << 20, apply_exif_orientation).unwrap();
    let (width, height) = (decoded.width as u32, decoded.height as u32);
    let mut file = std::io::Cursor::new(Vec::new());
    let image = image::RgbImage::from_raw(width, height, decoded.samples).unwrap();
    image.write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

fn values(outcome: Option<Outcome>) -> Vec<f32> {
    let Some(Outcome::Embedding(embedding)) = outcome else { panic!("{outcome:?}") };
    embedding.values
}

fn cosine(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

#[tokio::test]
async fn lists_and_streams_turn_images_that_a_request_wants_upright() {
    let stack = TestStack::start().await;
    let mut client = stack.encoder().await;
    let mut of_list = Vec::new();
    for (image, apply_exif_orientation) in
        [(lying(), false), (lying(), true), (written(false), true), (written(true), false)]
    {
        let request = EncodeImageRequest { images: vec![image.into()], apply_exif_orientation, ..Default::default() };
        let mut reply = client.encode_image(request).await.unwrap().into_inner();
        of_list.push(values(reply.results.remove(0).outcome));
    }
    let [as_stored, upright, stored_pixels, upright_pixels] = of_list.try_into().unwrap();
    assert!(cosine(&as_stored, &stored_pixels) > 0.99999);
    assert!(cosine(&upright, &upright_pixels) > 0.99999);
    assert!(cosine(&upright, &as_stored) < 0.99, "another way up is another picture");

    // One stream can ask for either, image by image.
    let requests = [false, true].map(|apply_exif_orientation| EncodeImageStreamRequest {
        id: apply_exif_orientation.to_string(),
        image: lying().into(),
        apply_exif_orientation,
        ..Default::default()
    });
    let mut answers = client.encode_image_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    while let Some(answer) = answers.next().await {
        let answer = answer.unwrap();
        let expected = if answer.id == "true" { &upright } else { &as_stored };
        assert!(cosine(&values(answer.result.unwrap().outcome), expected) > 0.99999, "{}", answer.id);
    }
    drop(client);
    stack.stop().await;
}
