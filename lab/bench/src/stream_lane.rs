//! A stream that stays open for a whole run: items go in as they are due, answers come back in any order.

use crate::encoder_calls::{Client, Fault, StreamItem, stream_answer};
use crate::sender::{Due, PAUSE_AFTER_FAILURE, Sender};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;
use tonic::Code;

/// One stream; when it breaks, what it had not answered has failed, and it is opened again.
#[derive(Debug)]
pub(crate) struct StreamLane {
    sender: Sender,
    shared: Arc<Mutex<Conversation>>,
}

/// One life of the stream.
#[derive(Debug)]
struct Conversation {
    into_stream: mpsc::Sender<StreamItem>,
    unanswered: HashMap<u64, Due>,
    next_id: u64,
}

impl StreamLane {
    /// Opens the stream in the background. Never more than `capacity` items may be unanswered at a time.
    pub(crate) fn open(client: Client, sender: Sender, capacity: usize) -> Self {
        let (into_stream, items) = mpsc::channel(capacity.max(1));
        let conversation = Conversation { into_stream, unanswered: HashMap::new(), next_id: 0 };
        let shared = Arc::new(Mutex::new(conversation));
        let keep = keep_open(client, sender.clone(), shared.clone(), items, capacity.max(1));
        sender.tasks.spawn_on(sender.cut_off.clone().run_until_cancelled_owned(keep), &sender.runtime);
        Self { sender, shared }
    }

    pub(crate) fn send(&self, due: Due) {
        let position = self.sender.position.fetch_add(1, Ordering::Relaxed);
        self.sender.recorder.sent(due.at);
        let mut conversation = lock(&self.shared);
        let id = conversation.next_id;
        conversation.next_id += 1;
        // There is room: the capacity is the number of permits. The stream may just have ended, and then the item is
        // in the list of what has failed with it.
        let _ = conversation.into_stream.try_send(StreamItem { id, position });
        conversation.unanswered.insert(id, due);
    }
}

async fn keep_open(
    client: Client,
    sender: Sender,
    shared: Arc<Mutex<Conversation>>,
    mut items: mpsc::Receiver<StreamItem>,
    capacity: usize,
) {
    loop {
        let fault = converse(client.clone(), &sender, &shared, items).await;
        let (into_stream, next_items) = mpsc::channel(capacity);
        items = next_items;
        let failed = {
            let mut conversation = lock(&shared);
            conversation.into_stream = into_stream;
            std::mem::take(&mut conversation.unanswered)
        };
        let now = Instant::now();
        for due in failed.values() {
            sender.recorder.answered(due.at, now, Err(fault.clone()));
        }
        tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        drop(failed);
    }
}

/// Reads answers until the stream ends, and tells why it did.
async fn converse(
    client: Client,
    sender: &Sender,
    shared: &Mutex<Conversation>,
    items: mpsc::Receiver<StreamItem>,
) -> Fault {
    let mut answers = match sender.items.open_stream(client, items, sender.priority).await {
        Ok(answers) => answers,
        Err(fault) => return fault,
    };
    loop {
        match answers.message().await {
            Ok(Some(message)) => {
                let (id, result) = stream_answer(message);
                let Some(due) = id.and_then(|id| lock(shared).unanswered.remove(&id)) else {
                    return Fault { code: Code::Unknown, message: "an answer to nothing that was asked".to_owned() };
                };
                let failed = result.is_err();
                sender.recorder.answered(due.at, Instant::now(), result);
                if failed {
                    sender.tasks.spawn(pause(due));
                }
            }
            Ok(None) => return Fault { code: Code::Unavailable, message: "the stream ended".to_owned() },
            Err(status) => return status.into(),
        }
    }
}

async fn pause(due: Due) {
    tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
    drop(due);
}

fn lock(shared: &Mutex<Conversation>) -> MutexGuard<'_, Conversation> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
