//! What the columns of a table of metadata are called, and what becomes of those that say nothing of images.

use crate::record::IMAGE_ID;

/// Columns that name the image where no `image_id` does.
const FILE_NAMES: [&str; 2] = ["filename", "file_name"];

/// Columns that people name images with, in many forms; which one is meant, they have to say.
const PERHAPS_NAMES: [&str; 12] = [
    "path",
    "file_path",
    "filepath",
    "img_path",
    "image_path",
    "image",
    "img",
    "image_name",
    "img_name",
    "file",
    "name",
    "id",
];

/// The columns of a table, in their order.
pub(crate) struct TableColumns {
    /// The names, or nothing for a column that is left out.
    pub(crate) names: Vec<Option<String>>,
    /// What is to be said of columns that are left out.
    pub(crate) notes: Vec<String>,
}

impl TableColumns {
    /// Reads a table's header.
    ///
    /// # Errors
    /// Names a column that stands there twice.
    pub(crate) fn of<'a>(header: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut columns = Self { names: Vec::new(), notes: Vec::new() };
        for (index, name) in header.enumerate() {
            let name = name.trim();
            if is_row_number(name) {
                let what = if name.is_empty() { "has no name".to_owned() } else { format!("is called `{name}`") };
                columns.notes.push(format!(
                    "column {} {what} and is left out; pandas writes the numbers of rows there, but for \
                     `index=False`",
                    index + 1
                ));
                columns.names.push(None);
                continue;
            }
            if columns.names.iter().flatten().any(|known| known == name) {
                return Err(format!("the column `{name}` stands there twice; keep one of them"));
            }
            columns.names.push(Some(name.to_owned()));
        }
        Ok(columns)
    }
}

/// Whether pandas called a column so because nobody gave it a name.
fn is_row_number(name: &str) -> bool {
    let number = name.strip_prefix("Unnamed: ").or_else(|| name.strip_prefix("__index_level_")?.strip_suffix("__"));
    name.is_empty()
        || number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The field that names the image, and what is to be said of it where it is not `image_id`.
///
/// # Errors
/// What there is instead, and what to do.
pub(crate) fn image_id_field<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<(&'static str, Option<String>), String> {
    let has = |wanted: &&str| names.clone().any(|name| name == *wanted);
    if has(&IMAGE_ID) {
        return Ok((IMAGE_ID, None));
    }
    if let Some(name) = FILE_NAMES.into_iter().find(has) {
        return Ok((name, Some(format!("there is no `image_id`; `{name}` is taken for the image's id"))));
    }
    let found: Vec<String> = names.clone().take(20).map(|name| format!("`{name}`")).collect();
    let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
    let advice =
        PERHAPS_NAMES.into_iter().find(has).map(|name| format!("; if `{name}` does so, rename it to `image_id`"));
    Err(format!(
        "no `image_id`, which names the image as the input does; there is {found}{}",
        advice.unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pandas_row_numbers_are_left_out() {
        let columns = TableColumns::of(["", " image_id", "person_id ", "Unnamed: 3", "__index_level_0__"].into_iter());
        let columns = columns.unwrap();
        let names: Vec<Option<&str>> = columns.names.iter().map(Option::as_deref).collect();
        assert_eq!(names, [None, Some("image_id"), Some("person_id"), None, None]);
        assert!(columns.notes.len() == 3 && columns.notes[0].contains("column 1"), "{:?}", columns.notes);
        let kept = ["Unnamed: x", "index", "__index_level__", "Unnamed"];
        assert!(TableColumns::of(kept.into_iter()).unwrap().notes.is_empty());
        assert!(TableColumns::of(["a", "b", "a "].into_iter()).err().unwrap().contains("`a`"));
    }

    #[test]
    fn images_are_named_by_their_id_or_their_file() {
        let field = |names: &[&'static str]| image_id_field(names.iter().copied());
        assert_eq!(field(&["filename", "image_id"]).unwrap(), ("image_id", None));
        let (name, note) = field(&["pid", "file_name"]).unwrap();
        assert!(name == "file_name" && note.unwrap().contains("`file_name`"));
        let message = field(&["pid", "img_path"]).unwrap_err();
        assert!(message.contains("rename it to `image_id`") && message.contains("`pid`"), "{message}");
        assert!(field(&[]).unwrap_err().contains("nothing"));
    }
}
