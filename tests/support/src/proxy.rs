//! A wire between a client and a server that can be cut, held up, and mended.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::stores::free_port;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Whole,
    Stalled,
    Deaf,
    Cut,
}

/// A new state of the wire, and who waits until it is so.
type Turn = (Wire, mpsc::Sender<()>);

/// Where new connections go.
type Target = Arc<Mutex<String>>;

/// A TCP proxy on the loopback with a thread of its own. Dropping it breaks its connections.
pub struct Proxy {
    address: SocketAddr,
    target: Target,
    turns: UnboundedSender<Turn>,
    accepted: Arc<AtomicUsize>,
}

impl Proxy {
    /// Passes on to `target`, `host:port`, what comes to [`Proxy::address`].
    #[must_use]
    pub fn start(target: impl Into<String>) -> Self {
        let target = Arc::new(Mutex::new(target.into()));
        let to = Arc::clone(&target);
        let (turns, turned) = unbounded_channel();
        let (tell, told) = mpsc::channel();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(async move {
                let listener = listen_somewhere().await;
                tell.send(listener.local_addr().unwrap()).unwrap();
                serve(listener, &to, turned, &count).await;
            });
        });
        Self { address: told.recv().unwrap(), target, turns, accepted }
    }

    /// Where to connect instead of the target: `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and the address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Passes what comes from now on to another `host:port`: the target was started again elsewhere.
    pub fn lead_to(&self, target: impl Into<String>) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target.into();
    }

    /// How many connections have come about so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Breaks all connections and refuses new ones.
    pub fn cut(&self) {
        self.turn(Wire::Cut);
    }

    /// Holds everything up: connections stay, new ones come about, no byte gets through.
    pub fn stall(&self) {
        self.turn(Wire::Stalled);
    }

    /// Lets requests through and breaks the connection where an answer comes: what was asked for is done, and nobody knows.
    pub fn lose_answers(&self) {
        self.turn(Wire::Deaf);
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        self.turn(Wire::Whole);
    }

    fn turn(&self, wire: Wire) {
        let (done, is_done) = mpsc::channel();
        self.turns.send((wire, done)).unwrap();
        is_done.recv().unwrap();
    }
}

async fn serve(
    listener: TcpListener,
    target: &Target,
    mut turns: UnboundedReceiver<Turn>,
    accepted: &AtomicUsize,
) {
    let address = listener.local_addr().unwrap();
    let (wire, _) = watch::channel(Wire::Whole);
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            turn = turns.recv() => {
                let Some((turn, done)) = turn else { return };
                wire.send_replace(turn);
                if turn == Wire::Cut {
                    listener = None;
                    connections.shutdown().await;
                } else if listener.is_none() {
                    listener = Some(TcpListener::bind(address).await.unwrap());
                }
                let _ = done.send(());
            }
            client = accept(listener.as_ref()) => {
                let Ok(client) = client else { continue };
                accepted.fetch_add(1, Ordering::Relaxed);
                let target = target.lock().unwrap_or_else(PoisonError::into_inner).clone();
                connections.spawn(carry(client, target, wire.subscribe()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A port that no system gives to somebody else while the wire is cut.
async fn listen_somewhere() -> TcpListener {
    loop {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", free_port())).await {
            return listener;
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn carry(client: TcpStream, target: String, wire: watch::Receiver<Wire>) -> io::Result<()> {
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let requests = pump(from_client, to_server, wire.clone(), false);
    tokio::try_join!(requests, pump(from_server, to_client, wire, true)).map(drop)
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut wire: watch::Receiver<Wire>,
    answers: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut buffer).await?;
        let wire = *wire.wait_for(|it| *it != Wire::Stalled).await.map_err(io::Error::other)?;
        if answers && wire == Wire::Deaf {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}
