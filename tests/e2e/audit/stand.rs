//! A search service with an audit log, and an encoder whose model is computed.

use crate::stands::Client;
use crate::stands::alone::SearchAlone;
use crate::stands::computed::{ComputedModel, DIMENSION};
use crate::stands::ledger::encoded_image;
use descry_audit::{Asked, Kind, QueryPart, Record, RecordFilter, Verification, records, verify};
use descry_proto::search::v1::{CreateGalleryRequest, IndexEmbeddingsRequest};
use descry_search::SearchConfig;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tonic::Request;

pub(super) const GALLERY: &str = "lobby";

/// The name of the instance.
const INSTANCE: &str = "one";

/// Runs until the test is over.
pub(super) struct AuditedService {
    service: SearchAlone,
    log: TempDir,
    pub(super) model: ComputedModel,
}

impl AuditedService {
    pub(super) async fn start(change: impl FnOnce(&mut SearchConfig)) -> Self {
        let log = tempfile::tempdir().unwrap();
        let model = ComputedModel::named("first");
        let encoder = model.clone().serve().await;
        let service = SearchAlone::start(|config| {
            config.encoder.url = encoder;
            config.audit.folder = log.path().to_owned();
            config.audit.instance = INSTANCE.to_owned();
            config.watches.poll_interval_ms = 20;
            change(config);
        })
        .await;
        Self { service, log, model }
    }

    pub(super) fn url(&self) -> &str {
        &self.service.url
    }

    pub(super) async fn client(&self) -> Client {
        self.service.client().await
    }

    /// A client, and the gallery with so many images.
    pub(super) async fn client_with_images(&self, count: usize) -> Client {
        let mut client = self.client().await;
        fill(&mut client, &self.model, count).await;
        client
    }

    /// The log of the instance.
    pub(super) fn folder(&self) -> PathBuf {
        self.log.path().join(INSTANCE)
    }

    pub(super) fn log(&self) -> &Path {
        self.log.path()
    }

    /// What the log says of requests, and of what happened beside them.
    pub(super) fn records(&self) -> Vec<Record> {
        let all = all_records(&self.folder()).into_iter();
        all.filter(|record| !matches!(record.kind, Kind::Start | Kind::File)).collect()
    }

    /// The last record of a method.
    #[track_caller]
    pub(super) fn last(&self, method: &str) -> Record {
        let rpc = Some(format!("{SERVICE}/{method}"));
        let is_of = |record: &Record| record.rpc == rpc;
        self.records().into_iter().rfind(is_of).unwrap_or_else(|| panic!("{method} left no record"))
    }

    #[track_caller]
    pub(super) fn assert_whole(&self) -> Verification {
        let found = verify(&self.folder(), &[]).unwrap();
        assert_eq!(found.breaks, []);
        found
    }

    /// The words of a query that are kept clear.
    pub(super) fn words(&self, query: &[QueryPart]) -> Vec<String> {
        let clear = |part: &QueryPart| {
            let Asked::Text(text) = &part.asked else { return None };
            Some(text.clone())
        };
        query.iter().filter_map(clear).collect()
    }
}

pub(super) const SERVICE: &str = "descry.search.v1.SearchService";

/// All records of a log.
pub(super) fn all_records(instance: &Path) -> Vec<Record> {
    let mut found = Vec::new();
    records(instance, &RecordFilter::default(), |stored| {
        found.push(stored.record);
        Ok(())
    })
    .unwrap();
    found
}

/// Creates the gallery and fills it.
pub(super) async fn fill(client: &mut Client, model: &ComputedModel, count: usize) {
    let fingerprint = model.fingerprint.clone();
    let mut request = Request::new(CreateGalleryRequest {
        name: GALLERY.to_owned(),
        fingerprint: fingerprint.clone(),
        embedding_dimension: DIMENSION as u32,
        ..CreateGalleryRequest::default()
    });
    state(&mut request);
    client.create_gallery(request).await.unwrap();
    let images = (0..count).map(|number| encoded_image(&format!("{number}.jpg"), 1, model)).collect();
    let request = IndexEmbeddingsRequest { gallery: GALLERY.to_owned(), fingerprint, images, ..Default::default() };
    let mut request = Request::new(request);
    state(&mut request);
    client.index_embeddings(request).await.unwrap();
}

fn state<Message>(request: &mut Request<Message>) {
    request.metadata_mut().insert("x-descry-purpose", "filling".parse().unwrap());
}
