//! rewrap: any command, with its inputs and outputs named.

use std::path::{Path, PathBuf};

use crate::engine::{Engine, Outcome};
use crate::paths;
use crate::program::USAGE;
use crate::reason::Reason;
use crate::session::Session;

use super::{Request, rear};

/// What stands before `--`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Named {
    inputs: Vec<String>,
    outputs: Vec<String>,
    /// Outputs that end with a slash: directories with all that is in them.
    directories: Vec<String>,
    variables: Vec<String>,
    parts: Vec<String>,
    command: Vec<String>,
}

/// Handles a command line.
pub fn run(engine: &mut Engine<'_>, words: &[String]) -> Outcome {
    let (task, words) = rear::task(words);
    let named = match read(words) {
        Ok(named) => named,
        Err(problem) => {
            let _written = writeln!(engine.err, "rewrap: {problem}");
            return Outcome::Exit(USAGE);
        }
    };
    let request = request(engine.session, &named);
    rear::finish(engine, task, request, "rewrap", &named.command, None)
}

fn read(words: &[String]) -> Result<Named, String> {
    let mut named = Named::default();
    let mut list: Option<&str> = None;
    let mut at = words.iter();
    while let Some(word) = at.next() {
        match word.as_str() {
            "--" => {
                named.command = at.cloned().collect();
                break;
            }
            "--input" | "--output" | "--env" | "--tool" => list = Some(word),
            option if option.starts_with("--") => {
                let (name, value) = option
                    .split_once('=')
                    .ok_or_else(|| format!("there is no option `{option}`"))?;
                named.add(name, value)?;
                list = None;
            }
            value => named.add(
                list.ok_or_else(|| {
                    format!("`{value}` belongs to no option; a command comes after `--`")
                })?,
                value,
            )?,
        }
    }
    if named.command.is_empty() {
        return Err("there is no command after `--`".to_owned());
    }
    if named.outputs.is_empty() && named.directories.is_empty() {
        return Err("no output is named (--output PATH)".to_owned());
    }
    Ok(named)
}

impl Named {
    fn add(&mut self, option: &str, value: &str) -> Result<(), String> {
        match option {
            "--input" => self.inputs.push(value.to_owned()),
            "--output" if value.ends_with('/') => self.directories.push(value.to_owned()),
            "--output" => self.outputs.push(value.to_owned()),
            "--env" => self.variables.push(value.to_owned()),
            "--tool" => self.parts.push(value.to_owned()),
            _ => return Err(format!("there is no option `{option}`")),
        }
        Ok(())
    }
}

fn request(session: &Session, named: &Named) -> Result<Request, Reason> {
    let (name, arguments) = named.command.split_first().ok_or(Reason::NotACommand)?;
    let program = session.resolve(name).ok_or(Reason::Tool)?;
    let mut inputs = Vec::new();
    for input in &named.inputs {
        expand(input, &session.directory, &mut inputs)?;
    }
    let mut directories = Vec::new();
    for directory in &named.directories {
        let tidy = paths::normalise(directory);
        if tidy.starts_with('/') || tidy.starts_with("..") || tidy == "." {
            return Err(Reason::OutputPlace);
        }
        // What is in it already is there afterwards too, so it is an input.
        if Path::new(&paths::absolute(&tidy, &session.directory)).exists() {
            expand(&tidy, &session.directory, &mut inputs)?;
        }
        directories.push(tidy);
    }
    let parts = named
        .parts
        .iter()
        .map(|part| {
            session
                .resolve(part)
                .map(|path| PathBuf::from(paths::absolute(&path, &session.directory)))
        })
        .collect::<Option<Vec<_>>>()
        .ok_or(Reason::Tool)?;
    Ok(Request {
        label: "rewrap".to_owned(),
        program,
        words: arguments.to_vec(),
        inputs,
        outputs: named.outputs.clone(),
        output_directories: directories,
        variables: named.variables.clone(),
        parts,
        ..Request::default()
    })
}

/// A file, or every file below a directory, sorted.
fn expand(path: &str, directory: &str, into: &mut Vec<String>) -> Result<(), Reason> {
    let full = paths::absolute(path, directory);
    let metadata = std::fs::metadata(Path::new(&full)).map_err(|_| Reason::Operation)?;
    if metadata.is_file() {
        into.push(path.to_owned());
        return Ok(());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&full).map_err(|_| Reason::Operation)? {
        let entry = entry.map_err(|_| Reason::Operation)?;
        names.push(entry.file_name().into_string().map_err(|_| Reason::InputName)?);
    }
    names.sort();
    for name in names {
        expand(&format!("{}/{name}", path.trim_end_matches('/')), directory, into)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let words = |line: &str| crate::command::response::split(line);
        let named = read(&words("--input a b --output=c --env X -- sort a -o c")).expect("named");
        assert_eq!((named.inputs.len(), named.outputs.len(), named.command.len()), (2, 1, 4));
        let named = read(&words("--output a gen/ -- gen a")).expect("named");
        assert_eq!((named.outputs.len(), named.directories.len()), (1, 1));
        for (line, problem) in [
            ("--input a -- true", "no output"),
            ("--output a", "no command"),
            ("a -- true", "belongs to no option"),
            ("--inptu=a --output b -- true", "no option `--inptu`"),
        ] {
            assert!(read(&words(line)).expect_err(line).contains(problem), "{line}");
        }
    }
}
