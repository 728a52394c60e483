//! Killed under load, again and again: no search that was answered is missing in the log.

use super::stand::{GALLERY, all_records, fill};
use crate::stands::Client;
use crate::stands::alone::free_address;
use crate::stands::computed::ComputedModel;
use crate::stands::polling::until;
use crate::stands::random::Random;
use descry_audit::verify;
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::{EmbeddingPart, QueryPart, SearchRequest};
use descry_tests::program;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;
use tonic::Request;

const KILLS: u64 = 20;
const SEED: u64 = 20_261_129;

/// Who ask at the same time.
const CALLERS: u64 = 3;

/// Attempts to find a port that nobody else takes in between.
const ATTEMPTS: u32 = 5;

/// Killed when dropped.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answered_search_is_missing_after_twenty_kills() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("search.yaml");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let yaml = format!(
        "encoder: {{url: 'http://{}'}}\n\
         embedded: {{path: '{}'}}\n\
         audit: {{folder: '{}', instance: one, max_file_bytes: 20000}}\n\
         log: {{filter: error}}\n",
        free_address(),
        path("galleries.sqlite3"),
        path("audit")
    );
    fs::write(&settings, yaml).unwrap();
    let (model, mut random) = (ComputedModel::named("first"), Random::new(SEED));
    let answered = Arc::<Mutex<BTreeSet<String>>>::default();
    for round in 0..KILLS {
        let (service, mut client) = start(&settings).await;
        if round == 0 {
            fill(&mut client, &model, 3).await;
        }
        let before = answered.lock().unwrap().len();
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let name = format!("{round}-{caller}");
            callers.spawn(ask(client.clone(), model.clone(), name, Arc::clone(&answered)));
        }
        let wanted = before + random.within(1..=25) as usize;
        until("searches are answered", async || (answered.lock().unwrap().len() >= wanted).then_some(())).await;
        // SIGKILL: no chance to finish anything.
        drop(service);
        while let Some(ended) = callers.join_next().await {
            ended.unwrap();
        }
    }
    let log = folder.path().join("audit/one");
    let recorded: BTreeSet<String> = all_records(&log).into_iter().filter_map(|record| record.case_number).collect();
    let answered = answered.lock().unwrap();
    let missing: Vec<_> = answered.difference(&recorded).collect();
    assert!(missing.is_empty(), "answered, and not in the log: {missing:?}");
    let found = verify(&log, &[]).unwrap();
    assert_eq!(found.breaks, []);
    assert!(found.files > 1, "{found:?}");
}

/// Searches until the service is gone, and notes what was answered.
async fn ask(mut client: Client, model: ComputedModel, name: String, answered: Arc<Mutex<BTreeSet<String>>>) {
    for number in 0_u64.. {
        let case = format!("{name}-{number}");
        let values = model.embedding(case.as_bytes());
        let part = EmbeddingPart { values, fingerprint: model.fingerprint.clone() };
        let parts = vec![QueryPart { what: Some(What::Embedding(part)), weight: None }];
        let search = SearchRequest { gallery: GALLERY.to_owned(), parts, limit: 2, ..SearchRequest::default() };
        let mut request = Request::new(search);
        request.metadata_mut().insert("x-descry-case", case.parse().unwrap());
        match client.search(request).await {
            Ok(_) => drop(answered.lock().unwrap().insert(case)),
            Err(_) => return,
        }
    }
}

/// Starts the service over what the last one left.
async fn start(settings: &Path) -> (Service, Client) {
    for _ in 0..ATTEMPTS {
        let address = free_address();
        let mut command = Command::new(program("search-service"));
        command.arg("--config").arg(settings).env("DESCRY_SEARCH__SERVER__LISTEN", &address);
        let mut service = Service(command.stdout(Stdio::null()).spawn().unwrap());
        let client = until("the service answers", async || {
            match SearchServiceClient::connect(format!("http://{address}")).await {
                Ok(client) => Some(Some(client)),
                Err(_) => service.0.try_wait().unwrap().is_some().then_some(None),
            }
        })
        .await;
        if let Some(client) = client {
            return (service, client);
        }
    }
    panic!("the service does not start");
}
