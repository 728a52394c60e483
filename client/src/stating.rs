//! What callers state of their requests, for the audit log of the service.

use tonic::metadata::{Ascii, AsciiMetadataKey, Binary, BinaryMetadataKey, MetadataMap, MetadataValue};

/// Why somebody asks. Some galleries are used only by who says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stated {
    /// The purpose, in their own words.
    pub purpose: Option<String>,
    /// The number of their case.
    pub case_number: Option<String>,
    /// The number of what allows them to ask, such as a judge's order.
    pub authorization: Option<String>,
    /// The second person who confirmed what was found.
    pub verifier: Option<String>,
}

impl Stated {
    /// Adds it to what a call carries. What is no plain text goes as bytes, in a header whose name ends with `-bin`.
    pub(crate) fn add_to(&self, metadata: &mut MetadataMap) {
        let Self { purpose, case_number, authorization, verifier } = self;
        for (name, binary_name, text) in [
            ("x-descry-purpose", "x-descry-purpose-bin", purpose),
            ("x-descry-case", "x-descry-case-bin", case_number),
            ("x-descry-authorization", "x-descry-authorization-bin", authorization),
            ("x-descry-verifier", "x-descry-verifier-bin", verifier),
        ] {
            let Some(text) = text else { continue };
            match plain(text) {
                Some(value) => drop(metadata.insert(AsciiMetadataKey::from_static(name), value)),
                None => {
                    let value = MetadataValue::<Binary>::from_bytes(text.as_bytes());
                    metadata.insert_bin(BinaryMetadataKey::from_static(binary_name), value);
                }
            }
        }
    }
}

/// As a header takes it. One that begins or ends with a space would lose it.
fn plain(text: &str) -> Option<MetadataValue<Ascii>> {
    let is_plain = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) && text.trim() == text;
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stated_is_sent_whatever_its_letters() {
        let stated = Stated {
            purpose: Some("theft of a bag".to_owned()),
            case_number: Some("Überfall 7".to_owned()),
            ..Stated::default()
        };
        let mut metadata = MetadataMap::new();
        stated.add_to(&mut metadata);
        assert_eq!(metadata.get("x-descry-purpose").unwrap(), "theft of a bag");
        assert_eq!(metadata.get_bin("x-descry-case-bin").unwrap().to_bytes().unwrap(), "Überfall 7".as_bytes());
        assert_eq!(metadata.len(), 2);
    }
}
