//! The socket and the thread behind it.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use forerunner_proto::buildgrid::local_content_addressable_storage_server::LocalContentAddressableStorageServer;
use forerunner_proto::bytestream::byte_stream_server::ByteStreamServer;
use forerunner_proto::reapi::action_cache_server::ActionCacheServer;
use forerunner_proto::reapi::capabilities_server::CapabilitiesServer;
use forerunner_proto::reapi::content_addressable_storage_server::ContentAddressableStorageServer;
use forerunner_proto::reapi::execution_server::ExecutionServer;
use forerunner_reapi::{Config, Endpoint, Error, Line};
use tokio::sync::oneshot;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use crate::local_cas::LocalCas;
use crate::memory::Memory;
use crate::vigil::Vigil;
use crate::{Front, Policy, Recorder, SandboxRoot};

/// Largest message that a client may send. Batches are within 4 MiB; a result with the paths of a
/// great many outputs may be larger.
const LARGEST_REQUEST_BYTES: usize = 64 * 1024 * 1024;

/// How long calls under way may take once the gateway is to stop.
const LINGER: Duration = Duration::from_millis(500);

/// A served socket. It stops, and its file is removed, with [`Self::stop`] or when dropped.
pub struct Gateway {
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Why a socket could not be served.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The socket could not be made.
    #[error("cannot serve a socket at `{path}`: {error}")]
    Socket {
        /// Where.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The endpoint behind it could not be opened.
    #[error(transparent)]
    Endpoint(#[from] Error),
}

impl Gateway {
    /// Serves `config`'s endpoint on a new socket at `path`, which may be longer than `sun_path`
    /// (108 bytes). Clients may connect as soon as this returns.
    ///
    /// # Errors
    /// If the socket cannot be made or the endpoint not be opened.
    pub fn start(
        path: &Path,
        config: &Config,
        policy: Policy,
        recorder: Recorder,
    ) -> Result<Self, GatewayError> {
        Self::start_with(path, config, policy, recorder, None)
    }

    /// As [`Self::start`], for clients in a sandbox: LocalCAS is served too, with paths that are
    /// resolved below `root`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_for_sandbox(
        path: &Path,
        config: &Config,
        policy: Policy,
        recorder: Recorder,
        root: SandboxRoot,
    ) -> Result<Self, GatewayError> {
        Self::start_with(path, config, policy, recorder, Some(root))
    }

    fn start_with(
        path: &Path,
        config: &Config,
        policy: Policy,
        recorder: Recorder,
        root: Option<SandboxRoot>,
    ) -> Result<Self, GatewayError> {
        let socket = |error| GatewayError::Socket { path: path.to_owned(), error };
        let listener = listen(path).map_err(socket)?;
        let (stop, stopped) = oneshot::channel();
        let (ready, opened) = mpsc::channel();
        let config = config.clone();
        let thread = std::thread::Builder::new()
            .name("gateway".to_owned())
            .spawn(move || {
                let clients = Clients { policy, recorder, root };
                serve(listener, &config, clients, stopped, &ready);
            })
            .map_err(socket)?;
        let gateway = Self { path: path.to_owned(), stop: Some(stop), thread: Some(thread) };
        match opened.recv() {
            Ok(Ok(())) => Ok(gateway),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(socket(io::Error::other("its thread ended"))),
        }
    }

    /// Stops serving. Calls under way may go on for a moment.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end();
    }
}

/// Binds a socket; where the path is too long for the kernel, by way of its directory's
/// descriptor.
fn listen(path: &Path) -> io::Result<UnixListener> {
    const SUN_PATH_BYTES: usize = 108;
    let listener = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if path.as_os_str().len() >= SUN_PATH_BYTES => {
            let folder = std::fs::File::open(parent)?;
            let descriptor = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string());
            UnixListener::bind(descriptor.join(name))?
        }
        _ => UnixListener::bind(path)?,
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What is done for those who connect.
struct Clients {
    policy: Policy,
    recorder: Recorder,
    root: Option<SandboxRoot>,
}

/// Whether the server behind us is on this machine: others take too long to stay awake for.
fn is_beside_us(endpoint: &Endpoint) -> bool {
    let remote = &endpoint.config().remote;
    remote.as_ref().is_some_and(|remote| remote.action_cache.url.starts_with("unix:"))
}

fn serve(
    listener: UnixListener,
    config: &Config,
    clients: Clients,
    stopped: oneshot::Receiver<()>,
    ready: &mpsc::Sender<Result<(), GatewayError>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let path = PathBuf::new();
            let _ = ready.send(Err(GatewayError::Socket { path, error }));
            return;
        }
    };
    runtime.block_on(async {
        let endpoint = match Endpoint::open(config) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                let _ = ready.send(Err(error.into()));
                return;
            }
        };
        let listener = match tokio::net::UnixListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                let path = PathBuf::new();
                let _ = ready.send(Err(GatewayError::Socket { path, error }));
                return;
            }
        };
        let Clients { policy, recorder, root } = clients;
        let vigil = Vigil::default();
        let watching = is_beside_us(&endpoint).then(|| tokio::spawn(vigil.clone().keep()));
        let front = Front { endpoint, policy, recorder, memory: Memory::default(), vigil };
        let local_cas = root.map(|root| {
            LocalContentAddressableStorageServer::new(LocalCas { front: front.clone(), root })
        });
        let router = Server::builder()
            .initial_stream_window_size(1024 * 1024)
            .initial_connection_window_size(4 * 1024 * 1024)
            .add_service(CapabilitiesServer::new(front.clone()))
            .add_service(ByteStreamServer::new(front.clone()))
            .add_service(
                ContentAddressableStorageServer::new(front.clone())
                    .max_decoding_message_size(LARGEST_REQUEST_BYTES)
                    .max_encoding_message_size(LARGEST_REQUEST_BYTES),
            )
            .add_service(
                ActionCacheServer::new(front.clone())
                    .max_decoding_message_size(LARGEST_REQUEST_BYTES)
                    .max_encoding_message_size(LARGEST_REQUEST_BYTES),
            )
            .add_service(
                ExecutionServer::new(front).max_encoding_message_size(LARGEST_REQUEST_BYTES),
            )
            .add_optional_service(local_cas);
        let _ = ready.send(Ok(()));
        let lines =
            UnixListenerStream::new(listener).map(|connected| Line::new(connected?.into_std()?));
        let (drained, mut drain) = tokio::sync::watch::channel(false);
        let serving = router.serve_with_incoming_shutdown(lines, async move {
            let _ = stopped.await;
            let _ = drained.send(true);
        });
        let limit = async move {
            let _ = drain.changed().await;
            tokio::time::sleep(LINGER).await;
        };
        tokio::select! {
            result = serving => {
                if let Err(error) = result {
                    tracing::warn!(%error, "the socket is no longer served");
                }
            }
            () = limit => {}
        }
        if let Some(watching) = watching {
            watching.abort();
        }
    });
    runtime.shutdown_background();
}
