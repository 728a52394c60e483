//! The behaviours of the whole system, one module each.

// Without this, lints count helpers of an integration test as shipped code.
#![cfg(test)]

// Who may do what, call by call, and with which tokens.
mod access;
// What the whole service finds, against exact float32.
mod accuracy;
// The audit log: each request leaves its record before it is answered, whatever happens to the service.
mod audit;
// A tower that fails run after run takes the health of its services along.
mod broken_tower;
// What scores mean: probabilities after a gallery was calibrated, none before.
mod calibration;
// The stack of docker-compose.yml: its order, its users, its volumes.
mod compose;
// Images that cost much in few bytes: who sends them waits, and others do not.
mod costly_images;
// Images that cannot be read are passed over, named, and removed where it is asked for.
mod damaged_gallery;
// Erasing a person, a track or an image: gone from everywhere, and kept away.
mod erasure;
// What is deleted is in no file a moment later.
mod erased_data;
// Data sets in the public layouts through `descry eval`, and the demo's gallery against PyTorch's results.
mod evaluation;
// Checkpoints from a hub or an address, and every command of the list of published models.
mod distant_checkpoints;
// Several encoders of one model: one stops, is killed, and comes back, and no search is lost.
mod encoders;
// Checkpoints and flags that `descry export` must refuse, by name; sameness of what it writes.
mod exports;
// Number formats below float32, and devices.
mod forms;
// A bundle of every family behind the services; what RDE's selection of tokens must keep to.
mod families;
// The one command for a machine with a GPU, rehearsed without one.
mod gpu_check;
// Legal holds: what is held stays as it is, whoever wants it gone.
mod holds;
// Input made to break things: each gives its named error, and the service goes on.
mod hostile_input;
// Requests that are no requests, byte by byte.
mod hostile_messages;
// Two services over one store, in every order that a seed draws.
mod interleavings;
// Callers that give up in crowds: the rest is refused as overload and nothing else, and afterwards all is as before.
mod impatient_callers;
// The command line as its users run it: filling galleries, looking after them, moving and searching them.
mod jobs;
// Killed processes: nothing acknowledged is lost, nothing is doubled.
mod killed_service;
// Twenty killed search services: while indexing, during a model change, while sweeping.
mod seeded_kills;
// `descry train` and the lab's other commands, which a second program runs.
mod lab;
// What becomes of galleries and images that are there: settings, pages, changes, removal, copies, retention.
mod lifecycle;
// Requests beyond what is allowed: each is refused by name, and the gallery is searched as before.
mod limits;
// What replies cost in memory: measurements, run by hand.
mod load_measurements;
// Galleries that change their model while they serve, and the command that does it, killed again and again.
mod model_change;
// What an operator sees: traces, deadlines and metrics through both services.
mod observability;
// Images that lie on their side, as they are stored and upright.
mod orientation;
// More requests than the services can work on.
mod overload;
// The search service on Qdrant: what a search costs there, how thoroughly it looks, and what it misses.
mod qdrant_service;
// What can be asked of a gallery: parts, rankings, filters, feedback; and what needs no encoder.
mod queries;
// Answers that do not fit into one reply: each says how to go on.
mod reply_sizes;
// Both services over gRPC: galleries, indexing, searching, health, reflection.
mod services;
// What several modules stand on: commands, crops, computed models, random numbers, waiting.
mod stands;
// The promises of `VectorStore`, against every store.
mod store_contract;
// Places for streams: one caller leaves some to others, and who does nothing with its own loses it.
mod stream_places;
// The encoder's streams, priorities, timings and what it says of its device.
mod streams;
// The rules of the repository itself.
mod structure;
// TLS between all parts, and what each says of certificates that are no good.
mod tls;
// Exported towers against the published code's outputs.
mod towers;
// From nothing to a bundle: `descry synth`, `train`, `export` and `eval`, interrupted, misused and with damaged images.
mod training;
// Standing searches: what is newly indexed streams to those who watch for it, once.
mod watches;
