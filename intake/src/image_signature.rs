//! What an image is by its first bytes, where its name does not say it.

/// Whether content begins as an image does that is decoded.
pub(crate) fn is_read(content: &[u8]) -> bool {
    let is_webp = content.starts_with(b"RIFF") && content.get(8..12) == Some(b"WEBP");
    is_webp || [JPEG_START, b"\x89PNG\r\n\x1a\n", b"BM"].iter().any(|start| content.starts_with(start))
}

/// Whether content begins as a JPEG does.
pub(crate) fn is_jpeg(content: &[u8]) -> bool {
    content.starts_with(JPEG_START)
}

const JPEG_START: &[u8] = b"\xff\xd8\xff";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_their_first_bytes() {
        for start in [b"\xff\xd8\xff\xe0".as_slice(), b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 ", b"BM\0\0"] {
            assert!(is_read(start), "{start:?}");
        }
        for start in [b"".as_slice(), b"GIF89a", b"RIFF\0\0\0\0WAVE", b"II*\0", b"\0\0\0\x1cftypheic"] {
            assert!(!is_read(start), "{start:?}");
        }
    }
}
