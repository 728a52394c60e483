//! No method of the service forgets its record, nor the gallery that its message names.

use super::stand::{AuditedService, SERVICE};
use crate::hostile_messages::{delimited, send};
use descry_audit::Kind;
use descry_proto::DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};
use std::collections::HashMap;
use tonic::transport::Channel;

/// A gallery that is not there.
const GALLERY: &str = "nowhere";

/// Methods whose messages name no gallery.
const WITHOUT_GALLERY: [&str; 2] = ["ListGalleries", "ListEncoders"];

#[tokio::test]
async fn each_method_leaves_a_record_that_names_the_gallery() {
    let service = AuditedService::start(|_| {}).await;
    let channel = Channel::from_shared(service.url().to_owned()).unwrap().connect_lazy();
    let files = FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap().file;
    let package = |file: &prost_types::FileDescriptorProto| file.package().to_owned();
    let mut messages = HashMap::new();
    for file in &files {
        for message in &file.message_type {
            add(&mut messages, &format!(".{}", package(file)), message);
        }
    }
    let services = files.iter().flat_map(|file| file.service.iter().map(move |service| (package(file), service)));
    let mut methods = 0;
    for (package, found) in services {
        if format!("{package}.{}", found.name()) != SERVICE {
            continue;
        }
        for method in &found.method {
            methods += 1;
            let request = naming_a_gallery(&messages, method.input_type(), 0);
            assert_eq!(request.is_none(), WITHOUT_GALLERY.contains(&method.name()), "{}", method.name());
            let path: &'static str = format!("/{SERVICE}/{}", method.name()).leak();
            // Most are refused. That is answered, and so recorded.
            let _ = send(&channel, path, request.unwrap_or_default()).await;
            let rpc = Some(format!("{SERVICE}/{}", method.name()));
            let records: Vec<_> = service.records().into_iter().filter(|record| record.rpc == rpc).collect();
            let ends = records.iter().filter(|record| record.kind == Kind::Request).count();
            assert_eq!(ends, 1, "{} leaves {ends} records of its end", method.name());
            if !WITHOUT_GALLERY.contains(&method.name()) {
                let is_named = records.iter().any(|record| record.gallery.as_deref() == Some(GALLERY));
                assert!(is_named, "the record of {} does not name the gallery", method.name());
            }
        }
    }
    assert!(methods > 20, "{methods}");
    service.assert_whole();
}

fn add<'a>(messages: &mut HashMap<String, &'a DescriptorProto>, parent: &str, message: &'a DescriptorProto) {
    let name = format!("{parent}.{}", message.name());
    message.nested_type.iter().for_each(|nested| add(messages, &name, nested));
    messages.insert(name, message);
}

/// A message with nothing but the name of a gallery, wherever it has a place for one.
fn naming_a_gallery(messages: &HashMap<String, &DescriptorProto>, name: &str, depth: usize) -> Option<Vec<u8>> {
    let message = messages[name];
    let is_text = |name: &str| {
        let text = message.field.iter().find(|field| field.name() == name && field.r#type() == Type::String);
        text.map(|field| delimited(field.number() as u32, GALLERY.as_bytes()))
    };
    // Those about galleries alone call it by its name.
    let of_its_own = is_text("gallery").or_else(|| if depth == 0 { is_text("name") } else { None });
    of_its_own.or_else(|| {
        let is_ours = |name: &str| name.starts_with(".descry.search.v1.") && depth < 2;
        let mut nested = message.field.iter().filter(|field| is_ours(field.type_name()));
        nested.find_map(|field| {
            let is_message = field.r#type() == Type::Message;
            let content = is_message.then(|| naming_a_gallery(messages, field.type_name(), depth + 1))??;
            Some(delimited(field.number() as u32, &content))
        })
    })
}
