//! rear: `ar` as a cached action.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::command::response;
use crate::engine::aside::InPlace;
use crate::engine::{Engine, Outcome};
use crate::paths;
use crate::reason::Reason;
use crate::recc::Task;
use crate::session::Session;

use super::{Request, ar, job};

/// Handles a command line; the real program's name may come first.
pub fn run(engine: &mut Engine<'_>, own_name: &str, words: &[String]) -> Outcome {
    let session = engine.session;
    let (task, words) = task(words);
    let (name, arguments) = program(words, own_name, "ar", session.settings.ar.as_deref());
    let mut stdin = None;
    let request = request(session, &name, arguments, &mut stdin);
    let real: Vec<String> = std::iter::once(name).chain(arguments.iter().cloned()).collect();
    finish(engine, task, request, "ar", &real, stdin)
}

/// What is to be done, and the command line without that.
pub(super) fn task(words: &[String]) -> (Task, &[String]) {
    match words {
        [first, rest @ ..] if first == "--explain" && !rest.is_empty() => (Task::Explain, rest),
        all => (Task::Run, all),
    }
}

/// The real program and its arguments: what stands first if it is such a program, else what the
/// setting says, else the plain name with the prefix of our own.
pub(super) fn program<'a>(
    words: &'a [String],
    own_name: &str,
    plain: &str,
    setting: Option<&str>,
) -> (String, &'a [String]) {
    if let Some((first, rest)) = words.split_first()
        && is_program(first, plain)
    {
        return (first.clone(), rest);
    }
    let own = paths::file_name(own_name);
    let prefix = own.strip_suffix(&format!("re{plain}")).unwrap_or_default();
    let name = setting.map_or_else(|| format!("{prefix}{plain}"), str::to_owned);
    (name, words)
}

/// `ar`, `llvm-ar-14`, `x86_64-linux-gnu-gcc-ar`
fn is_program(word: &str, plain: &str) -> bool {
    let name = paths::file_name(word);
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    name == plain || name.strip_suffix(plain).is_some_and(|prefix| prefix.ends_with('-'))
}

/// Runs a request, or the real command; what was read from standard input is handed on.
pub(super) fn finish(
    engine: &mut Engine<'_>,
    task: Task,
    request: Result<Request, Reason>,
    label: &str,
    real: &[String],
    stdin: Option<Bytes>,
) -> Outcome {
    let session = engine.session;
    let mut refused = None;
    let made = if session.settings.passthrough {
        Err(Reason::Disabled)
    } else {
        request.and_then(|request| {
            refused = request.refused;
            job(session, &request)
        })
    };
    if task == Task::Explain {
        return match made {
            Ok((job, mut inputs)) if refused.is_none() => engine.explain(&job, &mut inputs),
            Ok(_) => engine.explain_refusal(refused.unwrap_or(Reason::Operation)),
            Err(reason) => engine.explain_refusal(reason),
        };
    }
    let outcome = match made {
        Ok((mut job, mut inputs)) => {
            // The tool says its name as it was called, where that leads to the same program.
            if session.leads_to(&real[0], &job.real[0]) {
                job.real[0].clone_from(&real[0]);
            }
            match refused {
                // What it changes in place stays whole all the same.
                Some(reason) => engine.uncached_job(&job, reason),
                None => engine.run(&job, &mut inputs),
            }
        }
        Err(reason) => engine.uncached(label, reason, real),
    };
    match (outcome, stdin) {
        (Outcome::Replace(words), Some(bytes)) => engine.run_with_stdin(&words, &bytes),
        (outcome, _) => outcome,
    }
}

fn request(
    session: &Session,
    name: &str,
    arguments: &[String],
    stdin: &mut Option<Bytes>,
) -> Result<Request, Reason> {
    let program = session.resolve(name).ok_or(Reason::Tool)?;
    let expanded =
        response::expand(arguments, Path::new(&session.directory)).map_err(|_| Reason::Response)?;
    let read = ar::read(&expanded, &session.directory, || {
        let mut text = Vec::new();
        std::io::stdin().read_to_end(&mut text).ok()?;
        *stdin = Some(Bytes::from(text.clone()));
        String::from_utf8(text).ok()
    })?;
    let mut parts = plugin_files();
    parts.extend(behind(session, &program));
    parts.extend(
        read.plugins
            .iter()
            .map(|plugin| PathBuf::from(paths::absolute(plugin, &session.directory))),
    );
    Ok(Request {
        label: "ar".to_owned(),
        program,
        words: arguments.to_vec(),
        inputs: read.inputs,
        outputs: read.outputs,
        in_place: Some(InPlace { expanded, at: read.at, script: Some(ar::rename_in_script) }),
        parts,
        stdin: stdin.clone(),
        accept: Some(ar::is_deterministic),
        refused: read.refused,
        ..Request::default()
    })
}

/// Plugins that the GNU tools load by themselves.
pub(super) fn plugin_files() -> Vec<PathBuf> {
    let folders = [
        "/usr/lib/bfd-plugins",
        "/usr/lib/x86_64-linux-gnu/bfd-plugins",
        "/usr/lib/aarch64-linux-gnu/bfd-plugins",
        "/usr/local/lib/bfd-plugins",
    ];
    let mut files: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

/// `gcc-ar` starts the plain tool with gcc's plugin.
pub(super) fn behind(session: &Session, program: &str) -> Vec<PathBuf> {
    let name = paths::file_name(program);
    let Some((before, after)) = name.split_once("gcc-") else { return Vec::new() };
    let folder = &program[..program.len() - name.len()];
    let (tool, version) = match after.split_once('-') {
        Some((tool, version)) => (tool, format!("-{version}")),
        None => (after, String::new()),
    };
    let mut found: Vec<PathBuf> =
        session.resolve(&format!("{before}{tool}")).map(PathBuf::from).into_iter().collect();
    let gcc = format!("{folder}{before}gcc{version}");
    let asked = crate::run::ask(&gcc, &["-print-file-name=liblto_plugin.so".to_owned()]);
    if let Ok(asked) = asked {
        let path = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
        found.extend(path.contains('/').then(|| PathBuf::from(path)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_program() {
        let words = |line: &str| response::split(line);
        let choose = |line: &str, own: &str, setting: Option<&str>| {
            let words = words(line);
            let (name, rest) = program(&words, own, "ar", setting);
            format!("{name} {}", rest.join(" "))
        };
        assert_eq!(choose("rcs x.a", "rear", None), "ar rcs x.a");
        assert_eq!(
            choose("x86_64-linux-gnu-ar rcs x.a", "rear", None),
            "x86_64-linux-gnu-ar rcs x.a"
        );
        assert_eq!(
            choose("/usr/bin/llvm-ar-14 rcs x.a", "rear", Some("no")),
            "/usr/bin/llvm-ar-14 rcs x.a"
        );
        assert_eq!(
            choose("rcs x.a", "/b/aarch64-linux-gnu-rear", None),
            "aarch64-linux-gnu-ar rcs x.a"
        );
        assert_eq!(choose("rcs x.a", "rear", Some("gcc-ar")), "gcc-ar rcs x.a");
    }
}
