//! The size of images, as people type it.

/// Reads a size such as `384x128`: height, then width, both in pixels.
///
/// # Errors
/// What was expected, for the command line to print.
pub fn parse(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('x').and_then(|(height, width)| Some((height.parse().ok()?, width.parse().ok()?)));
    parts.ok_or_else(|| "expected HEIGHTxWIDTH in pixels, such as 384x128".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_height_comes_first() {
        assert_eq!(parse("384x128"), Ok((384, 128)));
        for wrong in ["", "384", "384x", "x128", "384*128", "-1x2", "384x128x3"] {
            assert!(parse(wrong).unwrap_err().contains("HEIGHTxWIDTH"), "{wrong}");
        }
    }
}
