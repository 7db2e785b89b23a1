//! The command line of `ar`.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::command::response::Expanded;
use crate::link::archive::{self, Archive};
use crate::paths;
use crate::reason::Reason;

/// What an `ar` command reads and writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArCommand {
    /// Files read, as named: the archive itself if it is there, members, response files.
    pub inputs: Vec<String>,
    /// The archive.
    pub outputs: Vec<String>,
    /// Which word names it, if a script does not.
    pub at: Vec<usize>,
    /// Plugins named by the command.
    pub plugins: Vec<String>,
    /// Why it is not cached although its output is known.
    pub refused: Option<Reason>,
}

impl ArCommand {
    /// Adds a file that is read; what cannot be had is for the tool to report.
    fn add(&mut self, name: &str, directory: &str) {
        if let Err(reason) = add_archive(name, directory, &mut self.inputs) {
            self.refused.get_or_insert(reason);
        }
    }
}

/// Options with a long name whose value names no file that we would have to know of.
const LONG_VALUES: &[&str] = &["--target", "--record-libdeps", "--format", "--rsp-quoting"];

/// What the letters say.
#[derive(Default)]
struct Letters {
    operation: Option<char>,
    index: bool,
    update: bool,
    real_times: bool,
    thin: bool,
    relative: bool,
    count: bool,
}

impl Letters {
    fn take(&mut self, letters: &str) -> Result<(), Reason> {
        for letter in letters.chars() {
            match letter {
                'd' | 'm' | 'q' | 'r' => self.set(letter)?,
                // These only read, or write other files than archives.
                'p' | 't' | 'x' => return Err(Reason::Operation),
                'M' => self.set('M')?,
                's' => self.index = true,
                'a' | 'b' | 'i' => self.relative = true,
                'N' => self.count = true,
                'u' => self.update = true,
                'U' => self.real_times = true,
                'c' | 'D' | 'f' | 'L' | 'o' | 'O' | 'P' | 'v' => {}
                'S' => self.index = false,
                'T' => self.thin = true,
                // `l` takes a value in newer versions only; `V` shows the version.
                _ => return Err(Reason::Syntax),
            }
        }
        Ok(())
    }

    fn set(&mut self, operation: char) -> Result<(), Reason> {
        match self.operation.replace(operation) {
            Some(before) if before != operation => Err(Reason::Syntax),
            _ => Ok(()),
        }
    }
}

/// Reads a command line, without the program. `script` is what stands on standard input, which
/// only `-M` reads.
///
/// # Errors
/// Why it is not cached.
pub fn read(
    expanded: &Expanded,
    directory: &str,
    script: impl FnOnce() -> Option<String>,
) -> Result<ArCommand, Reason> {
    let mut letters = Letters::default();
    let mut command = ArCommand {
        inputs: expanded.files.iter().chain(&expanded.nested).cloned().collect(),
        ..ArCommand::default()
    };
    let mut names: Vec<(usize, &str)> = Vec::new();
    let mut words = expanded.words.iter().enumerate();
    let (mut only_names, mut lettered) = (false, false);
    while let Some((at, word)) = words.next() {
        if only_names {
            names.push((at, word));
        } else if word == "--" {
            only_names = true;
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, inline) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            match name {
                "--thin" => letters.thin = true,
                name if name == "--plugin" || LONG_VALUES.contains(&name) => {
                    let value = match inline {
                        Some(value) => value,
                        None => words.next().map(|(_, word)| word.clone()).ok_or(Reason::Syntax)?,
                    };
                    match name {
                        "--plugin" => command.plugins.push(value),
                        // Response files would have to be read in another way.
                        "--rsp-quoting" if value != "posix" => return Err(Reason::Response),
                        _ => {}
                    }
                }
                _ if long.len() == 1 => return Err(Reason::Syntax),
                _ => return Err(Reason::Operation),
            }
        } else if let Some(rest) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            // For other systems; it means nothing.
            if rest == "X32_64" {
                continue;
            }
            letters.take(rest)?;
            lettered = true;
        } else if !lettered {
            // The first plain word holds the letters if none came with a dash.
            letters.take(word)?;
            lettered = true;
        } else {
            names.push((at, word));
        }
    }
    if letters.operation == Some('M') {
        let text = script().ok_or(Reason::StandardInput)?;
        read_script(&text, directory, &mut command)?;
        return Ok(command);
    }
    finish(&letters, names, directory, command)
}

fn finish(
    letters: &Letters,
    names: Vec<(usize, &str)>,
    directory: &str,
    mut command: ArCommand,
) -> Result<ArCommand, Reason> {
    let mut names = names.into_iter();
    let mut members = Vec::new();
    if letters.relative {
        names.next().ok_or(Reason::Syntax)?;
    }
    if letters.count {
        names.next().ok_or(Reason::Syntax)?;
    }
    let (at, archive) = names.next().ok_or(Reason::NoInput)?;
    let there = exists(archive, directory);
    let operation = match letters.operation {
        Some(operation) => operation,
        None if letters.index => 's',
        None => return Err(Reason::Syntax),
    };
    if letters.real_times {
        command.refused = Some(Reason::NonDeterministic);
    } else if letters.update && there {
        command.refused = Some(Reason::MtimeUpdate);
    }
    if there {
        command.add(archive, directory);
    } else if matches!(operation, 'd' | 'm' | 's') {
        // An error; the tool says it better.
        return Err(Reason::Operation);
    }
    match operation {
        'r' | 'q' => {
            for (_, name) in names {
                members.push(name.to_owned());
                // A thin archive holds what its members' archives hold.
                command.add(name, directory);
            }
        }
        // Names within the archive.
        _ => {}
    }
    if there {
        refuse_itself(archive, &members, directory, &command)?;
        // GNU ar makes an ordinary archive a thin one of itself.
        let full = paths::absolute(archive, directory);
        if letters.thin && archive::look(Path::new(&full)).is_ok_and(|a| a == Archive::Ordinary) {
            return Err(Reason::Archive);
        }
    } else if Path::new(&paths::absolute(archive, directory)).is_symlink()
        || members.iter().any(|member| will_be_one(member, archive, directory))
    {
        // The tool makes the archive before it reads the member that this then is.
        return Err(Reason::Archive);
    }
    command.outputs.push(archive.to_owned());
    command.at.push(at);
    Ok(command)
}

/// Refuses to put an archive into itself: a thin one would have its name, and on a copy that of
/// the copy.
fn refuse_itself(
    archive: &str,
    members: &[String],
    directory: &str,
    command: &ArCommand,
) -> Result<(), Reason> {
    let file = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    let full = PathBuf::from(paths::absolute(archive, directory));
    let own = file(&full);
    let is_itself = |path: &Path| file(path) == own;
    let inputs = command.inputs.iter().filter(|input| *input != archive);
    let mut named =
        inputs.chain(members).map(|name| PathBuf::from(paths::absolute(name, directory)));
    let held = match archive::look(&full) {
        Ok(Archive::Thin(members)) => members,
        _ => Vec::new(),
    };
    let holds = named.any(|path| is_itself(&path)) || held.iter().any(|path| is_itself(path));
    if holds { Err(Reason::Archive) } else { Ok(()) }
}

/// Whether two names that lead nowhere yet will lead to one file.
fn will_be_one(one: &str, other: &str, directory: &str) -> bool {
    let place = |name: &str| {
        let path = PathBuf::from(paths::absolute(name, directory));
        let folder = std::fs::metadata(path.parent()?).ok()?;
        Some((folder.dev(), folder.ino(), path.file_name()?.to_owned()))
    };
    place(one).is_some_and(|one| place(other) == Some(one))
}

fn exists(name: &str, directory: &str) -> bool {
    Path::new(&paths::absolute(name, directory)).exists()
}

/// Adds a file, and if it is a thin archive all that it stands for.
fn add_archive(name: &str, directory: &str, inputs: &mut Vec<String>) -> Result<(), Reason> {
    if inputs.iter().any(|input| input == name) {
        return Ok(());
    }
    let full = paths::absolute(name, directory);
    if !Path::new(&full).is_file() {
        return Err(Reason::Operation);
    }
    inputs.push(name.to_owned());
    let members = match archive::look(Path::new(&full)) {
        Ok(Archive::Thin(members)) => members,
        Ok(_) => return Ok(()),
        Err(_) => return Err(Reason::ForeignFormat),
    };
    let root = format!("{}/", directory.trim_end_matches('/'));
    for member in members {
        let member = member.to_str().ok_or(Reason::InputName)?;
        let shown = if name.starts_with('/') {
            member
        } else {
            member.strip_prefix(&root).unwrap_or(member)
        };
        add_archive(shown, directory, inputs)?;
    }
    Ok(())
}

/// An MRI script that makes or changes one archive.
fn read_script(text: &str, directory: &str, command: &mut ArCommand) -> Result<(), Reason> {
    let mut output: Option<String> = None;
    let mut saved = false;
    let mut members = Vec::new();
    for line in text.lines() {
        let line = line.split([';', '*']).next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if line.ends_with('+') {
            return Err(Reason::Syntax);
        }
        let (verb, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        // What is saved stays, even if something fails after it.
        if saved && !verb.eq_ignore_ascii_case("END") {
            return Err(Reason::Operation);
        }
        let operands: Vec<&str> =
            rest.split([',', ' ', '\t']).filter(|word| !word.is_empty()).collect();
        match verb.to_ascii_uppercase().as_str() {
            "CREATE" | "CREATETHIN" if output.is_none() && operands.len() == 1 => {
                output = Some(operands[0].to_owned());
            }
            "OPEN" if output.is_none() && operands.len() == 1 => {
                // An error otherwise; the tool says it better.
                if !exists(operands[0], directory) {
                    return Err(Reason::Operation);
                }
                output = Some(operands[0].to_owned());
            }
            "ADDLIB" if operands.len() == 1 && !rest.contains('(') => {
                members.push(operands[0].to_owned());
                command.add(operands[0], directory);
            }
            "ADDMOD" | "REPLACE" => {
                for name in operands {
                    members.push(name.to_owned());
                    command.add(name, directory);
                }
            }
            // Names within the archive.
            "DELETE" if output.is_some() => {}
            "SAVE" if output.is_some() => saved = true,
            "END" => break,
            _ => return Err(Reason::Operation),
        }
    }
    let output = output.filter(|_| saved).ok_or(Reason::Operation)?;
    // A script leaves what is there until it saves.
    if exists(&output, directory) {
        refuse_itself(&output, &members, directory, command)?;
        command.add(&output, directory);
    }
    command.outputs.push(output);
    Ok(())
}

/// A script in which the archive that it makes or changes is called otherwise.
#[must_use]
pub fn rename_in_script(text: &str, other: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (code, comment) = line.split_at(line.find([';', '*']).unwrap_or(line.len()));
        let mut words = code.split_whitespace();
        let verb = words.next().unwrap_or_default().to_ascii_uppercase();
        let named = words.next().filter(|_| ["CREATE", "CREATETHIN", "OPEN"].contains(&&*verb));
        match named.and_then(|name| Some((name, other(name)?))) {
            // The verb comes first, and may hold the name.
            Some((name, other)) => {
                let (before, after) = code.rsplit_once(name).unwrap_or((code, ""));
                out.extend([before, &other, after, comment]);
            }
            None => out.push_str(line),
        }
    }
    out
}

/// Whether no member of an archive bears a time or an owner.
#[must_use]
pub fn is_deterministic(path: &Path) -> bool {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let check = || -> Option<bool> {
        let mut file = std::fs::File::open(path).ok()?;
        let end = file.metadata().ok()?.len();
        let mut magic = [0; 8];
        file.read_exact(&mut magic).ok()?;
        let thin = &magic == b"!<thin>\n";
        let mut at = 8_u64;
        while at + 60 <= end {
            file.seek(SeekFrom::Start(at)).ok()?;
            let mut header = [0; 60];
            file.read_exact(&mut header).ok()?;
            let text = |range: std::ops::Range<usize>| -> Option<&str> {
                Some(std::str::from_utf8(header.get(range)?).ok()?.trim())
            };
            let name = text(0..16)?;
            let special = name == "/" || name == "//" || name == "/SYM64/";
            let zero = |range| text(range).is_some_and(|field| field.is_empty() || field == "0");
            if !(zero(16..28) && zero(28..34) && zero(34..40)) {
                return Some(false);
            }
            let size: u64 = text(48..58)?.parse().ok()?;
            at += 60 + if thin && !special { 0 } else { size + size % 2 };
        }
        Some(true)
    };
    check().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::response;

    fn command(folder: &Path, line: &str) -> Result<ArCommand, Reason> {
        let words = response::split(line);
        let expanded = response::expand(&words, folder).expect("words");
        read(&expanded, folder.to_str().expect("UTF-8"), || {
            Some("CREATE n.a\nADDLIB old.a\nADDMOD a.o, b.o\nSAVE\nEND\n".to_owned())
        })
    }

    #[test]
    fn scripts_with_another_name() {
        let other = |name: &str| (name == "a").then(|| "b.tmp".to_owned());
        let text = "open a\nADDMOD a\n* OPEN a\n CREATE\ta ; a\nDELETE a\nsave";
        let renamed = "open b.tmp\nADDMOD a\n* OPEN a\n CREATE\tb.tmp ; a\nDELETE a\nsave";
        assert_eq!(rename_in_script(text, &other), renamed);
    }

    #[test]
    fn operations() {
        let folder = tempfile::tempdir().expect("a directory");
        for (name, text) in [("a.o", "a"), ("b.o", "b"), ("old.a", "!<arch>\n"), ("r", "a.o b.o")] {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        let at = |line: &str| command(folder.path(), line);
        let ok = |line: &str, inputs: &str, output: &str| {
            let found = at(line).unwrap_or_else(|reason| panic!("{line}: {reason}"));
            assert_eq!(
                (found.inputs.join(" ").as_str(), found.outputs[0].as_str()),
                (inputs, output),
                "{line}"
            );
        };
        ok("rcs new.a a.o b.o", "a.o b.o", "new.a");
        ok("-rcs new.a a.o b.o", "a.o b.o", "new.a");
        ok("rcs old.a a.o", "old.a a.o", "old.a");
        ok("rcu new.a a.o", "a.o", "new.a");
        ok("cDPrST new.a a.o", "a.o", "new.a");
        ok("csrDT new.a a.o", "a.o", "new.a");
        ok("qc new.a a.o a.o", "a.o", "new.a");
        ok("rb x.o old.a a.o", "old.a a.o", "old.a");
        ok("dN 2 old.a a.o", "old.a", "old.a");
        ok("s old.a", "old.a", "old.a");
        ok("--thin -rc new.a a.o", "a.o", "new.a");
        ok("--plugin p.so rc new.a a.o", "a.o", "new.a");
        ok("rc new.a @r", "r a.o b.o", "new.a");
        ok("-X32_64 rc new.a a.o", "a.o", "new.a");
        ok("--record-libdeps=-lm rc new.a a.o", "a.o", "new.a");
        ok("-rc -- old.a a.o", "old.a a.o", "old.a");
        ok("-M", "old.a a.o b.o", "n.a");
        for (line, reason) in [
            ("--rsp-quoting=windows rc new.a a.o", Reason::Response),
            ("t old.a", Reason::Operation),
            ("x old.a", Reason::Operation),
            ("p old.a a.o", Reason::Operation),
            ("--version", Reason::Operation),
            ("rd old.a a.o", Reason::Syntax),
            ("c new.a", Reason::Syntax),
            ("r", Reason::NoInput),
            ("sS old.a", Reason::Syntax),
            ("sT old.a", Reason::Archive),
            ("r old.a old.a", Reason::Archive),
        ] {
            assert_eq!(at(line), Err(reason), "{line}");
        }
        for (line, reason) in [
            ("rcU new.a a.o", Reason::NonDeterministic),
            ("rcu old.a a.o", Reason::MtimeUpdate),
            ("rc new.a gone.o", Reason::Operation),
        ] {
            assert_eq!(at(line).expect("an output").refused, Some(reason), "{line}");
        }
    }
}
