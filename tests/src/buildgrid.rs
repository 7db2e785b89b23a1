//! A stock BuildGrid of one's own: only a cache, or a cluster with a database and a worker.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{bin, peer, peers, run, temp};

/// A running BuildGrid; it ends when dropped, with all that belongs to it.
pub struct BuildGrid {
    // In the order in which they end.
    _worker: Option<Process>,
    server: Process,
    _database: Option<Process>,
    folder: tempfile::TempDir,
}

/// A process that is killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl BuildGrid {
    /// Starts one that keeps content and results, and executes nothing.
    #[must_use]
    pub fn start() -> Option<Self> {
        let program = program()?;
        let folder = temp();
        let server = serve(&program, folder.path(), include_str!("cache.yml"));
        let grid = Self { _worker: None, server, _database: None, folder };
        Some(grid.listening())
    }

    /// Starts one that executes: with PostgreSQL, and upstream's buildbox-worker, which starts our
    /// `buildbox-run` with these further arguments.
    #[must_use]
    pub fn start_cluster(runner_arguments: &[&str]) -> Option<Self> {
        let program = program()?;
        let postgres = peer("PostgreSQL", postgres())?;
        let worker = peers().join("sid/usr/bin/buildbox-worker");
        peer("buildbox-worker", worker.exists().then_some(()))?;
        let folder = temp();
        let database = start_database(&postgres, folder.path());
        let url = format!(
            "postgresql+psycopg2://postgres@/postgres?host={}/database",
            place(folder.path())
        );
        run(Command::new(&program).args(["migrate", "apply", &url]));
        let server = serve(&program, folder.path(), include_str!("cluster.yml"));
        let mut grid =
            Self { _worker: None, server, _database: Some(database), folder }.listening();
        // With the loader and the libraries of its own distribution, but not in a chroot, where
        // the kernel gives nobody a user namespace.
        let root = peers().join("sid");
        let library = |path: &str| root.join(path).display().to_string();
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(library).join(":");
        let mut command = Command::new(root.join("lib64/ld-linux-x86-64.so.2"));
        command
            .arg("--library-path")
            .arg(libraries)
            .arg(root.join("usr/bin/buildbox-worker"))
            .arg(format!("--remote={}", grid.url()))
            .arg(format!("--buildbox-run={}", bin("buildbox-run").display()))
            .args(runner_arguments.iter().map(|argument| format!("--runner-arg={argument}")))
            .args(["--concurrent-jobs=2", "--platform", "OSFamily=linux"])
            .args(["--platform", "ISA=x86-64"]);
        grid._worker = Some(start(command, grid.folder.path(), "worker.log"));
        Some(grid)
    }

    fn listening(mut self) -> Self {
        let socket = self.folder.path().join("socket");
        let deadline = Instant::now() + Duration::from_secs(300);
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            let ended = self.server.0.try_wait().expect("a status");
            assert!(ended.is_none(), "BuildGrid ended: {}", self.log());
            assert!(Instant::now() < deadline, "BuildGrid does not listen:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        self
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("unix:{}", self.folder.path().join("socket").display())
    }

    /// What it wrote so far, and its worker.
    #[must_use]
    pub fn log(&self) -> String {
        let read =
            |name| std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("server.log") + &read("worker.log")
    }
}

fn program() -> Option<PathBuf> {
    let program = peers().join("buildgrid/bin/bgd");
    peer("BuildGrid", Some(program).filter(|path| path.exists()))
}

/// The folder with the programs of PostgreSQL, as Debian has it.
fn postgres() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok);
    versions.map(|version| version.path().join("bin")).find(|bin| bin.join("postgres").exists())
}

fn place(folder: &Path) -> String {
    folder.to_string_lossy().into_owned()
}

fn start(mut command: Command, folder: &Path, log: &str) -> Process {
    let log = std::fs::File::create(folder.join(log)).expect("a log");
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
    Process(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

fn serve(program: &Path, folder: &Path, settings: &str) -> Process {
    let file = folder.join("settings.yml");
    std::fs::write(&file, settings.replace("FOLDER", &place(folder))).expect("settings");
    let mut command = Command::new(program);
    command.args(["server", "start"]).arg(&file);
    start(command, folder, "server.log")
}

/// PostgreSQL does not run as root: its files and processes are those of nobody in particular.
fn start_database(programs: &Path, folder: &Path) -> Process {
    let data = folder.join("database");
    let as_postgres = |program: &str| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"])
            .arg(programs.join(program))
            .arg("-D")
            .arg(&data)
            .current_dir("/");
        command
    };
    run(Command::new("chmod").arg("711").arg(folder));
    run(Command::new("install").args(["-d", "-o", "postgres"]).arg(&data));
    run(as_postgres("initdb").args(["--auth=trust", "--username=postgres"]));
    let mut command = as_postgres("postgres");
    command.args(["-c", "listen_addresses=", "-c"]);
    command.arg(format!("unix_socket_directories={}", data.display()));
    let database = start(command, folder, "database.log");
    let socket = data.join(".s.PGSQL.5432");
    let deadline = Instant::now() + Duration::from_secs(300);
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(Instant::now() < deadline, "PostgreSQL does not listen on {}", socket.display());
        std::thread::sleep(Duration::from_millis(50));
    }
    database
}
