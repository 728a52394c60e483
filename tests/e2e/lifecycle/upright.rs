//! Images that a camera stored turned: one rule for what is indexed and what is searched for, the gallery's.

use crate::services::{demo_images, index};
use descry_proto::search::v1::index_images_request::Image;
use descry_proto::search::v1::search_request::Query;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::{CreateGalleryRequest, GallerySettings, SearchRequest};
use descry_tests::TestStack;
use image::ImageFormat;
use std::io::Cursor;
use tonic::transport::Channel;

/// The picture as a camera stores it that was held sideways: turned, and with a note that says so.
pub(crate) fn turned(content: &[u8]) -> Vec<u8> {
    /// A TIFF structure of one entry: the orientation is 6, to be turned right by 90 degrees.
    const NOTE: &[u8] = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let mut jpeg = Cursor::new(Vec::new());
    image::load_from_memory(content).unwrap().rotate270().write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    let (start, rest) = jpeg.split_at(2);
    let length = u16::try_from(NOTE.len() + 2).unwrap().to_be_bytes();
    [start, &[0xff, 0xe1], &length, NOTE, rest].concat()
}

/// The cosine of the only image of a gallery to a picture.
async fn score(client: &mut SearchServiceClient<Channel>, gallery: &str, picture: &[u8]) -> f32 {
    let query = Some(Query::Image(picture.to_vec().into()));
    let request = SearchRequest { gallery: gallery.to_owned(), query, ..SearchRequest::default() };
    client.search(request).await.unwrap().into_inner().hits.remove(0).score
}

#[tokio::test]
async fn a_gallery_turns_images_and_queries_upright_or_neither() {
    let stack = TestStack::start().await;
    let mut client = stack.search().await;
    let image = demo_images(1).remove(0);
    let (upright, sideways) = (image.content.to_vec(), turned(&image.content));
    for (gallery, apply_exif_orientation) in [("turned", true), ("stored", false)] {
        let settings = Some(GallerySettings { apply_exif_orientation, ..GallerySettings::default() });
        let create = CreateGalleryRequest { name: gallery.to_owned(), settings, ..CreateGalleryRequest::default() };
        let created = client.create_gallery(create).await.unwrap().into_inner();
        assert_eq!(created.settings.unwrap().apply_exif_orientation, apply_exif_orientation);
        index(&mut client, gallery, vec![Image { content: sideways.clone().into(), ..image.clone() }]).await;
        // Written once more as a JPEG, the picture is nearly the same, turned it is another one.
        let (to_upright, to_sideways) =
            (score(&mut client, gallery, &upright).await, score(&mut client, gallery, &sideways).await);
        assert_eq!(to_upright > 0.95, apply_exif_orientation, "{gallery}: {to_upright}");
        assert!(to_sideways > 0.999, "{gallery}: {to_sideways}");
    }
    stack.stop().await;
}
