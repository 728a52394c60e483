//! The methods that a server knows.
//!
//! Paths come from outside; only known ones may become labels and span fields, or a caller could fill the memory with
//! made-up names.

use prost::Message as _;
use prost_types::FileDescriptorSet;
use std::collections::HashMap;
use std::sync::Arc;

/// A method's name and its service's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MethodName {
    pub(crate) service: Arc<str>,
    pub(crate) method: Arc<str>,
}

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
            for file in FileDescriptorSet::decode(*encoded)?.file {
                for service in &file.service {
                    let name = match file.package() {
                        "" => service.name().to_owned(),
                        package => format!("{package}.{}", service.name()),
                    };
                    let name: Arc<str> = name.into();
                    for method in &service.method {
                        let method: Arc<str> = method.name().into();
                        let path = format!("/{name}/{method}");
                        by_path.insert(path, MethodName { service: Arc::clone(&name), method });
                    }
                }
            }
        }
        let unknown = MethodName { service: "unknown".into(), method: "unknown".into() };
        Ok(Self { by_path: Arc::new(by_path), unknown })
    }

    /// The method at `path`, or `unknown`.
    pub(crate) fn of(&self, path: &str) -> &MethodName {
        self.by_path.get(path).unwrap_or(&self.unknown)
    }
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
