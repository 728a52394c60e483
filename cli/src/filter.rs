//! Conditions on images, as several commands take them.

use crate::time::{GivenTime, parse_time};
use anyhow::Context as _;
use descry_proto::search::v1::{AttributeCondition, Filter};
use std::collections::BTreeMap;

/// Conditions that all hold.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct FilterArguments {
    /// Only this person; may be given several times.
    #[arg(long, value_name = "ID")]
    person: Vec<String>,
    /// Only this camera; may be given several times.
    #[arg(long, value_name = "ID")]
    camera: Vec<String>,
    /// Only this track; may be given several times. Tracks count within a camera.
    #[arg(long, value_name = "ID")]
    track: Vec<String>,
    /// Captured at or after this time, such as 2026-05-01T08:00:00Z; without a zone it is of --time-zone.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<GivenTime>,
    /// Captured before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    before: Option<GivenTime>,
    /// Only images with this attribute, which the gallery must declare; several values of one name: any of them.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_attribute)]
    attribute: Vec<(String, String)>,
    /// Not this person; may be given several times.
    #[arg(long, value_name = "ID")]
    not_person: Vec<String>,
    /// Not this camera; may be given several times.
    #[arg(long, value_name = "ID")]
    not_camera: Vec<String>,
}

impl FilterArguments {
    /// For the service; nothing where nothing was asked for.
    pub(crate) fn filter(&self) -> anyhow::Result<Option<Filter>> {
        let mut values_by_name: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (name, value) in &self.attribute {
            values_by_name.entry(name).or_default().push(value.clone());
        }
        let attribute = |(name, values): (&str, Vec<String>)| AttributeCondition { name: name.to_owned(), values };
        let mut none = Vec::new();
        if !self.not_person.is_empty() {
            none.push(Filter { person_ids: self.not_person.clone(), ..Filter::default() });
        }
        if !self.not_camera.is_empty() {
            none.push(Filter { camera_ids: self.not_camera.clone(), ..Filter::default() });
        }
        let filter = Filter {
            person_ids: self.person.clone(),
            camera_ids: self.camera.clone(),
            track_ids: self.track.clone(),
            captured_from: self.from.map(GivenTime::moment).transpose()?,
            captured_before: self.before.map(GivenTime::moment).transpose()?,
            attributes: values_by_name.into_iter().map(attribute).collect(),
            none,
            ..Filter::default()
        };
        Ok((filter != Filter::default()).then_some(filter))
    }
}

/// `NAME=VALUE`; the value may hold further `=`.
pub(crate) fn parse_attribute(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .with_context(|| format!("{text:?} is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_for_is_no_filter() {
        assert_eq!(FilterArguments::default().filter().unwrap(), None);
    }

    #[test]
    fn values_of_one_attribute_are_alternatives() {
        let attribute = ["coat=red", "bag=no", "coat=a=b"].map(|text| parse_attribute(text).unwrap()).to_vec();
        let not_camera = vec!["c1".to_owned()];
        let filter = FilterArguments { attribute, not_camera, ..FilterArguments::default() }.filter();
        let filter = filter.unwrap().unwrap();
        assert_eq!(filter.attributes.len(), 2);
        assert_eq!(filter.attributes[1].values, ["red", "a=b"]);
        assert_eq!(filter.none[0].camera_ids, ["c1"]);
        assert!(parse_attribute("coat").is_err() && parse_attribute("=red").is_err());
    }
}
