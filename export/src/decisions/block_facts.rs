//! Heads and activations of the towers' blocks.

use super::{Origin, Statement};
use crate::activation::Activation;
use crate::checkpoint::RunSettings;
use crate::request::ModelFlags;
use crate::tensors::Tensors;
use crate::{ExportError, clip};
use descry_model::method::Method;
use descry_model::method::clip::{HEAD_WIDTH, IMAGE_SIDE};

/// Heads of the vision and the text tower, and who says so. Any number that divides the width gives a model that runs, so it
/// is stated or assumed, and never found.
pub(super) fn decide_heads(
    tensors: &Tensors<'_>,
    method: Method,
    settings: &RunSettings,
    flags: &ModelFlags,
) -> Result<([usize; 2], String), ExportError> {
    let (vision_width, _) = clip::vision_sizes(tensors)?;
    let widths = [vision_width, clip::text_width(tensors)?];
    let library = settings.defaults.filter(|defaults| defaults.heads).map(|defaults| defaults.library);
    let of_files = settings.vision_heads.zip(settings.text_heads);
    let stated = Origin::of_statement(flags.heads, of_files.map(|heads| (heads, statement(library))));
    let fault = |reason: String| ExportError::Setting { name: "heads".to_owned(), reason };
    let heads = match stated.value() {
        Some((vision, text)) => [vision, text],
        None => widths.map(|width| width / HEAD_WIDTH),
    };
    for (name, width, heads) in [("vision", widths[0], heads[0]), ("text", widths[1], heads[1])] {
        if stated.value().is_none() && (width == 0 || !width.is_multiple_of(HEAD_WIDTH)) {
            return Err(fault(format!(
                "the {name} tower is {width} wide, no multiple of {HEAD_WIDTH}, the width of a head in OpenAI's models; give \
                 the number of heads, --heads VISION,TEXT"
            )));
        }
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(fault(format!("{heads} heads do not share the {name} tower's width of {width} equally")));
        }
    }
    let assumed = if method != Method::Clip {
        "as the published code computes".to_owned()
    } else {
        format!("nobody says it: one head per {HEAD_WIDTH} of the width is assumed")
    };
    let show = |(vision, text)| format!("{vision} and {text}");
    let origin = stated.describe("--heads", show, &assumed);
    Ok((heads, format!("{} (vision), {} (text), {origin}", heads[0], heads[1])))
}

/// Activations of the vision and the text tower, and who says so.
pub(super) fn decide_activations(
    tensors: &Tensors<'_>,
    method: Method,
    settings: &RunSettings,
    flags: &ModelFlags,
) -> ([Activation; 2], String) {
    let given = flags.activation.map(|activation| (activation, activation));
    let library = settings.defaults.filter(|defaults| defaults.activation).map(|defaults| defaults.library);
    let of_files = settings.vision_activation.zip(settings.text_activation);
    let stated = Origin::of_statement(given, of_files.map(|activations| (activations, statement(library))));
    let (vision, text) = stated.value().unwrap_or((Activation::QuickGelu, Activation::QuickGelu));
    let show = |(vision, text): (Activation, Activation)| {
        if vision == text { vision.to_string() } else { format!("{vision} (vision), {text} (text)") }
    };
    let assumed = if method != Method::Clip {
        "as the published code computes"
    } else if tensors.contains(IMAGE_SIDE) {
        "as in OpenAI's archives"
    } else {
        "nobody says it: assumed, as OpenAI's models have it; most of OpenCLIP's own want --activation gelu"
    };
    let origin = stated.describe("--activation", show, assumed);
    ([vision, text], format!("{}, {origin}", show((vision, text))))
}

fn statement(library: Option<&'static str>) -> Statement {
    library.map_or(Statement::Written, Statement::LeftTo)
}
