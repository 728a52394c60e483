//! Input made to break things: each gives its named error, and the service goes on.

use crate::services::{demo_images, index, text_search};
use descry_proto::encoder::v1::encoder_service_client::EncoderServiceClient;
use descry_proto::encoder::v1::{EncodeImageRequest, EncodeTextRequest};
use descry_proto::search::v1::index_images_request::{Image, Message};
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::search_request::Query;
use descry_proto::search::v1::{
    CreateGalleryRequest, DeleteImagesRequest, Filter, ImageMetadata, IndexImagesRequest, SearchRequest,
};
use descry_tests::{TestStack, enormous_png};
use prost_types::Timestamp;
use tonic::transport::Channel;
use tonic::{Code, Status};

async fn encode_image(client: &mut EncoderServiceClient<Channel>, image: Vec<u8>) -> Result<(), Status> {
    client.encode_image(EncodeImageRequest { images: vec![image.into()], ..Default::default() }).await.map(|_| ())
}

async fn encode_text(client: &mut EncoderServiceClient<Channel>, text: String) -> Result<(), Status> {
    client.encode_text(EncodeTextRequest { texts: vec![text], ..Default::default() }).await.map(|_| ())
}

fn check(result: Result<(), Status>, code: Code, mentions: &[&str]) {
    let status = result.unwrap_err();
    assert_eq!(status.code(), code, "{status}");
    for word in mentions {
        assert!(status.message().contains(word), "{word:?} is not in: {status}");
    }
}

#[tokio::test]
async fn images_that_are_none() {
    let stack = TestStack::start().await;
    let mut client = stack.encoder().await;
    let jpeg = demo_images(1)[0].content.to_vec();
    let mut png = Vec::new();
    let picture = image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8 * 3, y as u8 * 3, (x ^ y) as u8]));
    picture.write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png).unwrap();
    for bytes in [
        Vec::new(),
        b"not an image".to_vec(),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(),
        jpeg[..3].to_vec(),
        jpeg[..jpeg.len() / 2].to_vec(),
        jpeg[..jpeg.len() - 2].to_vec(),
        png[..20].to_vec(),
        png[..png.len() / 2].to_vec(),
        b"RIFF\xff\xff\xff\x7fWEBPVP8 ".to_vec(),
        b"BM\xff\xff\xff\xff\0\0\0\0\0\0\0\0".to_vec(),
    ] {
        check(encode_image(&mut client, bytes).await, Code::InvalidArgument, &["images[0]"]);
    }
    check(
        encode_image(&mut client, enormous_png()).await,
        Code::InvalidArgument,
        &["images[0]", "50000x50000", "limit"],
    );
    check(encode_image(&mut client, vec![0; 21 << 20]).await, Code::InvalidArgument, &["images[0]", "limit"]);
    encode_image(&mut client, jpeg).await.unwrap();
    stack.stop().await;
}

#[tokio::test]
async fn texts_that_are_none() {
    let stack = TestStack::start().await;
    let mut client = stack.encoder().await;
    for text in ["", "   \n\t ", "\u{feff}\0\u{1}"] {
        check(encode_text(&mut client, text.to_owned()).await, Code::InvalidArgument, &["texts[0]", "empty"]);
    }
    check(encode_text(&mut client, "a".repeat(100_000)).await, Code::InvalidArgument, &["texts[0]", "limit"]);
    check(
        client.encode_text(EncodeTextRequest { texts: Vec::new(), ..Default::default() }).await.map(|_| ()),
        Code::InvalidArgument,
        &["1 to"],
    );
    let many = EncodeTextRequest { texts: vec!["a".to_owned(); 257], ..Default::default() };
    check(client.encode_text(many).await.map(|_| ()), Code::InvalidArgument, &["256", "257"]);
    let larger_than_a_message = EncodeTextRequest { texts: vec!["a".repeat(65 << 20)], ..Default::default() };
    let mut boundless = client.clone().max_encoding_message_size(usize::MAX);
    let status = boundless.encode_text(larger_than_a_message).await.unwrap_err();
    assert!(matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted), "{status}");
    for text in ["<|startoftext|><|endoftext|><|endoftext|>", "😀".repeat(500).as_str(), "&#x110000;&amp;lt;"] {
        encode_text(&mut client, text.to_owned()).await.unwrap();
    }
    stack.stop().await;
}

#[tokio::test]
async fn requests_that_make_no_sense() {
    let stack = TestStack::start().await;
    let mut client = stack.search().await;
    index(&mut client, "lobby", demo_images(3)).await;
    let base = text_search("lobby", "a man", 3);
    let filter = |filter: Filter| SearchRequest { filter: Some(filter), ..base.clone() };
    let time = |seconds, nanos| Some(Timestamp { seconds, nanos });
    let cases = [
        (text_search("nowhere", "a man", 3), Code::NotFound, "nowhere"),
        (text_search("../etc", "a man", 3), Code::InvalidArgument, "gallery"),
        (text_search("lobby", "", 3), Code::InvalidArgument, "query.text: the text is empty"),
        (text_search("lobby", &"a".repeat(100_000), 3), Code::InvalidArgument, "query.text"),
        (text_search("lobby", "a man", 1_000_000), Code::InvalidArgument, "limit"),
        (SearchRequest { query: None, ..base.clone() }, Code::InvalidArgument, "query"),
        (
            SearchRequest { query: Some(Query::Image(vec![1, 2, 3].into())), ..base.clone() },
            Code::InvalidArgument,
            "image",
        ),
        (
            filter(Filter { captured_from: time(10, 0), captured_before: time(10, 0), ..Filter::default() }),
            Code::InvalidArgument,
            "captured_before",
        ),
        (filter(Filter { captured_from: time(i64::MAX, 0), ..Filter::default() }), Code::InvalidArgument, "9999"),
        (filter(Filter { captured_from: time(0, -1), ..Filter::default() }), Code::InvalidArgument, "nanos"),
        (filter(Filter { person_ids: vec![String::new()], ..Filter::default() }), Code::InvalidArgument, "person_ids"),
        (
            filter(Filter { camera_ids: vec!["c".to_owned(); 1001], ..Filter::default() }),
            Code::InvalidArgument,
            "camera_ids",
        ),
    ];
    for (request, code, word) in cases {
        check(client.search(request).await.map(|_| ()), code, &[word]);
    }
    let create = CreateGalleryRequest { name: "UPPER".to_owned(), ..CreateGalleryRequest::default() };
    check(client.create_gallery(create).await.map(|_| ()), Code::InvalidArgument, &["gallery"]);
    let delete = DeleteImagesRequest {
        gallery: "lobby".to_owned(),
        image_ids: vec!["a".to_owned(); 10_001],
        ..DeleteImagesRequest::default()
    };
    check(client.delete_images(delete).await.map(|_| ()), Code::InvalidArgument, &["image_ids"]);
    assert_eq!(client.search(base).await.unwrap().into_inner().hits.len(), 3);
    stack.stop().await;
}

#[tokio::test]
async fn bad_images_in_a_stream_are_reported_one_by_one() {
    let stack = TestStack::start().await;
    let mut client = stack.search().await;
    let good = demo_images(2);
    let bad = |image_id: &str, content: Vec<u8>, metadata: Option<ImageMetadata>| Image {
        image_id: image_id.to_owned(),
        content: content.into(),
        metadata,
    };
    let long_person = ImageMetadata { person_id: Some("p".repeat(600)), ..ImageMetadata::default() };
    let captured =
        |seconds, nanos| ImageMetadata { captured_at: Some(Timestamp { seconds, nanos }), ..ImageMetadata::default() };
    let (no_time, far_future) = (captured(0, -5), captured(9_000_000_000_000_000, 0));
    let sent = vec![
        good[0].clone(),
        bad("truncated.jpg", good[0].content[..500].to_vec(), None),
        bad("enormous.png", enormous_png(), None),
        bad("", good[0].content.to_vec(), None),
        bad("empty.jpg", Vec::new(), None),
        bad("person.jpg", good[0].content.to_vec(), Some(long_person)),
        bad("control\u{7}.jpg", good[0].content.to_vec(), None),
        bad("time.jpg", good[0].content.to_vec(), Some(no_time)),
        bad("future.jpg", good[0].content.to_vec(), Some(far_future)),
        bad("huge.jpg", vec![0; 21 << 20], None),
        good[1].clone(),
    ];
    let replies = index(&mut client, "lobby", sent).await;
    assert_eq!(replies.len(), 11);
    for reply in replies {
        let is_good = good.iter().any(|image| image.image_id == reply.image_id);
        match reply.outcome.unwrap() {
            Outcome::Indexed(_) => assert!(is_good, "{}", reply.image_id),
            Outcome::Error(error) => {
                assert!(!is_good, "{}: {}", reply.image_id, error.message);
                assert_eq!(error.code, Code::InvalidArgument as i32, "{}", error.message);
            }
        }
    }
    // A whole chunk of nothing but bad images.
    let all_bad = (0..5).map(|number| bad(&format!("{number}"), vec![number; 10], None)).collect();
    let replies = index(&mut client, "lobby", all_bad).await;
    assert_eq!(replies.len(), 5);
    assert!(replies.iter().all(|reply| matches!(&reply.outcome, Some(Outcome::Error(error)) if error.code == 3)));

    // Without `start`, or with nothing in a message.
    for messages in [vec![Some(Message::Image(good[0].clone()))], vec![None], Vec::new()] {
        let requests: Vec<_> = messages.into_iter().map(|message| IndexImagesRequest { message }).collect();
        let status = client.index_images(tokio_stream::iter(requests)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    stack.stop().await;
}
