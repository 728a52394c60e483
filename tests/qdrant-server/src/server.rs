//! The running server.

use crate::collections::{CollectionsService, HealthService};
use crate::engine::Engine;
use crate::faults::Faults;
use crate::points::PointsService;
use qdrant_client::qdrant::collections_server::CollectionsServer;
use qdrant_client::qdrant::points_server::PointsServer;
use qdrant_client::qdrant::qdrant_server::QdrantServer;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

/// Largest request, as configured on a real server by default.
const MAX_MESSAGE_BYTES: usize = 32 * 1024 * 1024;

/// A Qdrant server on a free port of the loopback interface, with its data in a temporary folder.
///
/// It runs on threads of its own, so it can be shared by tests of different runtimes. Dropping it breaks all
/// connections at once, as a crashed server would, and deletes the data.
pub struct TestQdrant {
    address: SocketAddr,
    faults: Arc<Faults>,
    /// Dropped to stop.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Outlives the thread.
    _folder: TempDir,
}

impl TestQdrant {
    /// Starts an empty server; it accepts connections when this returns.
    ///
    /// # Errors
    /// When the system refuses a folder, a port or a thread.
    pub fn start() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        // The engine blocks; two workers keep answering while one of them is busy.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let listener = {
            let _context = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let engine = Arc::new(Engine::new(folder.path().to_owned()));
        let faults = Arc::<Faults>::default();
        let services = serve(listener, engine, Arc::clone(&faults));
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
        Ok(Self { address, faults, stop: Some(stop), thread: Some(thread), _folder: folder })
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
