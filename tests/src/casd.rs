//! A stock buildbox-casd of one's own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forerunner_merkle::Digest;

use crate::{buildbox, peer, temp};

/// A running buildbox-casd; it ends when dropped.
pub struct Casd {
    child: Child,
    folder: tempfile::TempDir,
}

impl Casd {
    /// Starts one without an execution service of its own.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts one with further arguments.
    ///
    /// # Panics
    /// If it does not listen.
    #[must_use]
    pub fn start_with(arguments: &[String]) -> Option<Self> {
        let program = peer("buildbox-casd", buildbox("buildbox-casd"))?;
        let folder = temp();
        let socket = folder.path().join("casd.sock");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        // It finds buildbox-fuse on PATH.
        let beside = program.parent().map(Path::to_owned).unwrap_or_default();
        let path = std::env::var("PATH").unwrap_or_default();
        let child = Command::new(&program)
            .arg(format!("--bind=unix:{}", socket.display()))
            .args(["--log-level=info", "--jobs=2"])
            // With less than this to spare it has writes wait for ever; the default is 2 GB.
            .arg("--reserved=100M")
            .args(arguments)
            .arg(folder.path().join("cache"))
            .env("PATH", format!("{}:{path}", beside.display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("buildbox-casd starts");
        let casd = Self { child, folder };
        let deadline = Instant::now() + Duration::from_secs(120);
        while std::os::unix::net::UnixStream::connect(casd.socket()).is_err() {
            assert!(Instant::now() < deadline, "casd does not listen:\n{}", casd.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(casd)
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("casd.sock")
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// Whether a blob is in its own cache, whatever a server behind it may have.
    #[must_use]
    pub fn has(&self, blob: &Digest) -> bool {
        let hex = blob.hex();
        let (head, tail) = hex.split_at(2);
        self.folder.path().join("cache/cas/objects").join(head).join(tail).exists()
    }

    /// What it wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Casd {
    fn drop(&mut self) {
        // It takes its FUSE mounts and children with it on SIGTERM only.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").arg(id).status();
        // It waits for its clients; one that a failed test left would keep it for ever.
        let deadline = Instant::now() + Duration::from_secs(20);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
