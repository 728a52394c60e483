//! What a measurement starts from: settings of the encoder, and images.

use anyhow::Context as _;
use descry_encoder::EncoderConfig;
use descry_intake::image_files;
use std::path::{Path, PathBuf};

/// The service's own settings, for this bundle and device.
pub(super) fn encoder_config(
    model: &Path,
    config: Option<&Path>,
    device: Option<&str>,
) -> anyhow::Result<EncoderConfig> {
    let mut encoder_config = EncoderConfig::load(config)?;
    encoder_config.model = model.to_owned();
    if let Some(device) = device {
        encoder_config.device.name = device.parse().map_err(anyhow::Error::msg)?;
    }
    Ok(encoder_config)
}

/// The image files of a folder, at any depth; none without a folder.
pub(super) fn images_in(folder: Option<&Path>) -> anyhow::Result<Vec<PathBuf>> {
    let Some(folder) = folder else { return Ok(Vec::new()) };
    let found = image_files::find(folder);
    if let Some(error) = found.unreadable.into_iter().next() {
        return Err(error).with_context(|| format!("cannot read all of {}", folder.display()));
    }
    anyhow::ensure!(!found.images.is_empty(), "{} holds no images (jpg, png, webp or bmp)", folder.display());
    Ok(found.images)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_cannot_be_had_is_refused_before_the_model_loads() {
        let model = Path::new("bundle");
        assert_eq!(encoder_config(model, None, None).unwrap().model, model);
        encoder_config(model, None, Some("cpu")).unwrap();
        let error = encoder_config(model, None, Some("abacus")).unwrap_err();
        assert!(error.to_string().contains("abacus"), "{error}");
    }

    #[test]
    fn a_folder_without_images_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = images_in(Some(folder.path())).unwrap_err();
        assert!(error.to_string().contains("holds no images"), "{error}");
        assert!(images_in(None).unwrap().is_empty());
    }
}
