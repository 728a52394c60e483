//! The running server.

use crate::collections::{CollectionsService, HealthService};
use crate::engine::Engine;
use crate::faults::{Faults, RequestKind};
use crate::points::PointsService;
use qdrant_client::qdrant::collections_server::CollectionsServer;
use qdrant_client::qdrant::points_server::PointsServer;
use qdrant_client::qdrant::qdrant_server::QdrantServer;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;
use tonic::transport::Server;

/// Largest request, as configured on a real server by default.
const MAX_MESSAGE_BYTES: usize = 32 * 1024 * 1024;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A Qdrant server on a free port of the loopback interface, with its data in a temporary folder.
///
/// It runs on threads of its own, so it can be shared by tests of different runtimes. Dropping it breaks all
/// connections at once, as a crashed server would, and deletes the data unless another server has it as well.
pub struct TestQdrant {
    address: SocketAddr,
    /// With the folder of the data; outlives the thread.
    engine: Arc<Engine>,
    faults: Arc<Faults>,
    /// Dropped to stop.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestQdrant {
    /// Starts an empty server; it accepts connections when this returns.
    ///
    /// # Errors
    /// When the system refuses a folder, a port or a thread.
    pub fn start() -> io::Result<Self> {
        Self::serve(Arc::new(Engine::new(tempfile::tempdir()?)), ANY_PORT)
    }

    /// Starts another server of the same data.
    pub(crate) fn join(&self) -> io::Result<Self> {
        self.join_at(ANY_PORT)
    }

    pub(crate) fn join_at(&self, address: SocketAddr) -> io::Result<Self> {
        Self::serve(Arc::clone(&self.engine), address)
    }

    fn serve(engine: Arc<Engine>, address: SocketAddr) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        // The engine blocks; two workers keep answering while one of them is busy.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let listener = {
            let _context = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let faults = Arc::<Faults>::default();
        let services = serve(listener, Arc::clone(&engine), Arc::clone(&faults));
        let (stop, stopped) = oneshot::channel();
        let serve = async move {
            tokio::select! {
                served = services => served,
                _ = stopped => Ok(()),
            }
        };
        let thread = std::thread::Builder::new().name("test-qdrant".to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(serve) {
                // Whoever uses the server sees broken connections; a panic tells why.
                std::panic::panic_any(format!("the test server broke: {error}"));
            }
        })?;
        Ok(Self { address, engine, faults, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the server listens, `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers the next requests of whatever method with `UNAVAILABLE`, as a server that is starting does. 0 ends it.
    ///
    /// Clients may repeat requests on their own: that of Qdrant repeats those for points once.
    pub fn refuse_next(&self, requests: usize) {
        self.faults.refuse_next(requests);
    }

    /// Answers the next requests of a kind, or of all kinds, with a status, as a cluster does of which a part is missing: one
    /// without a leader fails what needs agreement, one without enough copies what is written. 0 ends it.
    ///
    /// Clients may repeat requests on their own, as above.
    pub fn fail_next(&self, kind: impl Into<Option<RequestKind>>, requests: usize, status: Status) {
        self.faults.fail_next(kind.into(), requests, status);
    }

    /// Answers nothing from now on, as a process that was stopped: requests are taken and wait for ever. `false` ends it, for
    /// requests that come later.
    pub fn be_silent(&self, is_silent: bool) {
        self.faults.be_silent(is_silent);
    }

    /// Builds the graphs of all collections that are large enough for one, as a real server does by itself. Takes minutes, and
    /// nothing may be written meanwhile.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn optimize(&self) -> io::Result<()> {
        self.engine.optimize()
    }

    /// Leaves the nearest points out of every query that does not ask for exactness, as a graph does that was badly built: what
    /// comes is right but for what is missing. 0 ends it.
    pub fn miss(&self, points: usize) {
        self.faults.miss(points);
    }

    /// Where the data lies, a folder for each collection.
    pub fn folder(&self) -> &Path {
        self.engine.folder()
    }

    /// How many requests of each method came since this was last asked.
    pub fn take_calls(&self) -> BTreeMap<&'static str, usize> {
        self.faults.take_calls()
    }

    /// How many bytes the answers had since this was last asked: what a client has read.
    pub fn take_answered_bytes(&self) -> usize {
        self.faults.take_answered_bytes()
    }

    /// Answers the next requests of whatever method only after a delay. 0 ends it, for requests that come later.
    pub fn stall_next(&self, requests: usize, delay: Duration) {
        self.faults.stall_next(requests, delay);
    }

    /// How many of the next requests will still be answered only after a delay.
    pub fn pending_stalls(&self) -> usize {
        self.faults.pending_stalls()
    }
}

impl Drop for TestQdrant {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, engine: Arc<Engine>, faults: Arc<Faults>) -> Result<(), tonic::transport::Error> {
    let points = PointsServer::new(PointsService { engine: Arc::clone(&engine), faults: Arc::clone(&faults) });
    Server::builder()
        .add_service(points.max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(CollectionsServer::new(CollectionsService { engine, faults: Arc::clone(&faults) }))
        .add_service(QdrantServer::new(HealthService { faults }))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await
}
