//! Sends images and collects their acknowledgements, over as many streams as it takes.

use super::Job;
use super::reader::{ReadImage, Step};
use crate::ClientError;
use crate::connection::Service;
use crate::metadata::source_of;
use crate::retry::{Retries, is_transient};
use descry_intake::FileVersion;
use descry_proto::search::v1::index_images_request::{Image, Message, Start};
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::{IndexImagesRequest, IndexImagesResponse};
use descry_proto::status::v1::ItemError;
use std::collections::{HashMap, VecDeque};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

/// Images that were sent and not answered, kept for sending them again. Enough for several of the service's batches.
const MAX_IN_FLIGHT: usize = 512;
const MAX_BYTES_IN_FLIGHT: usize = 64 << 20;
/// Requests that wait for the connection.
const REQUESTS_AHEAD: usize = 8;

/// Sends what is read until everything is answered or the job is stopped. A stream that breaks is opened again, and what
/// was not answered is sent again. Returns whether the input was taken up to its end.
pub(crate) async fn send_images(
    service: &mut Service,
    start: &Start,
    steps: mpsc::Receiver<Step>,
    job: &mut Job<'_>,
) -> Result<bool, ClientError> {
    let retries = Retries::new(job.retry_for());
    let in_flight = HashMap::new();
    let (bytes_in_flight, numbered, input) = (0, 0, Input::Open);
    let mut sending = Sending { job, steps, in_flight, bytes_in_flight, numbered, input, retries };
    loop {
        match sending.stream(service, start).await? {
            StreamEnd::Complete => break,
            StreamEnd::Broken(_) if sending.job.stop.is_cancelled() => break,
            StreamEnd::Broken(status) => {
                let waited = sending.wait(&status).await;
                sending.job.tick()?;
                waited.map_err(|error| sending.job.broken_off(error))?;
            }
        }
    }
    let Sending { job, in_flight, input, .. } = sending;
    job.leave_unanswered(in_flight.len());
    Ok(input == Input::Ended)
}

/// How a stream ended.
enum StreamEnd {
    /// Everything was answered.
    Complete,
    Broken(Status),
}

/// Whether there is more to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    Ended,
    /// There may be more, but the job is to stop.
    Stopped,
}

/// An image that was taken up and not answered.
struct Flight {
    image: Image,
    origin: String,
    version: FileVersion,
    /// Its place in the order of the input.
    number: u64,
    /// Since when the service has refused it for reasons of its own.
    refused_since: Option<Instant>,
}

struct Sending<'a, 'b> {
    job: &'a mut Job<'b>,
    steps: mpsc::Receiver<Step>,
    in_flight: HashMap<String, Flight>,
    bytes_in_flight: usize,
    numbered: u64,
    input: Input,
    retries: Retries,
}

impl Sending<'_, '_> {
    async fn stream(&mut self, service: &mut Service, start: &Start) -> Result<StreamEnd, ClientError> {
        let (requests, outgoing) = mpsc::channel(REQUESTS_AHEAD);
        let first = IndexImagesRequest { message: Some(Message::Start(start.clone())) };
        // Its other end is at hand, and the channel empty.
        let _ = requests.send(first).await;
        let mut replies = match service.index_images(ReceiverStream::new(outgoing)).await {
            Ok(replies) => replies.into_inner(),
            Err(status) => return Ok(StreamEnd::Broken(status)),
        };
        // None once the service is told that nothing follows.
        let mut requests = Some(requests);
        let mut again = self.unanswered();
        let mut next: Option<IndexImagesRequest> = None;
        let mut ticker = Job::ticker();
        let stop = self.job.stop.clone();
        loop {
            while next.is_none()
                && let Some(image_id) = again.pop_front()
            {
                next = self.in_flight.get(&image_id).map(|flight| request(&flight.image));
            }
            if next.is_none() && self.input != Input::Open {
                requests = None;
            }
            let is_open = self.input == Input::Open;
            let may_take = is_open && next.is_none() && requests.is_some() && self.has_room();
            tokio::select! {
                reply = replies.message() => match reply {
                    Ok(Some(reply)) => {
                        if let Some(status) = self.settle(reply)? {
                            return Ok(StreamEnd::Broken(status));
                        }
                    }
                    Ok(None) if !is_open && self.in_flight.is_empty() => return Ok(StreamEnd::Complete),
                    Ok(None) => {
                        let status = Status::unavailable("the service ended the stream before everything was answered");
                        return Ok(StreamEnd::Broken(status));
                    }
                    Err(status) => return Ok(StreamEnd::Broken(status)),
                },
                is_sent = send(requests.as_ref(), next.as_ref()), if next.is_some() => {
                    next = None;
                    if !is_sent {
                        // The stream broke; its replies tell why.
                        requests = None;
                    }
                }
                step = self.steps.recv(), if may_take => next = self.take_up(step)?,
                () = stop.cancelled(), if is_open => {
                    self.input = Input::Stopped;
                    // The reading thread ends when nobody takes its images.
                    self.steps.close();
                }
                _ = ticker.tick() => self.job.tick()?,
            }
        }
    }

    /// What a broken stream left, in the order of the input.
    fn unanswered(&self) -> VecDeque<String> {
        let mut left: Vec<(u64, &String)> =
            self.in_flight.iter().map(|(image_id, flight)| (flight.number, image_id)).collect();
        left.sort_unstable();
        left.into_iter().map(|(_, image_id)| image_id.clone()).collect()
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < MAX_IN_FLIGHT && self.bytes_in_flight < MAX_BYTES_IN_FLIGHT
    }

    /// Deals with what was read; returns what is to be sent of it.
    fn take_up(&mut self, step: Option<Step>) -> Result<Option<IndexImagesRequest>, ClientError> {
        match step {
            None => self.input = Input::Ended,
            Some(Step::Known) => self.job.skip_known(1),
            Some(Step::Failed(failure)) => self.job.fail(failure)?,
            Some(Step::Image(read)) => {
                let ReadImage { image, origin, version, _room } = *read;
                let request = request(&image);
                self.bytes_in_flight += image.content.len();
                self.numbered += 1;
                let (image_id, number) = (image.image_id.clone(), self.numbered);
                self.in_flight.insert(image_id, Flight { image, origin, version, number, refused_since: None });
                return Ok(Some(request));
            }
        }
        Ok(None)
    }

    /// Notes an answer. Returns the reason where the image has to be sent again.
    fn settle(&mut self, reply: IndexImagesResponse) -> Result<Option<Status>, ClientError> {
        let IndexImagesResponse { image_id, outcome } = reply;
        // An image that was answered is reported once, whatever a service says of it later.
        let Some(flight) = self.in_flight.get_mut(&image_id) else { return Ok(None) };
        let outcome = match outcome {
            Some(Outcome::Indexed(indexed)) => Ok(indexed),
            Some(Outcome::Error(ItemError { code, message, reason })) => {
                let status = Status::new(Code::from_i32(code), message);
                let refused_since = *flight.refused_since.get_or_insert_with(Instant::now);
                if is_transient(&status) && refused_since.elapsed() < self.job.retry_for() {
                    return Ok(Some(status));
                }
                Err((status, reason))
            }
            None => Err((Status::unknown("the service gave no outcome"), String::new())),
        };
        if let Some(Flight { image, origin, version, .. }) = self.in_flight.remove(&image_id) {
            self.bytes_in_flight -= image.content.len();
            match outcome {
                Ok(indexed) => {
                    self.retries.succeed();
                    let source = image.metadata.as_ref().and_then(source_of);
                    self.job.acknowledge(&image_id, &version, source, &indexed)?;
                }
                Err((status, reason)) => self.job.refuse((image_id, origin), &status, &reason)?,
            }
        }
        Ok(None)
    }

    /// Waits before the next stream, as long as the job is not to stop.
    async fn wait(&mut self, status: &Status) -> Result<(), ClientError> {
        let stop = self.job.stop.clone();
        let mut ticker = Job::ticker();
        let wait = self.retries.wait(status);
        tokio::pin!(wait);
        loop {
            tokio::select! {
                waited = &mut wait => return waited,
                () = stop.cancelled() => return Ok(()),
                _ = ticker.tick() => self.job.tick()?,
            }
        }
    }
}

fn request(image: &Image) -> IndexImagesRequest {
    IndexImagesRequest { message: Some(Message::Image(image.clone())) }
}

/// Whether the request is on its way. Nothing is lost when this is dropped before it is done.
async fn send(requests: Option<&mpsc::Sender<IndexImagesRequest>>, next: Option<&IndexImagesRequest>) -> bool {
    let (Some(requests), Some(next)) = (requests, next) else { return std::future::pending().await };
    requests.send(next.clone()).await.is_ok()
}
