//! What a watch looks for, in words and in JSON.

use descry_proto::search::v1::watch_part::What;
use descry_proto::search::v1::{Watch, WatchPart};
use serde_json::{Value, json};

/// In one line; empty where the service does not keep descriptions.
pub(super) fn words(watch: &Watch) -> String {
    watch.parts.iter().map(part).collect::<Vec<_>>().join("; ")
}

fn part(part: &WatchPart) -> String {
    let what = match &part.what {
        Some(What::Text(text)) => text.clone(),
        Some(What::ImageId(image_id)) => format!("like {image_id}"),
        Some(What::Unnamed(())) | None => "an image that is not kept".to_owned(),
    };
    if part.weight < 0.0 { format!("not {what}") } else { what }
}

/// For programs: the parts, in order.
pub(super) fn parts_json(watch: &Watch) -> Value {
    let part = |part: &WatchPart| match &part.what {
        Some(What::Text(text)) => json!({ "text": text, "weight": part.weight }),
        Some(What::ImageId(image_id)) => json!({ "image_id": image_id, "weight": part.weight }),
        Some(What::Unnamed(())) | None => json!({ "weight": part.weight }),
    };
    watch.parts.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_programs_read_the_same() {
        let what = |what, weight| WatchPart { what: Some(what), weight };
        let parts = vec![
            what(What::Text("a man in red".to_owned()), 1.0),
            what(What::ImageId("c1/a.jpg".to_owned()), 1.0),
            what(What::Text("a bag".to_owned()), -0.5),
            what(What::Unnamed(()), 1.0),
        ];
        let watch = Watch { parts, ..Watch::default() };
        assert_eq!(words(&watch), "a man in red; like c1/a.jpg; not a bag; an image that is not kept");
        let json = parts_json(&watch);
        assert_eq!(json[2], json!({ "text": "a bag", "weight": -0.5 }));
        assert_eq!((&json[1]["image_id"], &json[3]), (&json!("c1/a.jpg"), &json!({ "weight": 1.0 })));
        assert_eq!(words(&Watch::default()), "");
    }
}
