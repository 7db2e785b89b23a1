//! The socket and the thread behind it.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use forerunner_reapi::{Config, Endpoint, Error, Line};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::connection::{self, Services};
use crate::local_cas::LocalCas;
use crate::memory::Memory;
use crate::vigil::Vigil;
use crate::{Front, Policy, Recorder, SandboxRoot};

/// Where no connection can be taken, it is tried again after this time.
const PAUSE: Duration = Duration::from_millis(50);

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
        let local_cas = root.map(|root| LocalCas { front: front.clone(), root });
        let services = Arc::new(Services::new(front, local_cas));
        let _ = ready.send(Ok(()));
        let (tell, told) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut stopped = pin!(stopped);
        loop {
            tokio::select! {
                _ = &mut stopped => break,
                accepted = listener.accept() => match accepted.and_then(|(line, _)| Line::new(line.into_std()?)) {
                    Ok(line) => {
                        connections.spawn(connection::serve(line, services.clone(), told.clone()));
                    }
                    Err(error) => {
                        // Of descriptors there will be more when others are done.
                        tracing::warn!(%error, "a client cannot connect");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
        drop(listener);
        let _ = tell.send(true);
        let all = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LINGER, all).await;
        if let Some(watching) = watching {
            watching.abort();
        }
    });
    runtime.shutdown_background();
}
