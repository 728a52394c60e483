//! What names, ids and filters may look like. Checked before anything reaches a store or the encoder.

use crate::SearchError;
use crate::config::RequestLimits;
use crate::retention::Retention;
use descry_store::{GalleryAddress, GallerySettings, ImageMetadata, SearchFilter};

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
    let ids = [
        ("metadata.person_id", &metadata.person_id),
        ("metadata.camera_id", &metadata.camera_id),
        ("metadata.track_id", &metadata.track_id),
        ("metadata.frame_id", &metadata.frame_id),
    ];
    for (field, id) in ids {
        id.iter().try_for_each(|id| check_id(field, id, limits))?;
    }
    if metadata.crop_box.is_some_and(|crop_box| crop_box.width_px == 0 || crop_box.height_px == 0) {
        return Err(invalid("metadata.box", "must have a width and a height"));
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

/// Cameras with a time of their own: everybody who lists galleries reads them all.
pub(crate) fn check_retention(retention: &Retention, limits: &RequestLimits) -> Result<(), SearchError> {
    let (count, max) = (retention.camera_ms.len(), limits.max_retention_cameras);
    if count > max {
        return Err(invalid("retention.camera_ms", format!("{count} cameras, at most {max} are allowed")));
    }
    retention.camera_ms.keys().try_for_each(|camera_id| check_id("retention.camera_ms", camera_id, limits))
}

/// A gallery, or a generation of one such as `lobby.2`.
pub(crate) fn check_address(address: &str) -> Result<(), SearchError> {
    check_gallery_name(GalleryAddress::parse(address).name)
}

/// Attributes that a gallery declares: their names become parts of paths in Qdrant.
pub(crate) fn check_settings(settings: &GallerySettings, limits: &RequestLimits) -> Result<(), SearchError> {
    let names = &settings.indexed_attributes;
    if names.len() > limits.max_attributes {
        let reason = format!("{} attributes, at most {} are allowed", names.len(), limits.max_attributes);
        return Err(invalid("settings.indexed_attributes", reason));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() || name.len() > MAX_GALLERY_NAME_BYTES || !name.bytes().all(allowed) {
            let reason = format!("{name:?}; 1 to {MAX_GALLERY_NAME_BYTES} letters, digits, '-' or '_' are allowed");
            return Err(invalid("settings.indexed_attributes", reason));
        }
        if names[..index].contains(name) {
            return Err(invalid("settings.indexed_attributes", format!("{name:?} stands there twice")));
        }
    }
    Ok(())
}

pub(crate) fn check_filter(filter: &SearchFilter, limits: &RequestLimits) -> Result<(), SearchError> {
    let parts = filter.walk();
    if let Some((_, depth)) = parts.last().filter(|(_, depth)| *depth > limits.max_filter_depth) {
        let reason = format!("nested {depth} deep, at most {} is allowed", limits.max_filter_depth);
        return Err(invalid("filter", reason));
    }
    let conditions: usize = parts.iter().map(|(part, _)| 1 + part.attributes.len()).sum();
    if conditions > limits.max_filter_conditions {
        let reason = format!("{conditions} conditions, at most {} are allowed", limits.max_filter_conditions);
        return Err(invalid("filter", reason));
    }
    parts.into_iter().try_for_each(|(part, _)| check_conditions(part, limits))
}

fn check_conditions(filter: &SearchFilter, limits: &RequestLimits) -> Result<(), SearchError> {
    let lists = [
        ("filter.image_ids", &filter.image_ids),
        ("filter.person_ids", &filter.person_ids),
        ("filter.camera_ids", &filter.camera_ids),
        ("filter.track_ids", &filter.track_ids),
    ];
    let attributes = filter.attributes.iter().map(|attribute| ("filter.attributes", &attribute.values));
    for (field, values) in lists.into_iter().chain(attributes) {
        if values.len() > limits.max_filter_values {
            let reason = format!("{} values, at most {} are allowed", values.len(), limits.max_filter_values);
            return Err(invalid(field, reason));
        }
    }
    for (field, values) in lists {
        values.iter().try_for_each(|value| check_id(field, value, limits))?;
    }
    for attribute in &filter.attributes {
        if attribute.name.is_empty() || attribute.values.is_empty() {
            return Err(invalid("filter.attributes", "needs a name and at least one value"));
        }
        if attribute.values.iter().any(|value| value.len() > limits.max_attributes_bytes) {
            return Err(invalid("filter.attributes", "a value is longer than any attribute may be"));
        }
    }
    let times = [
        ("filter.captured_before", filter.captured_from_ms, filter.captured_before_ms),
        ("filter.indexed_before", filter.indexed_from_ms, filter.indexed_before_ms),
    ];
    for (field, from, before) in times {
        if let (Some(from), Some(before)) = (from, before)
            && from >= before
        {
            return Err(invalid(field, "must be later than where the range begins"));
        }
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
