//! What the chunks of a PNG file say of its orientation.

use crate::orientation::ImageNotes;
use crate::png_file::Chunk;
use flate2::read::ZlibDecoder;
use std::io::Read as _;

/// As Pillow: a longer text is not unpacked.
const MAX_TEXT_BYTES: u64 = 1 << 20;
/// All texts of a file together; behind that, packed ones say nothing. A file has one, or an older one beside it.
const MAX_UNPACKED_BYTES: u64 = 4 << 20;
const XMP: &[u8] = b"XML:com.adobe.xmp";
const RAW_EXIF: &[u8] = b"Raw profile type exif";

/// Keeps what can say which way up the image is. Of two notes of a kind the last one counts.
#[derive(Default)]
pub(crate) struct NoteTaker {
    pub(crate) notes: ImageNotes,
    unpacked_bytes: u64,
}

impl NoteTaker {
    /// Looks at one chunk. Only texts of the two names that matter are unpacked.
    pub(crate) fn take(&mut self, chunk: &Chunk<'_>) {
        if chunk.checksum.is_none() {
            return;
        }
        if &chunk.name == b"eXIf" {
            self.notes.exif = Some(chunk.content.to_vec());
            return;
        }
        let Some((keyword, rest)) = split_at_zero(chunk.content) else { return };
        // An image's own chunk comes before a text.
        if keyword != XMP && !(keyword == RAW_EXIF && self.notes.exif.is_none()) {
            return;
        }
        let text = match &chunk.name {
            b"tEXt" => Some(rest.to_vec()),
            b"zTXt" => rest.strip_prefix(&[0]).and_then(|packed| self.unpack(packed)),
            b"iTXt" => self.international_text(rest),
            _ => None,
        };
        match text {
            Some(text) if keyword == XMP => self.notes.xmp = Some(text),
            Some(text) => self.notes.exif = raw_profile(&text),
            None => {}
        }
    }

    /// The text behind an `iTXt` chunk's keyword: two marks of its compression, two names, and the text.
    fn international_text(&mut self, rest: &[u8]) -> Option<Vec<u8>> {
        let (&[is_compressed, method], rest) = rest.split_first_chunk()?;
        let (_, rest) = split_at_zero(rest)?;
        let (_, text) = split_at_zero(rest)?;
        match (is_compressed, method) {
            (0, _) => Some(text.to_vec()),
            (_, 0) => self.unpack(text),
            _ => None,
        }
    }

    fn unpack(&mut self, packed: &[u8]) -> Option<Vec<u8>> {
        if self.unpacked_bytes >= MAX_UNPACKED_BYTES {
            return None;
        }
        let mut text = Vec::new();
        let read = ZlibDecoder::new(packed).take(MAX_TEXT_BYTES + 1).read_to_end(&mut text);
        // What came out before a fault has cost its time, too.
        self.unpacked_bytes += text.len() as u64;
        (read.is_ok() && text.len() as u64 <= MAX_TEXT_BYTES).then_some(text)
    }
}

fn split_at_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// The bytes of ImageMagick's text form: three lines, then hexadecimal digits.
fn raw_profile(text: &[u8]) -> Option<Vec<u8>> {
    let lines = text.split(|&byte| byte == b'\n').skip(3);
    let digits: Vec<u8> = lines.flatten().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, []) = digits.as_chunks() else { return None };
    pairs.iter().map(|&[high, low]| Some((digit(high)? << 4) | digit(low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use std::io::Write as _;

    /// A small file of many texts that are long when unpacked takes no more time than its share.
    #[test]
    fn only_texts_that_matter_are_unpacked_and_not_without_end() {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![b' '; MAX_TEXT_BYTES as usize]).unwrap();
        let packed = encoder.finish().unwrap();
        let text = |keyword: &[u8]| [keyword, &[0, 0], &packed].concat();
        let mut taker = NoteTaker::default();
        let (other, own) = (text(b"Comment"), text(XMP));
        for _ in 0..100 {
            taker.take(&Chunk { name: *b"zTXt", content: &other, checksum: Some(0) });
        }
        assert_eq!(taker.unpacked_bytes, 0);
        for _ in 0..100 {
            taker.take(&Chunk { name: *b"zTXt", content: &own, checksum: Some(0) });
        }
        assert_eq!(taker.unpacked_bytes, MAX_UNPACKED_BYTES);
        assert_eq!(taker.notes.xmp.map(|text| text.len() as u64), Some(MAX_TEXT_BYTES));
    }
}
