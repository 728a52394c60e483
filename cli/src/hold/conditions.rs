//! What a hold keeps, in words.

use crate::time::time_text;
use descry_proto::search::v1::Filter;

/// Names of one list that are shown.
const SHOWN: usize = 3;

/// The conditions that all hold for what is kept; all of the gallery where there is none.
pub(super) fn conditions(filter: Option<&Filter>) -> String {
    let Some(filter) = filter else { return "all of the gallery".to_owned() };
    let mut said = Vec::new();
    let lists = [
        ("image", &filter.image_ids),
        ("person", &filter.person_ids),
        ("camera", &filter.camera_ids),
        ("track", &filter.track_ids),
    ];
    said.extend(lists.into_iter().filter(|(_, values)| !values.is_empty()).map(|(what, values)| any_of(what, values)));
    said.extend(filter.attributes.iter().map(|attribute| any_of(&attribute.name, &attribute.values)));
    let times = [
        ("captured from", filter.captured_from),
        ("captured before", filter.captured_before),
        ("indexed from", filter.indexed_from),
        ("indexed before", filter.indexed_before),
    ];
    said.extend(
        times.into_iter().filter(|(_, time)| time.is_some()).map(|(what, at)| format!("{what} {}", time_text(at))),
    );
    for without in &filter.none {
        said.push(format!("not ({})", conditions(Some(without))));
    }
    if !filter.all.is_empty() || !filter.any.is_empty() {
        said.push("further conditions".to_owned());
    }
    said.join(", ")
}

fn any_of(what: &str, values: &[String]) -> String {
    let shown = values.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(" or ");
    let left_out = values.len().saturating_sub(SHOWN);
    if left_out > 0 { format!("{what} {shown} or {left_out} more") } else { format!("{what} {shown}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_as_a_sentence() {
        assert_eq!(conditions(None), "all of the gallery");
        let names = |count: usize| (1..=count).map(|number| number.to_string()).collect::<Vec<_>>();
        let not = Filter { camera_ids: vec!["c1".to_owned()], ..Filter::default() };
        let filter = Filter { person_ids: names(2), image_ids: names(5), none: vec![not], ..Filter::default() };
        assert_eq!(conditions(Some(&filter)), "image 1 or 2 or 3 or 2 more, person 1 or 2, not (camera c1)");
    }
}
