//! What the machine does without us: bytes into a TLS socket, out of another one in the same process.

use anyhow::{Context as _, ensure};
use larder_engine::floor::Beside;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufWriter, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;
use zstd::bulk::Decompressor;

use super::super::exchange::Target;
use super::workload;

/// What is given to TLS at once.
const PIECE: usize = 64 << 10;
/// The longest report, unpacked.
const LONGEST: usize = 64 << 10;

/// One end of a connection.
pub(super) type Pushed = StreamOwned<ServerConnection, TcpStream>;

/// Listens for somebody who reads.
pub(super) struct Push {
    listener: TcpListener,
    config: Arc<ServerConfig>,
    /// Where to read.
    pub(super) target: Target,
}

impl Push {
    /// With the certificates that a server made in `certs`.
    pub(super) fn listen(certs: &Path) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let target = Target::new(&format!("https://{}", listener.local_addr()?), certs)?;
        let chain: Vec<_> =
            CertificateDer::pem_file_iter(certs.join("server.crt"))?.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(certs.join("server.key"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = config.with_no_client_auth().with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { listener, config: Arc::new(config), target })
    }

    /// Waits for one to connect.
    pub(super) fn accept(&self) -> anyhow::Result<Pushed> {
        let (tcp, _) = self.listener.accept()?;
        tcp.set_nodelay(true)?;
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&self.config))?, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }
}

/// How long it takes to read all reports out of a database, in the order of a list, to unpack them, and to get them through TLS to a thread
/// that takes them and does nothing with them. And how many bytes they were.
pub(super) fn bodies(database: &Path, certs: &Path, count: u64) -> anyhow::Result<(Duration, u64)> {
    let push = Push::listen(certs)?;
    let target = push.target.clone();
    let drain = std::thread::spawn(move || drain(&target));
    let mut out = BufWriter::with_capacity(PIECE, push.accept()?);
    let beside = Beside::open(database)?;
    let mut unpack = Decompressor::new()?;
    let (mut body, mut rows, mut bytes) = (Vec::with_capacity(LONGEST), 0, 0);
    let sql = format!("SELECT body FROM object WHERE resource = '{}' ORDER BY key", workload::RESOURCE);
    let begun = Instant::now();
    beside.blobs(&sql, |packed| {
        body.clear();
        unpack.decompress_to_buffer(packed, &mut body)?;
        rows += 1;
        bytes += body.len() as u64;
        out.write_all(&body)
    })??;
    out.flush()?;
    let mut stream = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    stream.conn.send_close_notify();
    stream.flush()?;
    let drained = drain.join().ok().context("the thread that reads ended")??;
    let took = begun.elapsed();
    ensure!(rows == count && drained == bytes, "{rows} rows and {drained} bytes are not all");
    Ok((took, bytes))
}

fn drain(target: &Target) -> anyhow::Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut socket = target.dial().await?;
        let (mut buffer, mut drained) = (vec![0; PIECE], 0);
        loop {
            match socket.read(&mut buffer).await? {
                0 => return Ok(drained),
                read => drained += read as u64,
            }
        }
    })
}
