//! Every method says what its caller must be allowed, and every field that names a gallery is known as one.

// Without this, lints count helpers of an integration test as shipped code.
#![cfg(test)]

use descry_proto::search::v1::index_images_request::{Image, Message, Start};
use descry_proto::search::v1::{
    CompareGenerationsRequest, GetGalleryRequest, IndexEmbeddingsRequest, IndexImagesRequest, ListGalleriesRequest,
    RefineRequest, SearchBatchRequest, SearchRequest, StoredImage,
};
use descry_trust::{Guarded, NamesGalleries, Needs, Verb};
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use std::collections::BTreeMap;

fn pool() -> DescriptorPool {
    DescriptorPool::decode(descry_proto::DESCRIPTOR_SET).unwrap()
}

/// All fields of a message and of those within it.
fn fields(message: &MessageDescriptor, found: &mut BTreeMap<String, FieldDescriptor>) {
    for field in message.fields() {
        if found.insert(field.full_name().to_owned(), field.clone()).is_none()
            && let Kind::Message(inner) = field.kind()
        {
            fields(&inner, found);
        }
    }
}

#[test]
fn every_method_says_what_it_needs_and_marks_what_names_a_gallery() {
    let pool = pool();
    let needs = pool.get_extension_by_name("descry.access.v1.needs").unwrap();
    let names_gallery = pool.get_extension_by_name("descry.access.v1.names_gallery").unwrap();
    let mut methods = 0;
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        methods += 1;
        let name = method.full_name();
        assert!(method.options().has_extension(&needs), "{name}");
        let needed = method.options().get_extension(&needs).as_enum_number().unwrap();
        assert!(needed > 0, "{name}");
        let mut found = BTreeMap::new();
        fields(&method.input(), &mut found);
        let mut marked = 0;
        for field in found.values() {
            let is_marked = field.options().get_extension(&names_gallery).as_bool().unwrap();
            marked += usize::from(is_marked);
            let of_gallery = field.parent_message().name().ends_with("GalleryRequest");
            let looks_like_one = field.name().contains("galler")
                || field.name().contains("address")
                || (of_gallery && field.name() == "name");
            let is_text = field.kind() == Kind::String;
            assert_eq!(is_marked, looks_like_one && is_text, "{}", field.full_name());
        }
        // SEARCH, INDEX, MANAGE, SIGHT and CREATE are about galleries; the others are not.
        assert_eq!(marked > 0, [1, 2, 3, 4, 9].contains(&needed), "{name} needs {needed} and names {marked} galleries");
    }
    assert!(methods > 30, "{methods}");
}

fn named<Request: NamesGalleries>(request: &Request) -> Vec<(&str, Option<Verb>)> {
    let mut named = Vec::new();
    request.visit_galleries(&mut |gallery, also| named.push((gallery, also)));
    named
}

fn search(gallery: &str) -> SearchRequest {
    SearchRequest { gallery: gallery.to_owned(), ..SearchRequest::default() }
}

#[test]
fn galleries_are_found_however_deep_they_are() {
    assert_eq!(named(&search("lobby.2")), [("lobby.2", None)]);
    let refine = RefineRequest { search: Some(search("yard")), ..RefineRequest::default() };
    assert_eq!(named(&refine), [("yard", None)]);
    assert_eq!(named(&RefineRequest::default()), []);
    assert_eq!(named(&GetGalleryRequest { name: "a".to_owned() }), [("a", None)]);
    let start = |create| Start { gallery: "lobby".to_owned(), create, ..Start::default() };
    let first = |create| IndexImagesRequest { message: Some(Message::Start(start(create))) };
    assert_eq!(named(&first(false)), [("lobby", None)]);
    assert_eq!(named(&first(true)), [("lobby", Some(Verb::Manage))]);
    // Searches of a batch are decided one by one.
    let batch = SearchBatchRequest { searches: vec![search("a"), search("b")] };
    assert_eq!(named(&batch), []);
    const { assert!(SearchBatchRequest::BY_ITEM && !SearchRequest::BY_ITEM) };
}

#[test]
fn images_are_counted_where_they_are_brought() {
    let image = IndexImagesRequest { message: Some(Message::Image(Image::default())) };
    let start = IndexImagesRequest { message: Some(Message::Start(Start::default())) };
    let images = vec![StoredImage::default(); 3];
    let embeddings = IndexEmbeddingsRequest { images, ..IndexEmbeddingsRequest::default() };
    assert_eq!((image.images(), start.images(), embeddings.images()), (1, 0, 3));
    assert_eq!(search("a").images(), 0);
}

#[test]
fn what_is_needed_is_what_the_files_say() {
    assert_eq!(SearchRequest::NEEDS, Needs::Gallery(Verb::Search));
    assert_eq!(IndexImagesRequest::NEEDS, Needs::Gallery(Verb::Index));
    assert_eq!(CompareGenerationsRequest::NEEDS, Needs::Gallery(Verb::Manage));
    assert_eq!(GetGalleryRequest::NEEDS, Needs::Sight);
    assert_eq!(ListGalleriesRequest::NEEDS, Needs::Anything);
    assert_eq!(descry_proto::encoder::v1::EncodeTextRequest::NEEDS, Needs::Encode);
}
