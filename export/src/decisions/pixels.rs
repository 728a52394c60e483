//! How images become pixels.

use super::published;
use crate::checkpoint::{PixelSettings, RunSettings, published_settings};
use descry_model::ResizeFilter;
use descry_model::method::Method;

/// What of it differs from CLIP's usual preparation, and who says so, where anything does.
pub(super) fn decide_pixels(method: Method, settings: &RunSettings) -> (PixelSettings, Option<String>) {
    let stated = settings.pixels.unwrap_or_default();
    // A paper's code prepares the images that its models are trained with, whatever model it started from.
    let default = settings.defaults.filter(|_| method == Method::Clip && stated.resize_filter.is_none());
    let default = default.and_then(|defaults| Some((defaults.resize_filter?, defaults.library)));
    let pixels = PixelSettings { resize_filter: stated.resize_filter.or(default.map(|(filter, _)| filter)), ..stated };
    if pixels == PixelSettings::default() {
        return (pixels, None);
    }
    let of_code = settings.saved_by.and_then(|method| Some((published_settings(method).pixels?, method)));
    let filter_of_code = of_code.and_then(|(pixels, method)| Some((pixels.resize_filter?, method)));
    let origin = match (stated.resize_filter, filter_of_code, default) {
        (Some(filter), Some((other, method)), _) if filter != other => {
            format!("the settings, though the published code of {method} has {}", other.name())
        }
        (Some(_), Some((_, method)), _) => published(method),
        (Some(_), None, _) => "the settings".to_owned(),
        (None, _, Some((_, library))) => format!("the default of {library}, as the settings name none"),
        (None, _, None) => "as usual: the settings say nothing of it".to_owned(),
    };
    let filter = pixels.resize_filter.unwrap_or(ResizeFilter::PillowBilinear).name();
    let numbers = describe_numbers(stated, of_code);
    (pixels, Some(format!("{filter}, {origin}{numbers}; whole images, nothing is cropped")))
}

/// Who says with which numbers pixels are normalised, where these are not what the published code or CLIP has.
fn describe_numbers(stated: PixelSettings, of_code: Option<(PixelSettings, Method)>) -> String {
    let numbers = |pixels: PixelSettings| (pixels.mean, pixels.std);
    if numbers(stated) == (None, None) || of_code.is_some_and(|(code, _)| numbers(code) == numbers(stated)) {
        return String::new();
    }
    let contradicts =
        of_code.map(|(_, method)| format!(", though the published code of {method} has others")).unwrap_or_default();
    format!("; mean and standard deviation: the settings{contradicts}")
}
