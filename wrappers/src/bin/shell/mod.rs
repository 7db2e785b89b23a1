//! Where the environment is read and the process ends.

use std::io::{stderr, stdout};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use forerunner_wrappers::program::{self, End, Program, Start};
use forerunner_wrappers::run;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, raise};

/// Runs a program from its start to its end.
pub(crate) fn main(what: &Program) -> ExitCode {
    let start = Start {
        arguments: std::env::args_os().collect(),
        environment: std::env::vars_os().collect(),
        directory: std::env::current_dir(),
        program: std::env::current_exe().ok(),
    };
    match program::run(what, start, &mut stdout(), &mut stderr()) {
        End::Exit(code) => ExitCode::from(code as u8),
        End::Signal(number) => end_by(number),
        End::Replace(words) => {
            let Some((program, arguments)) = words.split_first() else {
                return ExitCode::from(program::USAGE as u8);
            };
            let error = Command::new(program).args(arguments).exec();
            eprintln!("{}: `{}` cannot be started: {error}", what.name, program.to_string_lossy());
            ExitCode::from(run::start_error_code(&error) as u8)
        }
    }
}

/// Ends this process as the tool ended. What cannot be done so (a signal that is ignored) is told
/// as a shell tells it.
fn end_by(number: i32) -> ExitCode {
    if let Ok(signal) = Signal::try_from(number) {
        // The tool left its memory already.
        let _set = setrlimit(Resource::RLIMIT_CORE, 0, 0);
        // The first may only take away a handler that Rust's library has for faults.
        for _ in 0..2 {
            let _raised = raise(signal);
        }
    }
    ExitCode::from((128 + number) as u8)
}

/// The name that this program was started by.
#[allow(dead_code)]
pub(crate) fn own_name() -> String {
    std::env::args_os().next().unwrap_or_default().to_string_lossy().into_owned()
}

/// The first program on PATH with the last name of `name` that is not this one, whatever links
/// lead to it.
#[allow(dead_code)]
pub(crate) fn other_on_path(name: &str) -> Option<std::path::PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let name = std::path::Path::new(name).file_name()?;
    let own = std::env::current_exe().ok()?.canonicalize().ok()?;
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| {
        let runs = |m: std::fs::Metadata| m.is_file() && m.permissions().mode() & 0o111 != 0;
        file.metadata().is_ok_and(runs) && file.canonicalize().is_ok_and(|real| real != own)
    })
}

/// A command with its program before it, unless it has one.
#[allow(dead_code)]
pub(crate) fn with_program(
    program: &str,
    arguments: &[std::ffi::OsString],
) -> Vec<std::ffi::OsString> {
    let named = arguments.first().is_some_and(|first| {
        first.to_string_lossy().rsplit('/').next().is_some_and(|name| name.ends_with(program))
    });
    let own = (!named).then(|| program.into());
    own.into_iter().chain(arguments.iter().cloned()).collect()
}
