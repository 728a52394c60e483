//! Text files that name images, one a line.

use crate::IntakeError;
use crate::text_lines::TextLines;
use std::path::{MAIN_SEPARATOR_STR, Path, PathBuf};

/// Largest list, in bytes: millions of paths.
const MAX_LIST_BYTES: u64 = 1 << 30;

/// Most images of a list. They take some hundred bytes each, however short their names are.
const MAX_IMAGES: usize = 50_000_000;

/// Image ids and files of a list, in its order. Blank lines and lines that begin with `#` are left out; relative names
/// start at `root`, or at the list's folder.
///
/// # Errors
/// As [`TextLines`]; [`IntakeError::Malformed`] for more than 50 million images.
pub(crate) fn read_file_list(list: &Path, root: Option<&Path>) -> Result<Vec<(String, PathBuf)>, IntakeError> {
    read_at_most(list, root, MAX_IMAGES)
}

fn read_at_most(list: &Path, root: Option<&Path>, max_images: usize) -> Result<Vec<(String, PathBuf)>, IntakeError> {
    let folder = root.or(list.parent()).unwrap_or(Path::new(""));
    let mut files = Vec::new();
    for line in TextLines::open(list, MAX_LIST_BYTES)? {
        let (_, name) = line?;
        if !name.starts_with('#') {
            if files.len() == max_images {
                return Err(IntakeError::malformed(list, format!("it names over {max_images} images; split it")));
            }
            files.push((image_id(&name), folder.join(&name)));
        }
    }
    Ok(files)
}

/// The name as written, with `/` between its parts and without `./` before them.
fn image_id(name: &str) -> String {
    let slashed = name.replace(MAIN_SEPARATOR_STR, "/");
    let mut rest = slashed.as_str();
    while let Some(shorter) = rest.strip_prefix("./") {
        rest = shorter.trim_start_matches('/');
    }
    rest.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_start_at_the_list_or_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("train.txt");
        std::fs::write(&list, "# split\n./a/1.jpg\n\nb.jpg\n/far/c.jpg\n").unwrap();
        let files = read_file_list(&list, None).unwrap();
        let ids: Vec<&str> = files.iter().map(|(image_id, _)| image_id.as_str()).collect();
        assert_eq!(ids, ["a/1.jpg", "b.jpg", "/far/c.jpg"]);
        assert_eq!(files[1].1, folder.path().join("b.jpg"));
        assert_eq!(files[2].1, Path::new("/far/c.jpg"));
        assert_eq!(read_file_list(&list, Some(Path::new("/root"))).unwrap()[1].1, Path::new("/root/b.jpg"));
        assert_eq!(read_at_most(&list, None, 3).unwrap().len(), 3);
        assert!(read_at_most(&list, None, 2).unwrap_err().to_string().contains("over 2 images"));
    }
}
