//! Changes of a model while others write.

use crate::service::{Scripted, State};
use descry_client::{
    Begun, ClientError, Difference, Filled, JobObserver, JobReport, ModelChange, ModelChangeObserver,
    ModelChangeOptions, PATH_ATTRIBUTE, Surplus,
};
use descry_proto::search::v1::{ImageMetadata, StoredImage};
use std::path::Path;
use tempfile::TempDir;

/// Makes a file and what a gallery says of it.
fn image(folder: &Path, image_id: &str) -> (String, StoredImage) {
    let path = folder.join(image_id);
    std::fs::write(&path, image_id).unwrap();
    let attributes = [(PATH_ATTRIBUTE.to_owned(), path.to_string_lossy().into_owned())].into();
    let metadata = Some(ImageMetadata { attributes, ..ImageMetadata::default() });
    (image_id.to_owned(), StoredImage { image_id: image_id.to_owned(), metadata, ..StoredImage::default() })
}

fn gallery(image_ids: &[&str]) -> (TempDir, State) {
    let folder = tempfile::tempdir().unwrap();
    let images = image_ids.iter().map(|image_id| image(folder.path(), image_id)).collect();
    (folder, State { generations: [(1, images)].into(), active: 1, ..State::default() })
}

async fn begin(service: &Scripted, surplus: Surplus) -> ModelChange {
    let options = ModelChangeOptions { surplus, ..ModelChangeOptions::default() };
    let fingerprint = "f".repeat(64).parse().unwrap();
    match ModelChange::begin(&service.connect(), "lobby", &fingerprint, options).await.unwrap() {
        Begun::UnderWay(change) => *change,
        Begun::Over { active, .. } => panic!("generation {active} serves already"),
    }
}

fn in_generation(service: &Scripted, generation: u32) -> Vec<String> {
    service.state().generations[&generation].keys().cloned().collect()
}

#[derive(Default)]
struct Heard {
    compared: Vec<(u64, u64)>,
    jobs: Vec<JobReport>,
}

impl JobObserver for Heard {
    fn ended(&mut self, report: &JobReport) {
        self.jobs.push(report.clone());
    }
}

impl ModelChangeObserver for Heard {
    fn compared(&mut self, examined: u64, total: u64) {
        self.compared.push((examined, total));
    }
}

#[tokio::test]
async fn a_generation_is_compared_page_after_page_filled_and_activated() {
    let (_folder, mut state) = gallery(&["a", "b", "c", "d", "e"]);
    state.failing_comparisons = 1;
    let service = Scripted::new(state);
    let change = begin(&service, Surplus::Refuse).await;
    let mut heard = Heard::default();
    let Filled::Complete(difference) = change.fill(&mut heard).await.unwrap() else { panic!("nobody stopped it") };
    let expected = Difference { images: 5, images_against: 5, is_ready: true, ..Difference::default() };
    assert_eq!(difference, expected);
    assert_eq!(heard.compared, [(2, 5), (4, 5), (2, 10), (4, 10), (6, 10), (8, 10)]);
    assert_eq!(heard.jobs.iter().map(|job| job.indexed).collect::<Vec<_>>(), [5]);
    let active = change.activate(&mut heard).await.unwrap().unwrap();
    assert_eq!((active.generation, service.state().active), (2, 2));
    assert!(service.state().activations.iter().all(|request| !request.force && !request.keep_surplus));
    change.drop_old().await.unwrap();
    assert_eq!(service.state().generations.keys().copied().collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn what_was_written_before_the_switch_is_filled_in_and_the_switch_repeated() {
    let (folder, mut state) = gallery(&["a", "b"]);
    for image_id in ["late", "later"] {
        let (name, image) = image(folder.path(), image_id);
        state.before_activation.push_back(Box::new(move |state: &mut State| {
            state.generations.get_mut(&1).unwrap().insert(name, image);
        }));
    }
    let service = Scripted::new(state);
    let change = begin(&service, Surplus::Refuse).await;
    change.fill(&mut ()).await.unwrap();
    assert!(change.activate(&mut ()).await.unwrap().is_some());
    assert_eq!(service.state().activations.len(), 3);
    assert_eq!(in_generation(&service, 2), ["a", "b", "late", "later"]);
}

#[tokio::test]
async fn a_switch_that_never_catches_up_ends_with_the_refusal() {
    let (folder, mut state) = gallery(&["a"]);
    for number in 0..100 {
        let (name, image) = image(folder.path(), &format!("late-{number}"));
        state.before_activation.push_back(Box::new(move |state: &mut State| {
            state.generations.get_mut(&1).unwrap().insert(name, image);
        }));
    }
    let service = Scripted::new(state);
    let change = begin(&service, Surplus::Refuse).await;
    let refused = change.activate(&mut ()).await.unwrap_err();
    assert_eq!((refused.code(), service.state().active), (Some(tonic::Code::FailedPrecondition), 1));
    assert_eq!(service.state().activations.len(), 10);
}

#[tokio::test]
async fn an_image_that_is_removed_meanwhile_is_no_failure() {
    let (_folder, mut state) = gallery(&["a", "b", "c"]);
    state.before_image.push_back(Box::new(|state: &mut State| {
        state.generations.get_mut(&1).unwrap().remove("c");
    }));
    let service = Scripted::new(state);
    let change = begin(&service, Surplus::Refuse).await;
    let mut heard = Heard::default();
    assert!(matches!(change.fill(&mut heard).await.unwrap(), Filled::Complete(_)));
    let [job] = &heard.jobs[..] else { panic!("{:?}", heard.jobs) };
    assert_eq!((job.indexed, job.removed_meanwhile, job.failed, job.not_sent), (2, 1, 0, 0));
    assert_eq!(in_generation(&service, 2), ["a", "b"]);
}

#[tokio::test]
async fn surplus_is_kept_or_dropped_but_never_without_a_word() {
    let lobby = || {
        let (folder, mut state) = gallery(&["a"]);
        state.generations.insert(2, [image(folder.path(), "rolled back")].into());
        (folder, Scripted::new(state))
    };
    let (_folder, service) = lobby();
    let refused = begin(&service, Surplus::Refuse).await.fill(&mut ()).await.unwrap_err();
    let ClientError::Surplus { surplus: 1, .. } = &refused else { panic!("{refused}") };
    assert!(refused.to_string().contains("rolled back") && refused.to_string().contains("--keep-surplus"));

    let (_folder, service) = lobby();
    let change = begin(&service, Surplus::Drop).await;
    change.fill(&mut ()).await.unwrap();
    assert!(change.activate(&mut ()).await.unwrap().is_some());
    assert_eq!(in_generation(&service, 2), ["a"]);

    let (_folder, service) = lobby();
    let change = begin(&service, Surplus::Keep).await;
    change.fill(&mut ()).await.unwrap();
    assert!(change.activate(&mut ()).await.unwrap().is_some());
    assert_eq!(in_generation(&service, 2), ["a", "rolled back"]);
}

#[tokio::test(start_paused = true)]
async fn files_that_are_gone_are_named_and_nothing_is_switched() {
    let (folder, state) = gallery(&["a", "b"]);
    std::fs::remove_file(folder.path().join("b")).unwrap();
    let service = Scripted::new(state);
    let change = begin(&service, Surplus::Refuse).await;
    let error = change.fill(&mut ()).await.unwrap_err();
    let ClientError::CannotEncode(report) = &error else { panic!("{error}") };
    assert_eq!((report.failed, report.first_failures[0].image_id.as_str()), (1, "b"));
    assert!(error.to_string().contains("--images") && service.state().active == 1);
}
