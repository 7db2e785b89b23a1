//! A stock BuildGrid of one's own: content and results, without execution.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{peer, peers, temp};

/// A running BuildGrid; it ends when dropped.
pub struct BuildGrid {
    child: Child,
    folder: tempfile::TempDir,
}

impl BuildGrid {
    /// Starts one.
    ///
    /// # Panics
    /// If it does not listen.
    #[must_use]
    pub fn start() -> Option<Self> {
        let program = peers().join("buildgrid/bin/bgd");
        let program = peer("BuildGrid", Some(program).filter(|path| path.exists()))?;
        let folder = temp();
        let settings = folder.path().join("settings.yml");
        let text =
            include_str!("buildgrid.yml").replace("FOLDER", &folder.path().to_string_lossy());
        std::fs::write(&settings, text).expect("settings");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let child = Command::new(program)
            .args(["server", "start"])
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("BuildGrid starts");
        let mut server = Self { child, folder };
        let deadline = Instant::now() + Duration::from_secs(300);
        while std::os::unix::net::UnixStream::connect(server.socket()).is_err() {
            let ended = server.child.try_wait().expect("a status");
            assert!(ended.is_none(), "BuildGrid ended: {}", server.log());
            assert!(Instant::now() < deadline, "BuildGrid does not listen:\n{}", server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(server)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for BuildGrid {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
