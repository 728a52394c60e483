//! Several nodes with the same data, as far as their clients can tell.

use crate::TestQdrant;
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Nodes that answer for the same collections. What one writes, all see at once: how copies meet is Qdrant's business, and
/// what it says when they do not is brought about with [`TestQdrant::fail_next`].
pub struct TestCluster {
    nodes: Vec<Node>,
}

struct Node {
    address: SocketAddr,
    /// `None` while it is down.
    running: Option<TestQdrant>,
}

impl TestCluster {
    /// Starts the nodes, at least one.
    ///
    /// # Errors
    /// When the system refuses a folder, a port or a thread.
    pub fn start(nodes: usize) -> io::Result<Self> {
        let first = TestQdrant::start()?;
        let mut all = vec![first];
        while let Some(first) = all.first().filter(|_| all.len() < nodes) {
            let next = first.join()?;
            all.push(next);
        }
        let node = |running: TestQdrant| Node { address: running.address(), running: Some(running) };
        Ok(Self { nodes: all.into_iter().map(node).collect() })
    }

    /// Where the nodes listen, whether they run or not.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("http://{}", node.address)).collect()
    }

    /// A node that runs.
    ///
    /// # Panics
    /// When it is down, or there is none of this number.
    #[track_caller]
    pub fn node(&self, number: usize) -> &TestQdrant {
        match &self.nodes[number].running {
            Some(running) => running,
            None => std::panic::panic_any(format!("node {number} is down")),
        }
    }

    /// Breaks all connections of a node, and lets nobody connect.
    pub fn stop(&mut self, number: usize) {
        self.nodes[number].running = None;
    }

    /// Starts a node again where it was.
    ///
    /// # Errors
    /// When the system refuses the port or a thread, or no other node runs that has the data.
    pub fn start_again(&mut self, number: usize) -> io::Result<()> {
        let address = self.nodes[number].address;
        let others = self.nodes.iter().find_map(|node| node.running.as_ref());
        let other = others.ok_or_else(|| io::Error::other("no node runs that has the data"))?;
        self.nodes[number].running = Some(other.join_at(address)?);
        Ok(())
    }
}

/// An address where connections are made and nothing is ever said, as of a machine that was cut off or stopped.
pub struct SilentPeer {
    /// The system takes connections for it; nobody looks at them.
    listener: TcpListener,
}

impl SilentPeer {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the system refuses a port.
    pub fn start() -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind("127.0.0.1:0")? })
    }

    /// Its address, `http://127.0.0.1:port`.
    ///
    /// # Errors
    /// When the system does not know the port.
    pub fn url(&self) -> io::Result<String> {
        Ok(format!("http://{}", self.listener.local_addr()?))
    }
}
