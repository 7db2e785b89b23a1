//! Which programs a tool really runs, and what tells them apart from others.
//!
//! Without a root file system in the platform, an updated compiler would look like the old one.
//! So its programs, their libraries and their plugins are digested, and the digest goes into the
//! action's salt. Which files these are is asked once and kept with the files' stamps.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::bytes_io::{Reader, Writer, replace_file};
use crate::command::{Family, compiler};
use crate::link::elf::LibraryPath;
use crate::reason::Reason;
use crate::run;
use crate::session::Session;
use crate::settings::Work;
use crate::stamp::{self, STAMP_BYTES, Stamp};

const MAGIC: &[u8] = b"forerunner toolchain 2\n";

/// What identifies a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Differs for tools that may make something else.
    pub text: String,
    /// As much of PATH as its programs are found by, so that an action need not have the whole.
    /// `None` if any of it may matter.
    pub path: Option<String>,
}

/// Programs that gcc starts, by what it does.
const GCC_COMPILE: &[&str] = &["cc1", "cc1plus", "as", "objcopy"];
const GCC_LINK: &[&str] =
    &["cc1", "cc1plus", "as", "objcopy", "collect2", "ld", "lto1", "lto-wrapper"];
const CLANG_LINK: &[&str] = &["ld"];

/// Options that change which programs are started.
fn selects_programs(word: &str) -> bool {
    [
        "-B",
        "-fuse-ld",
        "--sysroot",
        "-gcc-toolchain",
        "--gcc-toolchain",
        "--target",
        "-m32",
        "-m64",
        "-mx32",
        "-no-canonical",
        "-fno-integrated-as",
        "-fno-use-linker-plugin",
    ]
    .iter()
    .any(|prefix| word.starts_with(prefix))
}

/// The options of a command line that change which programs are started.
fn selecting(words: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    let mut at = words.iter();
    while let Some(word) = at.next() {
        if word == "-target" || word == "-B" || word == "-gcc-toolchain" || word == "--sysroot" {
            out.push(word.clone());
            out.extend(at.next().cloned());
        } else if selects_programs(word) {
            out.push(word.clone());
        }
    }
    out
}

/// The identity of a compiler.
///
/// # Errors
/// [`Reason::Tool`] if its programs cannot be found or read.
pub fn of_compiler(
    session: &Session,
    program: &str,
    is_clang: bool,
    family: Family,
    work: Work,
    words: &[String],
    native: bool,
) -> Result<Identity, Reason> {
    let options = selecting(words);
    let roles: &[&str] = match (is_clang, work) {
        (true, Work::Link) => CLANG_LINK,
        (true, _) => &[],
        (false, Work::Link) => GCC_LINK,
        (false, _) => GCC_COMPILE,
    };
    let mut identity = remembered(session, program, &options, roles, |found| {
        for role in roles {
            let mut arguments = options.clone();
            arguments.push(format!("-print-prog-name={role}"));
            found.add_role(session, role, &answer(program, &arguments)?);
        }
        if work == Work::Link && !is_clang {
            let mut arguments = options.clone();
            arguments.push("-print-file-name=liblto_plugin.so".to_owned());
            let plugin = answer(program, &arguments)?;
            if plugin.contains('/') {
                found.files.push(("liblto_plugin".to_owned(), plugin.into()));
            }
        }
        if !is_clang {
            let mut arguments = options.clone();
            arguments.push("-print-file-name=specs".to_owned());
            let specs = answer(program, &arguments)?;
            if specs.contains('/') {
                found.files.push(("specs".to_owned(), specs.into()));
            }
        }
        Ok(())
    })?;
    if native {
        let native = native_flags(program, is_clang, family, words)?;
        identity.text = format!("{}+{native}", identity.text);
    }
    Ok(identity)
}

/// The identity of any other tool: its program, its libraries, and the files of `plugins`.
///
/// # Errors
/// [`Reason::Tool`] if the program cannot be found or read.
pub fn of_tool(session: &Session, program: &str, plugins: &[PathBuf]) -> Result<Identity, Reason> {
    let names: Vec<String> = plugins.iter().map(|path| path.display().to_string()).collect();
    remembered(session, program, &names, &[], |found| {
        for path in plugins {
            found.files.push(("plugin".to_owned(), path.clone()));
        }
        Ok(())
    })
}

/// What `native` means here: the options that the compiler proper gets.
fn native_flags(
    program: &str,
    is_clang: bool,
    family: Family,
    words: &[String],
) -> Result<String, Reason> {
    let mut arguments: Vec<String> =
        words.iter().filter(|word| word.starts_with("-m") && word.contains('=')).cloned().collect();
    let language = if family == Family::Clang || !is_clang { "c" } else { "c++" };
    arguments.extend(["-###", "-E", "-x", language, "/dev/null"].map(str::to_owned));
    let shown = run::ask(program, &arguments).map_err(|_| Reason::Tool)?;
    let text = String::from_utf8_lossy(&shown.stderr).into_owned();
    let line = text.lines().filter(|line| line.starts_with(' ')).collect::<Vec<_>>().join("\n");
    if shown.code() != 0 || line.is_empty() || line.contains("native") {
        return Err(Reason::Native);
    }
    Ok(blake3::hash(line.as_bytes()).to_hex()[..16].to_owned())
}

fn answer(program: &str, arguments: &[String]) -> Result<String, Reason> {
    let asked = run::ask(program, arguments).map_err(|_| Reason::Tool)?;
    if asked.code() != 0 {
        return Err(Reason::Tool);
    }
    Ok(String::from_utf8_lossy(&asked.stdout).trim().to_owned())
}

/// The files of a tool.
#[derive(Default)]
struct Found {
    files: Vec<(String, PathBuf)>,
    absent: Vec<PathBuf>,
    /// Entries of PATH in which something was found.
    entries: Vec<String>,
}

impl Found {
    fn add_role(&mut self, session: &Session, role: &str, path: &str) {
        if path.contains('/') {
            self.files.push((role.to_owned(), path.into()));
            return;
        }
        // The plain name: found on PATH when it is started, or not at all.
        for directory in session.variable("PATH").unwrap_or_default().split(':') {
            let candidate = Path::new(&session.directory).join(directory).join(path);
            if candidate.is_file() {
                self.files.push((role.to_owned(), candidate));
                self.entries.push(directory.to_owned());
                return;
            }
            self.absent.push(candidate);
        }
    }

    /// As much of PATH as everything was found by. Nothing is known of a program that is a script,
    /// or a launcher in disguise.
    fn needed_path(&self, session: &Session, program: &str, real: &Path) -> Option<String> {
        let name = real.file_name()?.to_str()?;
        compiler::recognise(name, None)?;
        let mut magic = [0; 4];
        std::fs::File::open(real).and_then(|mut file| file.read_exact(&mut magic)).ok()?;
        let path = session.variable("PATH")?;
        if magic != *b"\x7fELF" || path.split(':').any(|entry| !entry.starts_with('/')) {
            return None;
        }
        let needed = |entry: &&str| {
            let entry = entry.trim_end_matches('/');
            self.entries.iter().any(|found| found.trim_end_matches('/') == entry)
                || program.rsplit_once('/').is_some_and(|(folder, _)| folder == entry)
        };
        let mut entries: Vec<&str> = Vec::new();
        for entry in path.split(':').filter(needed) {
            if !entries.contains(&entry) {
                entries.push(entry);
            }
        }
        (!entries.is_empty()).then(|| entries.join(":"))
    }
}

fn remembered(
    session: &Session,
    program: &str,
    options: &[String],
    roles: &[&str],
    find: impl FnOnce(&mut Found) -> Result<(), Reason>,
) -> Result<Identity, Reason> {
    let real = session.real(program).ok_or(Reason::Tool)?;
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: &[u8]| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    add(program.as_bytes());
    add(real.as_os_str().as_encoded_bytes());
    options.iter().for_each(|option| add(option.as_bytes()));
    add(b"");
    roles.iter().for_each(|role| add(role.as_bytes()));
    for name in ["PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX", "LD_LIBRARY_PATH", "LD_PRELOAD"] {
        add(session.variable(name).unwrap_or_default().as_bytes());
    }
    let place =
        session.aside("toolchain").map(|folder| folder.join(&hasher.finalize().to_hex()[..32]));
    if let Some(identity) = place.as_deref().and_then(recall) {
        return Ok(identity);
    }
    let mut found = Found::default();
    found.files.push(("driver".to_owned(), real.clone()));
    find(&mut found)?;
    let needed = found.needed_path(session, program, &real);
    let mut path = LibraryPath::of_machine();
    path.first = session
        .variable("LD_LIBRARY_PATH")
        .unwrap_or_default()
        .split(':')
        .filter(|part| !part.is_empty())
        .map(PathBuf::from)
        .collect();
    let programs: Vec<PathBuf> = found.files.iter().map(|(_, path)| path.clone()).collect();
    for library in path.closure(&programs).found {
        found.files.push(("library".to_owned(), library));
    }
    digest(&found, needed, place.as_deref())
}

fn digest(found: &Found, needed: Option<String>, place: Option<&Path>) -> Result<Identity, Reason> {
    let mut lines = Vec::new();
    let mut writer = Writer(MAGIC.to_vec());
    writer.small(found.files.len());
    let now = stamp::now();
    let mut settled = true;
    for (role, path) in &found.files {
        let read = || -> std::io::Result<(Stamp, blake3::Hash)> {
            let before = Stamp::of(&std::fs::metadata(path)?);
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(std::fs::File::open(path)?)?;
            Ok((before, hasher.finalize()))
        };
        let (stamp, hash) = read().map_err(|_| Reason::Tool)?;
        settled &= stamp.is_settled(now);
        lines.push(format!("{role} {hash}\n"));
        writer.bytes(path.as_os_str().as_encoded_bytes());
        writer.0.extend_from_slice(&stamp.to_bytes());
    }
    writer.small(found.absent.len());
    for path in &found.absent {
        writer.bytes(path.as_os_str().as_encoded_bytes());
    }
    lines.sort();
    lines.dedup();
    let identity = blake3::hash(lines.concat().as_bytes()).to_hex()[..32].to_owned();
    writer.text(&identity);
    // An entry of PATH is absolute.
    writer.text(needed.as_deref().unwrap_or("none"));
    if let Some(place) = place.filter(|_| settled) {
        replace_file(place, &writer.0);
    }
    Ok(Identity { text: identity, path: needed })
}

fn recall(place: &Path) -> Option<Identity> {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = std::fs::read(place).ok()?;
    let mut reader = Reader(bytes.strip_prefix(MAGIC)?);
    for _ in 0..reader.small()? {
        let path = Path::new(std::ffi::OsStr::from_bytes(reader.bytes()?));
        let stamp = Stamp::from_bytes(reader.take(STAMP_BYTES)?.try_into().ok()?);
        if Stamp::of(&std::fs::metadata(path).ok()?) != stamp {
            return None;
        }
    }
    for _ in 0..reader.small()? {
        let path = Path::new(std::ffi::OsStr::from_bytes(reader.bytes()?));
        if path.exists() {
            return None;
        }
    }
    let text = reader.text()?.to_owned();
    let path = Some(reader.text()?.to_owned()).filter(|path| path != "none");
    Some(Identity { text, path })
}
