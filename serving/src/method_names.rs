//! The methods that a server knows, and what their requests may carry.
//!
//! Paths come from outside; only known ones may become labels and span fields, or a caller could fill the memory with
//! made-up names.

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A method's name and its service's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MethodName {
    pub(crate) service: Arc<str>,
    pub(crate) method: Arc<str>,
    /// Whether its requests may hold files or embeddings, which take megabytes.
    pub(crate) carries_data: bool,
    /// Whether its callers send several messages.
    pub(crate) is_client_stream: bool,
    /// Whether they are answered by several.
    pub(crate) is_server_stream: bool,
}

impl MethodName {
    /// Whether there is such a method.
    pub(crate) fn is_known(&self) -> bool {
        &*self.service != UNKNOWN
    }
}

/// What methods are called that there are not.
const UNKNOWN: &str = "unknown";

/// The known methods, by path.
#[derive(Debug, Clone)]
pub(crate) struct MethodNames {
    by_path: Arc<HashMap<String, MethodName>>,
    unknown: MethodName,
}

impl MethodNames {
    /// All methods of the encoded descriptor sets.
    pub(crate) fn read(descriptor_sets: &[&[u8]]) -> Result<Self, prost::DecodeError> {
        let mut by_path = HashMap::new();
        for encoded in descriptor_sets {
            let files = FileDescriptorSet::decode(*encoded)?.file;
            let messages = messages(&files);
            for file in &files {
                for service in &file.service {
                    let name = match file.package() {
                        "" => service.name().to_owned(),
                        package => format!("{package}.{}", service.name()),
                    };
                    let name: Arc<str> = name.into();
                    for method in &service.method {
                        let carries_data = carries_data(method.input_type(), &messages, &mut HashSet::new());
                        let (is_client_stream, is_server_stream) =
                            (method.client_streaming(), method.server_streaming());
                        let method: Arc<str> = method.name().into();
                        let path = format!("/{name}/{method}");
                        let service = Arc::clone(&name);
                        let name = MethodName { service, method, carries_data, is_client_stream, is_server_stream };
                        by_path.insert(path, name);
                    }
                }
            }
        }
        let (service, method) = (UNKNOWN.into(), UNKNOWN.into());
        let unknown =
            MethodName { service, method, carries_data: false, is_client_stream: false, is_server_stream: false };
        Ok(Self { by_path: Arc::new(by_path), unknown })
    }

    /// The method at `path`, or `unknown`.
    pub(crate) fn of(&self, path: &str) -> &MethodName {
        self.by_path.get(path).unwrap_or(&self.unknown)
    }
}

/// All messages by their full names, as fields refer to them: with a dot in front.
fn messages(files: &[prost_types::FileDescriptorProto]) -> HashMap<String, &DescriptorProto> {
    let mut messages = HashMap::new();
    let mut left: Vec<(String, &DescriptorProto)> = Vec::new();
    for file in files {
        let package = if file.package().is_empty() { String::new() } else { format!(".{}", file.package()) };
        left.extend(file.message_type.iter().map(|message| (package.clone(), message)));
    }
    while let Some((parent, message)) = left.pop() {
        let name = format!("{parent}.{}", message.name());
        left.extend(message.nested_type.iter().map(|nested| (name.clone(), nested)));
        messages.insert(name, message);
    }
    messages
}

/// Whether a message, or one within it, has bytes or a list of floats.
fn carries_data<'a>(
    name: &'a str,
    messages: &HashMap<String, &'a DescriptorProto>,
    seen: &mut HashSet<&'a str>,
) -> bool {
    let Some(message) = messages.get(name).filter(|_| seen.insert(name)) else { return false };
    let is_data = |field: &FieldDescriptorProto| {
        field.r#type() == Type::Bytes || (field.r#type() == Type::Float && field.label() == Label::Repeated)
    };
    message.field.iter().any(|field| is_data(field) || carries_data(field.type_name(), messages, seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_paths_have_names() {
        let names = MethodNames::read(&[tonic_health::pb::FILE_DESCRIPTOR_SET]).unwrap();
        let check = names.of("/grpc.health.v1.Health/Check");
        assert_eq!((&*check.service, &*check.method), ("grpc.health.v1.Health", "Check"));
        for path in ["/grpc.health.v1.Health/Chuck", "/grpc.health.v1.Health", "", "/", "//"] {
            assert_eq!(&*names.of(path).method, "unknown", "{path}");
        }
        assert!(MethodNames::read(&[b"not a descriptor set"]).is_err());
    }
}
