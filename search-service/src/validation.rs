//! What names, ids and filters may look like. Checked before anything reaches a store or the encoder.

use crate::SearchError;
use crate::config::RequestLimits;
use crate::vector_store::{ImageMetadata, SearchFilter};

const MAX_GALLERY_NAME_BYTES: usize = 63;

pub(crate) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> SearchError {
    SearchError::Invalid { field: field.into(), reason: reason.into() }
}

/// `[a-z0-9][a-z0-9_-]{0,62}`: safe as a part of collection and file names everywhere.
pub(crate) fn check_gallery_name(name: &str) -> Result<(), SearchError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !starts_well || name.len() > MAX_GALLERY_NAME_BYTES || !name.bytes().all(allowed) {
        let reason = "1 to 63 small letters, digits, '-' or '_', a letter or digit first";
        return Err(invalid("gallery", reason));
    }
    Ok(())
}

pub(crate) fn check_id(field: &str, id: &str, limits: &RequestLimits) -> Result<(), SearchError> {
    if id.is_empty() {
        return Err(invalid(field, "must not be empty"));
    }
    if id.len() > limits.max_id_bytes {
        return Err(invalid(field, format!("{} bytes, at most {} are allowed", id.len(), limits.max_id_bytes)));
    }
    if id.chars().any(char::is_control) {
        return Err(invalid(field, "must not contain control characters"));
    }
    Ok(())
}

pub(crate) fn check_metadata(metadata: &ImageMetadata, limits: &RequestLimits) -> Result<(), SearchError> {
    if let Some(person_id) = &metadata.person_id {
        check_id("metadata.person_id", person_id, limits)?;
    }
    if let Some(camera_id) = &metadata.camera_id {
        check_id("metadata.camera_id", camera_id, limits)?;
    }
    let count = metadata.attributes.len();
    if count > limits.max_attributes {
        let reason = format!("{count}, at most {} are allowed", limits.max_attributes);
        return Err(invalid("metadata.attributes", reason));
    }
    let bytes: usize = metadata.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > limits.max_attributes_bytes || metadata.attributes.contains_key("") {
        let reason = format!("{bytes} bytes, at most {} are allowed, and no empty name", limits.max_attributes_bytes);
        return Err(invalid("metadata.attributes", reason));
    }
    Ok(())
}

pub(crate) fn check_filter(filter: &SearchFilter, limits: &RequestLimits) -> Result<(), SearchError> {
    for (field, values) in [("filter.person_ids", &filter.person_ids), ("filter.camera_ids", &filter.camera_ids)] {
        if values.len() > limits.max_filter_values {
            let reason = format!("{} values, at most {} are allowed", values.len(), limits.max_filter_values);
            return Err(invalid(field, reason));
        }
        for value in values {
            check_id(field, value, limits)?;
        }
    }
    if let (Some(from), Some(before)) = (filter.captured_from_ms, filter.captured_before_ms)
        && from >= before
    {
        return Err(invalid("filter.captured_before", "must be later than captured_from"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gallery_names() {
        for name in ["lobby", "2024-cam_1", "a"] {
            assert!(check_gallery_name(name).is_ok(), "{name}");
        }
        for name in ["", "-x", "_x", "Lobby", "a/b", "../x", "é", &"a".repeat(64)] {
            assert!(check_gallery_name(name).is_err(), "{name}");
        }
    }
}
