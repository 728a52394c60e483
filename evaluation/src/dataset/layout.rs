//! The three published data set layouts, and where a data set lies on disk.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::EvaluationError;

/// How a data set's annotation file is called and written. Images are under `imgs/` in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatasetLayout {
    /// CUHK-PEDES: `reid_raw.json`, entries with `split`, `id`, `file_path`, `captions`.
    CuhkPedes,
    /// ICFG-PEDES: `ICFG-PEDES.json`, entries as in CUHK-PEDES.
    IcfgPedes,
    /// RSTPReid: `data_captions.json`, entries with `split`, `id`, `img_path`, `captions`.
    #[serde(rename = "rstpreid")]
    RstpReid,
}

impl DatasetLayout {
    /// Every layout, for help texts.
    pub const ALL: [Self; 3] = [Self::CuhkPedes, Self::IcfgPedes, Self::RstpReid];

    /// Name on the command line and in reports; [`FromStr`] reads it back.
    pub fn name(self) -> &'static str {
        match self {
            Self::CuhkPedes => "cuhk-pedes",
            Self::IcfgPedes => "icfg-pedes",
            Self::RstpReid => "rstpreid",
        }
    }

    /// Name of the annotation file, directly in the data set's folder.
    pub fn annotation_file(self) -> &'static str {
        match self {
            Self::CuhkPedes => "reid_raw.json",
            Self::IcfgPedes => "ICFG-PEDES.json",
            Self::RstpReid => "data_captions.json",
        }
    }

    /// Name of the data set's folder as its authors and the published training code call it.
    pub fn published_folder(self) -> &'static str {
        match self {
            Self::CuhkPedes => "CUHK-PEDES",
            Self::IcfgPedes => "ICFG-PEDES",
            Self::RstpReid => "RSTPReid",
        }
    }

    /// The layout whose annotation file lies in `root` or in a folder of the data set's name there; `None` for a folder
    /// that is no data set.
    pub fn detect(root: &Path) -> Option<Self> {
        Self::ALL.into_iter().find(|layout| layout.locate(root).is_ok())
    }

    /// Finds the data set's own folder, which may be `root` or directly in it.
    pub(super) fn locate(self, root: &Path) -> Result<PathBuf, EvaluationError> {
        if !root.is_dir() {
            return Err(EvaluationError::NotAFolder { root: root.to_owned() });
        }
        for folder in [root.to_owned(), root.join(self.published_folder())] {
            if folder.join(self.annotation_file()).is_file() {
                return Ok(folder);
            }
        }
        let mut folders = self.subfolders_with_annotations(root)?;
        folders.sort();
        match folders.len() {
            0 => Err(EvaluationError::MissingAnnotation {
                root: root.to_owned(),
                annotation_file: self.annotation_file(),
                published_folder: self.published_folder(),
            }),
            1 => Ok(folders.swap_remove(0)),
            _ => Err(EvaluationError::AmbiguousRoot {
                root: root.to_owned(),
                annotation_file: self.annotation_file(),
                folders: folders
                    .iter()
                    .filter_map(|folder| folder.file_name())
                    .map(|name| name.to_string_lossy().into_owned())
                    .collect(),
            }),
        }
    }

    fn subfolders_with_annotations(self, root: &Path) -> Result<Vec<PathBuf>, EvaluationError> {
        let unreadable = |source| EvaluationError::Unreadable { path: root.to_owned(), source };
        let mut folders = Vec::new();
        for entry in fs::read_dir(root).map_err(unreadable)? {
            let folder = entry.map_err(unreadable)?.path();
            if folder.join(self.annotation_file()).is_file() {
                folders.push(folder);
            }
        }
        Ok(folders)
    }
}

impl fmt::Display for DatasetLayout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for DatasetLayout {
    type Err = EvaluationError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|layout| layout.name() == name).ok_or_else(|| EvaluationError::UnknownLayout {
            name: name.chars().take(80).collect(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for layout in DatasetLayout::ALL {
            assert_eq!(layout.to_string().parse::<DatasetLayout>().unwrap(), layout);
        }
        let message = "cuhk".parse::<DatasetLayout>().unwrap_err().to_string();
        assert_eq!(message, r#"unknown data set layout "cuhk"; known are cuhk-pedes, icfg-pedes, rstpreid"#);
    }
}
