//! `--speculate`: what the element's last build asked for is executed while this one configures.
//!
//! The work is done by the program `speculate`. It runs beside the build with what the build
//! leaves of the machine, hears what the build asks for itself, and ends with it. Whatever becomes
//! of it is nothing to the build.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use forerunner_gateway::Recorder;
use forerunner_merkle::Digest;
use forerunner_reapi::{Endpoint, Remote, record};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::Sender;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::mount::BindMount;
use crate::settings::Settings;
use crate::staging_mode::StagingMode;
use crate::sys::{Beside, beside};

/// What `FORERUNNER_SPECULATE` may say instead of a program.
const SWITCHES: [(&str, bool); 4] = [("", false), ("0", false), ("1", true), ("on", true)];

/// Which program is to be started, if any: from the option's value, else the variable's.
pub(crate) fn program(
    option: Option<&Path>,
    variable: Option<OsString>,
    ourselves: Option<&Path>,
) -> Option<PathBuf> {
    let asked = option.map(|path| path.as_os_str().to_owned()).or(variable)?;
    let switch = SWITCHES.iter().find(|(name, _)| asked.as_os_str() == *name);
    match switch {
        Some((_, false)) => None,
        Some((_, true)) => {
            let beside = ourselves.and_then(Path::parent).map(|folder| folder.join("speculate"));
            let beside = beside.filter(|path| path.is_file());
            Some(beside.unwrap_or_else(|| PathBuf::from("speculate")))
        }
        None => Some(asked.into()),
    }
}

/// A speculation under way. Dropped, nothing of it is left.
pub(crate) struct Speculation {
    program: Arc<Mutex<Program>>,
    task: JoinHandle<()>,
    /// Dropped, the thread that started the program ends.
    _thread: std::sync::mpsc::Sender<()>,
}

/// The program that executes ahead.
enum Program {
    /// It is about to be started.
    Coming,
    Running(Beside),
    /// It is not to be started any more.
    Over,
}

impl Speculation {
    /// Starts one as soon as the caller waits for something. `host_toolchain` says whether the
    /// build's sandbox shows the host's.
    pub(crate) fn start(
        settings: &Settings,
        endpoint: &Endpoint,
        element: String,
        recorder: &Recorder,
        host_toolchain: bool,
    ) -> Option<Self> {
        let program = settings.speculate.as_deref()?;
        let command = command(program, settings, endpoint, &element, host_toolchain);
        let program = Arc::new(Mutex::new(Program::Coming));
        let (thread, end) = std::sync::mpsc::channel();
        let start = Start { command, program: program.clone(), end };
        let task = tokio::spawn(run(endpoint.clone(), element, start, recorder.listen()));
        Some(Self { program, task, _thread: thread })
    }

    /// Asks it to end, now that the build has.
    pub(crate) fn end(&self) {
        self.task.abort();
        let mut program = self.program.lock().unwrap_or_else(PoisonError::into_inner);
        match &*program {
            Program::Running(running) => running.terminate(),
            Program::Coming | Program::Over => *program = Program::Over,
        }
    }
}

impl Drop for Speculation {
    fn drop(&mut self) {
        self.task.abort();
        // What runs is killed; what is about to be started never is, or is killed by its thread.
        *self.program.lock().unwrap_or_else(PoisonError::into_inner) = Program::Over;
    }
}

/// What it takes to start the program.
struct Start {
    command: Command,
    program: Arc<Mutex<Program>>,
    /// Nothing comes from it; it breaks when the thread is to end.
    end: std::sync::mpsc::Receiver<()>,
}

impl Start {
    /// Starts the program; answers with its standard input.
    ///
    /// Whoever starts a process waits until it has become the program. This one stands back before
    /// that, so on a busy machine it may take a while: a thread of its own waits, and not the
    /// build. The program dies with that thread, which therefore stays.
    fn go(self) -> oneshot::Receiver<io::Result<Option<ChildStdin>>> {
        let Self { mut command, program, end } = self;
        let (tell, told) = oneshot::channel();
        let work = move || {
            let started = beside(&mut command).map(|mut running| {
                let input = running.input();
                let mut program = program.lock().unwrap_or_else(PoisonError::into_inner);
                if !matches!(*program, Program::Over) {
                    *program = Program::Running(running);
                }
                input
            });
            let _ = tell.send(started);
            let _ = end.recv();
        };
        // Without a thread, `tell` is dropped.
        let _ = std::thread::Builder::new().name("speculate".to_owned()).spawn(work);
        told
    }
}

async fn run(endpoint: Endpoint, element: String, start: Start, mut asked: mpsc::Receiver<Digest>) {
    let actions = match record::base(&endpoint, &element).await {
        Ok(record) => record.map_or(0, |record| record.subactions.len()),
        Err(error) => {
            tracing::warn!("cannot read the record of `{element}`: {error}");
            return;
        }
    };
    if actions == 0 {
        tracing::debug!("nothing is known of earlier builds of `{element}`");
        return;
    }
    let name = start.command.get_program().to_string_lossy().into_owned();
    let input = match start.go().await.unwrap_or_else(|_| Err(io::Error::other("no thread"))) {
        Ok(input) => input,
        Err(error) => {
            tracing::warn!("cannot start `{name}`: {error}");
            return;
        }
    };
    tracing::info!("priming what `{element}` asked for in its last build: {actions} actions");
    let Some(mut input) = input.and_then(|input| Sender::from_owned_fd(input.into()).ok()) else {
        return;
    };
    let mut lines = String::new();
    while let Some(action) = asked.recv().await {
        lines.clear();
        let _ = writeln!(lines, "{{\"asked\":\"{action}\"}}");
        // A program that is gone needs no news. The pipe stays open as long as we wait here: the
        // end of its input would end it.
        if input.write_all(lines.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn command(
    program: &Path,
    settings: &Settings,
    endpoint: &Endpoint,
    element: &str,
    host_toolchain: bool,
) -> Command {
    let mut command = Command::new(program);
    command.args(["prime", "--quiet", "--follow", &format!("--element={element}")]);
    let mut action = OsString::from("--action=");
    action.push(&settings.action);
    command.arg(action).arg(format!("--digest-function={}", settings.function));
    match endpoint.store() {
        Some(store) => {
            command.env("FORERUNNER_STORE", store.root());
        }
        None => command_for_server(&mut command, settings, endpoint),
    }
    if let Ok(ourselves) = std::env::current_exe() {
        command.env("FORERUNNER_RUNNER", ourselves);
    }
    command.env("FORERUNNER_RUNNER_ARGS", runner_arguments(settings, host_toolchain));
    command.env_remove("FORERUNNER_SPECULATE").env_remove("FORERUNNER_PARENT");
    let said = match tracing::enabled!(tracing::Level::DEBUG) {
        true => Stdio::inherit(),
        false => Stdio::null(),
    };
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(said);
    command
}

fn command_for_server(command: &mut Command, settings: &Settings, endpoint: &Endpoint) {
    let Some(remote) = &endpoint.config().remote else { return };
    let instance = settings.nested_instance.as_ref().unwrap_or(&remote.cas.instance);
    command.arg(format!("--remote={}", remote.cas.url)).arg(format!("--instance={instance}"));
    command.args(remote.cas.security.arguments());
    // A casd of this machine would execute with the priority of the build, and go on after it.
    if remote.cas.url.starts_with("unix:") && instance.is_empty() {
        command.arg(format!("--exec-remote={}", Remote::HERE));
    }
    // It opens no store, and wants to know where one would be all the same.
    if std::env::var_os("HOME").is_none() {
        command.env("HOME", "/");
    }
}

/// What the runners of actions are told, as a shell would read it. Their sandboxes must be like
/// those in which the build's own commands run, or their results were not those of the build.
fn runner_arguments(settings: &Settings, host_toolchain: bool) -> String {
    let mut list = Vec::new();
    if host_toolchain {
        list.push("--host-toolchain".to_owned());
    }
    if !settings.local_cas {
        list.push("--disable-localcas".to_owned());
    }
    match settings.staging {
        StagingMode::Default => {}
        StagingMode::Fuse => list.push("--staging-mode=fuse".to_owned()),
        StagingMode::CopyOrLink => list.push("--staging-mode=copy-or-link".to_owned()),
    }
    for BindMount { content, host, at, .. } in &settings.bind_mounts {
        // The others are of this action only.
        if let Some(content) = content {
            list.push(format!("--ro-bind-mount={content}:{host}:{at}"));
        }
    }
    let quoted = list.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''")));
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn it_is_off_unless_asked_for() {
        let path = |text: &'static str| Some(Path::new(text));
        let program = |option, variable: Option<&str>| {
            program(option, variable.map(OsString::from), path("/nowhere/buildbox-run"))
        };
        assert_eq!(program(None, None), None);
        for (option, variable, expected) in [
            (None, Some("0"), None),
            (None, Some(""), None),
            (None, Some("1"), Some("speculate")),
            (None, Some("/a/speculate"), Some("/a/speculate")),
            (path("1"), Some("0"), Some("speculate")),
            (path("/a/b"), Some("1"), Some("/a/b")),
            (path("0"), Some("1"), None),
        ] {
            assert_eq!(program(option, variable), expected.map(PathBuf::from));
        }
    }

    #[test]
    fn its_sandboxes_are_like_the_builds() {
        let arguments = |line: &[&str], host_toolchain| {
            let base = ["buildbox-run", "--action=a"];
            let cli = crate::cli::Cli::try_parse_from(base.iter().chain(line)).expect("options");
            runner_arguments(&Settings::new(&cli).expect("settings"), host_toolchain)
        };
        assert_eq!(arguments(&["--bind-mount=/a:/b"], false), "");
        assert_eq!(
            arguments(&["--staging-mode=fuse"], true),
            "'--host-toolchain' '--staging-mode=fuse'"
        );
        let mount = "--ro-bind-mount=sdk:/it's here:/c";
        let quoted = r"'--ro-bind-mount=sdk:/it'\''s here:c'";
        assert_eq!(
            arguments(&["--disable-localcas", mount], false),
            format!("'--disable-localcas' {quoted}")
        );
    }
}
