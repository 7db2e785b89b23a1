//! Runs a tool by its description.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::command::response;
use crate::engine::aside::InPlace;
use crate::engine::{Engine, Outcome};
use crate::make_rule;
use crate::paths;
use crate::reason::Reason;
use crate::run;
use crate::session::Session;

use super::spec::{self, Operands, Spec, SpecError, Specs};
use super::{Request, ar, rear};

/// What a command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Reading {
    /// Options that are set, by their name.
    set: BTreeSet<String>,
    /// Files that are read.
    inputs: Vec<String>,
    /// Files that are written.
    outputs: Vec<String>,
    /// Directories in which files are searched.
    directories: Vec<String>,
    /// Options whose value is a directory that is written to.
    generated: Vec<(String, String)>,
    /// Operands.
    operands: Vec<String>,
    /// Which words they are.
    at: Vec<usize>,
    /// Whether they are the files that are written.
    rewritten: bool,
    /// The words without those that are left out when the tool is asked what it reads.
    asking: Vec<String>,
}

/// Handles a command of a tool that we know, or that the user described. The real program may
/// come first.
pub fn run(engine: &mut Engine<'_>, tool: &str, own_name: &str, words: &[String]) -> Outcome {
    let specs = match all(engine.session) {
        Ok(specs) => specs,
        Err(error) => {
            let _written = writeln!(engine.err, "re{tool}: {error}");
            return Outcome::Exit(crate::program::USAGE);
        }
    };
    let Some(spec) = specs.get(tool) else {
        let _written = writeln!(
            engine.err,
            "re{tool}: there is no description of `{tool}`; write one and name its file in RECC_TOOLS_FILE"
        );
        return Outcome::Exit(crate::program::USAGE);
    };
    let (task, words) = rear::task(words);
    let (name, arguments) = match words.split_first() {
        Some((first, rest)) if spec.is_program(first) => (first.clone(), rest),
        _ => {
            let own = paths::file_name(own_name);
            let prefix = own.strip_suffix(&format!("re{tool}")).unwrap_or_default();
            (format!("{prefix}{tool}"), words)
        }
    };
    let request = request(engine.session, tool, spec, &name, arguments);
    let real: Vec<String> = std::iter::once(name).chain(arguments.iter().cloned()).collect();
    rear::finish(engine, task, request, tool, &real, None)
}

/// The user's descriptions, and ours where the user has none.
fn all(session: &Session) -> Result<Specs, SpecError> {
    let mut specs = spec::builtin()?;
    let file = &session.settings.tools_file;
    if !file.is_empty() {
        specs.extend(spec::of_file(Path::new(&paths::absolute(file, &session.directory)))?);
    }
    Ok(specs)
}

fn request(
    session: &Session,
    tool: &str,
    spec: &Spec,
    name: &str,
    arguments: &[String],
) -> Result<Request, Reason> {
    let program = session.resolve(name).ok_or(Reason::Tool)?;
    let expanded =
        response::expand(arguments, Path::new(&session.directory)).map_err(|_| Reason::Response)?;
    let mut reading = read(spec, &expanded.words)?;
    reading.place_operands(spec)?;
    reading.outputs_by_rule(spec)?;
    if reading.outputs.is_empty() {
        return Err(Reason::NoOutput);
    }
    let mut inputs: Vec<String> = expanded.files.iter().chain(&expanded.nested).cloned().collect();
    inputs.append(&mut reading.inputs);
    for input in &inputs {
        let full = paths::absolute(input, &session.directory);
        if !Path::new(&full).is_file() {
            return Err(Reason::Operation);
        }
        if !spec.opaque.is_empty() {
            let text = std::fs::read(&full).map_err(|_| Reason::InputChanged)?;
            if spec.opaque.iter().any(|word| memchr::memmem::find(&text, word.as_bytes()).is_some())
            {
                return Err(Reason::Operation);
            }
        }
    }
    if !spec.dependency_options.is_empty() {
        for found in hidden(session, spec, &program, &reading)? {
            if !inputs.contains(&found) {
                inputs.push(found);
            }
        }
    }
    let in_place = reading.rewritten.then_some(InPlace { expanded, at: reading.at, script: None });
    Ok(Request {
        label: tool.to_owned(),
        parts: parts(session, spec),
        program,
        words: arguments.to_vec(),
        in_place,
        inputs,
        outputs: reading.outputs,
        variables: spec.variables.clone(),
        accept: spec.archives.then_some(without_times as fn(&Path) -> bool),
        ..Request::default()
    })
}

/// Anything but an archive whose members bear times.
fn without_times(path: &Path) -> bool {
    match crate::link::archive::look(path) {
        Ok(crate::link::archive::Archive::None) => true,
        Ok(_) => ar::is_deterministic(path),
        Err(_) => false,
    }
}

/// Further files that decide the result.
fn parts(session: &Session, spec: &Spec) -> Vec<PathBuf> {
    let mut parts = if spec.plugins { rear::plugin_files() } else { Vec::new() };
    parts.extend(spec.helpers.iter().filter_map(|name| session.resolve(name)).map(PathBuf::from));
    let mut queue: Vec<PathBuf> = spec.data.iter().map(PathBuf::from).collect();
    while let Some(path) = queue.pop() {
        match std::fs::read_dir(&path) {
            Ok(entries) => queue.extend(entries.filter_map(Result::ok).map(|entry| entry.path())),
            Err(_) if path.is_file() => parts.push(path),
            Err(_) => {}
        }
    }
    parts.sort();
    parts
}

/// What an option is, and how much of the word its name takes.
enum Meaning<'a> {
    Plain,
    Refused,
    Valued { name: String, value: Option<&'a str> },
}

fn meaning<'a>(spec: &Spec, word: &'a str) -> Meaning<'a> {
    let is = |list: &[String], name: &str| list.iter().any(|known| known == name);
    if is(&spec.plain, word) {
        return Meaning::Plain;
    }
    let (name, inline) = match word.split_once('=') {
        Some((name, value)) if word.starts_with("--") => (name, Some(value)),
        _ => (word, None),
    };
    let valued = |name: &str| {
        [&spec.output, &spec.input, &spec.input_after_equals, &spec.directory, &spec.value]
            .iter()
            .any(|list| is(list, name))
            || spec.generates.contains_key(name)
    };
    if is(&spec.refuse, name) {
        return Meaning::Refused;
    }
    if valued(name) {
        let joined_only = is(&spec.joined, name);
        let value = if joined_only { Some(inline.unwrap_or_default()) } else { inline };
        return Meaning::Valued { name: name.to_owned(), value };
    }
    if is(&spec.plain, name) {
        return Meaning::Plain;
    }
    // `-oFILE`
    if !word.starts_with("--") && word.len() > 2 && word.is_char_boundary(2) {
        let (short, rest) = word.split_at(2);
        if valued(short) && !is(&spec.refuse, short) {
            return Meaning::Valued { name: short.to_owned(), value: Some(rest) };
        }
    }
    Meaning::Refused
}

fn read(spec: &Spec, words: &[String]) -> Result<Reading, Reason> {
    let mut reading = Reading::default();
    let mut at = words.iter().enumerate();
    let mut only_operands = false;
    while let Some((place, word)) = at.next() {
        if only_operands || !word.starts_with('-') {
            reading.at.push(place);
            reading.operands.push(word.clone());
            continue;
        }
        match word.as_str() {
            "-" => return Err(Reason::StandardInput),
            "--" => {
                only_operands = true;
                reading.asking.push(word.clone());
                continue;
            }
            _ => {}
        }
        match meaning(spec, word) {
            Meaning::Refused => return Err(Reason::Operation),
            Meaning::Plain => {
                let name = word.split('=').next().unwrap_or(word);
                reading.set.insert(name.to_owned());
                if !spec.dependency_drops.iter().any(|drop| drop == name) {
                    reading.asking.push(word.clone());
                }
            }
            Meaning::Valued { name, value } => {
                let separate = value.is_none();
                let value = match value {
                    Some(value) => value.to_owned(),
                    None => at.next().ok_or(Reason::Syntax)?.1.clone(),
                };
                if !spec.dependency_drops.contains(&name) {
                    reading.asking.push(word.clone());
                    reading.asking.extend(separate.then(|| value.clone()));
                }
                reading.take(spec, name, value)?;
            }
        }
    }
    Ok(reading)
}

impl Reading {
    fn take(&mut self, spec: &Spec, name: String, value: String) -> Result<(), Reason> {
        if spec.output.contains(&name) {
            self.outputs.push(value);
        } else if spec.input.contains(&name) {
            self.inputs.push(value);
        } else if spec.input_after_equals.contains(&name) {
            let (_, file) = value.split_once('=').ok_or(Reason::Syntax)?;
            self.inputs.push(file.to_owned());
        } else if spec.directory.contains(&name) {
            self.directories.push(value);
        } else if spec.generates.contains_key(&name) {
            self.generated.push((name.clone(), value));
        }
        self.set.insert(name);
        Ok(())
    }

    fn place_operands(&mut self, spec: &Spec) -> Result<(), Reason> {
        let operands = self.operands.clone();
        match spec.operands {
            Operands::Inputs => self.inputs.splice(0..0, operands).for_each(drop),
            Operands::InPlace => {
                if self.outputs.is_empty() {
                    self.rewritten = true;
                    self.outputs.clone_from(&operands);
                } else if operands.len() > 1 {
                    return Err(Reason::Syntax);
                }
                self.inputs.extend(operands);
            }
            Operands::FromTo => match operands.as_slice() {
                [one] => {
                    self.rewritten = true;
                    self.inputs.push(one.clone());
                    self.outputs.push(one.clone());
                }
                [from, to] => {
                    self.inputs.push(from.clone());
                    self.outputs.push(to.clone());
                }
                _ => return Err(Reason::Syntax),
            },
        }
        if self.operands.is_empty() {
            return Err(Reason::NoInput);
        }
        Ok(())
    }

    /// Outputs that no word names.
    fn outputs_by_rule(&mut self, spec: &Spec) -> Result<(), Reason> {
        let stem = |path: &str| {
            let name = paths::file_name(path);
            name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()
        };
        for (option, value) in self.generated.clone() {
            // `PARAMETERS:DIRECTORY`
            let value = value.rsplit_once(':').map_or(value.as_str(), |(_, directory)| directory);
            let templates = spec.generates.get(&option).ok_or(Reason::Syntax)?;
            for input in &self.operands {
                let name = self.name_in_directory(input);
                let name = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
                for template in templates {
                    let output = template
                        .replace("{value}", value)
                        .replace("{name}", name)
                        .replace("{module}", &name.replace('-', "_"));
                    self.outputs.push(paths::normalise(&output));
                }
            }
        }
        let set = |list: &[String]| list.iter().any(|option| self.set.contains(option));
        if !spec.default_outputs.is_empty() && !set(&spec.default_unless) {
            if set(&spec.no_defaults_with) {
                return Err(Reason::Operation);
            }
            let stem = stem(self.operands.first().ok_or(Reason::NoInput)?);
            let defaults = spec.default_outputs.iter().map(|o| o.replace("{stem}", &stem));
            self.outputs.splice(0..0, defaults).for_each(drop);
        }
        if spec.needs_output && self.outputs.is_empty() {
            return Err(Reason::NoOutput);
        }
        for also in spec.also.iter().filter(|also| set(&also.with)) {
            let first = self.outputs.first().ok_or(Reason::NoOutput)?.clone();
            let without = paths::with_suffix(&first, "");
            let without = without.trim_end_matches('.').to_owned();
            let suffix = &first[first.len().min(without.len())..];
            for template in &also.outputs {
                let mut output = template.replace("{output-stem}", &without);
                if let Some(other) = also.suffixes.get(suffix) {
                    output = format!("{without}{other}");
                }
                self.outputs.push(output);
            }
        }
        self.outputs.sort();
        self.outputs.dedup();
        Ok(())
    }

    /// An input as it is seen from the first directory that it lies in.
    fn name_in_directory(&self, input: &str) -> String {
        let tidy = paths::normalise(input);
        for directory in &self.directories {
            let directory = paths::normalise(directory);
            if directory == "." {
                return tidy;
            }
            if let Some(rest) = tidy.strip_prefix(&format!("{directory}/")) {
                return rest.to_owned();
            }
        }
        tidy
    }
}

/// Inputs that only the tool knows.
fn hidden(
    session: &Session,
    spec: &Spec,
    program: &str,
    reading: &Reading,
) -> Result<Vec<String>, Reason> {
    let folder = tempfile::tempdir_in(&session.settings.tmpdir).map_err(|_| Reason::DepsFailed)?;
    let place = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (list, nowhere) = (place("dependencies"), place("nowhere"));
    let options: Vec<String> = spec
        .dependency_options
        .iter()
        .map(|o| o.replace("{dependencies}", &list).replace("{nowhere}", &nowhere))
        .collect();
    let groups: Vec<&[String]> = if spec.dependency_each {
        reading.operands.chunks(1).collect()
    } else {
        vec![&reading.operands]
    };
    let mut found = Vec::new();
    for operands in groups {
        let mut arguments = reading.asking.clone();
        arguments.extend(options.iter().cloned());
        arguments.extend_from_slice(operands);
        let asked = run::ask(program, &arguments).map_err(|_| Reason::DepsFailed)?;
        if asked.code() != 0 {
            return Err(Reason::DepsFailed);
        }
        let text = std::fs::read_to_string(&list)
            .unwrap_or_else(|_| String::from_utf8_lossy(&asked.stdout).into_owned());
        let rule = make_rule::prerequisites(&text);
        if rule.is_empty() {
            found.extend(text.lines().filter(|line| !line.is_empty()).map(str::to_owned));
        } else {
            found.extend(rule);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(tool: &str, line: &str) -> Result<(String, String), Reason> {
        let specs = spec::builtin().expect("descriptions");
        let mut reading = read(&specs[tool], &response::split(line))?;
        reading.place_operands(&specs[tool])?;
        reading.outputs_by_rule(&specs[tool])?;
        Ok((reading.inputs.join(" "), reading.outputs.join(" ")))
    }

    #[test]
    fn commands_of_all_tools() {
        for (tool, line, inputs, outputs) in [
            ("strip", "-g a b", "a b", "a b"),
            ("strip", "--strip-unneeded -o x a", "a", "x"),
            ("strip", "-R .comment --remove-section=.note a", "a", "a"),
            ("objcopy", "-O binary a b", "a", "b"),
            ("objcopy", "--only-keep-debug a a.debug", "a", "a.debug"),
            ("objcopy", "--add-gnu-debuglink=a.debug a", "a.debug a", "a"),
            ("objcopy", "--add-section .x=f a", "f a", "a"),
            (
                "protoc",
                "--cpp_out=gen -Isrc src/a/b.proto",
                "src/a/b.proto",
                "gen/a/b.pb.cc gen/a/b.pb.h",
            ),
            ("protoc", "--python_out=. x-y.proto", "x-y.proto", "x_y_pb2.py"),
            ("flex", "x.l", "x.l", "lex.yy.c"),
            ("flex", "-o x.c --header-file=x.h x.l", "x.l", "x.c x.h"),
            ("flex", "-ox.c x.l", "x.l", "x.c"),
            ("bison", "x.y", "x.y", "x.tab.c"),
            ("bison", "-d d/x.y", "d/x.y", "x.tab.c x.tab.h"),
            ("bison", "-d -o out/p.cc x.y", "x.y", "out/p.cc out/p.hh"),
            ("bison", "-Wall -d -o p.c x.y", "x.y", "p.c p.h"),
            (
                "glib-compile-resources",
                "--target=r.c --generate-source --sourcedir=d d/r.xml",
                "d/r.xml",
                "r.c",
            ),
        ] {
            let expected = (inputs.to_owned(), outputs.to_owned());
            assert_eq!(reading(tool, line), Ok(expected), "{tool} {line}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_cached() {
        for (tool, line) in [
            ("strip", "-p a"),
            ("strip", "--frobnicate a"),
            ("protoc", "--grpc_out=. a.proto"),
            ("flex", "-t x.l"),
            ("bison", "-v x.y"),
            ("bison", "--graph x.y"),
            ("flex", "-P yy x.l"),
        ] {
            assert_eq!(reading(tool, line), Err(Reason::Operation), "{tool} {line}");
        }
        assert_eq!(reading("strip", "-g"), Err(Reason::NoInput));
    }
}
