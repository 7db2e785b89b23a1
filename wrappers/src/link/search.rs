//! Finds every file that the linker reads.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use crate::paths;
use crate::reason::Reason;

use super::archive::{self, Archive};
use super::driver;
use super::elf::LibraryPath;
use super::options::{self, LinkEffect};

/// Where and how files are searched.
pub struct Search<'a> {
    /// The current directory, absolute.
    pub directory: &'a str,
    /// Directories searched by default.
    pub default_dirs: &'a [String],
    /// `LD_LIBRARY_PATH` and `LD_RUN_PATH` of the environment.
    pub searched_first: &'a [String],
    /// Objects of sources on the same command line, which do not exist yet, begin so.
    pub temporary: &'a str,
    /// Only what the reference looks at: thin archives, scripts and versioned libraries are
    /// refused.
    pub as_reference: bool,
    /// The map is known to be an output.
    pub writes_map: bool,
}

/// Files that are read, as the linker names them, and places where a library was looked for in
/// vain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkInputs {
    /// In order, each once.
    pub files: Vec<String>,
    /// Absolute.
    pub absent: BTreeSet<PathBuf>,
}

struct State<'a> {
    search: &'a Search<'a>,
    found: LinkInputs,
    seen: HashSet<String>,
    dirs: Vec<String>,
    run_path: Vec<String>,
    run_path_link: Vec<String>,
    shared: Vec<PathBuf>,
    /// Where the linker believes the root of the file system to be, if it is told.
    sysroot: Option<String>,
}

/// Follows a linker's command line.
///
/// # Errors
/// Why the command is not cached.
pub fn inputs(search: &Search<'_>, words: &[String]) -> Result<LinkInputs, Reason> {
    let sysroot = sysroot(words)?;
    if sysroot.is_some() && search.as_reference {
        return Err(Reason::LinkerFile);
    }
    let root = sysroot.as_deref().unwrap_or_default();
    let mut dirs = directories(words, root)?;
    dirs.extend(search.default_dirs.iter().map(|path| rooted(path, root)));
    let mut state = State {
        search,
        found: LinkInputs::default(),
        seen: HashSet::new(),
        dirs,
        run_path: Vec::new(),
        run_path_link: Vec::new(),
        shared: Vec::new(),
        sysroot,
    };
    state.follow(words)?;
    state.needed()?;
    Ok(state.found)
}

/// The last `--sysroot`; an empty one is none.
fn sysroot(words: &[String]) -> Result<Option<String>, Reason> {
    let mut found = None;
    let mut at = words.iter();
    while let Some(word) = at.next() {
        if let Some((effect, value, separate)) = options::find(word) {
            let value = if separate { at.next().map(String::as_str) } else { value };
            if effect == LinkEffect::Sysroot {
                let path = value.ok_or(Reason::LinkerUnknown)?.trim_end_matches('/');
                found = (!path.is_empty()).then(|| path.to_owned());
            }
        }
    }
    Ok(found)
}

/// A path whose `=` or `$SYSROOT` at the start stands for the sysroot.
fn rooted(path: &str, root: &str) -> String {
    match path.strip_prefix('=').or_else(|| path.strip_prefix("$SYSROOT")) {
        Some(rest) => format!("{root}{rest}"),
        None => path.to_owned(),
    }
}

/// `-L` counts for every `-l`, also one before it.
fn directories(words: &[String], root: &str) -> Result<Vec<String>, Reason> {
    let mut dirs = Vec::new();
    let mut at = words.iter();
    while let Some(word) = at.next() {
        if let Some((effect, value, separate)) = options::find(word) {
            let value = if separate { at.next().map(String::as_str) } else { value };
            if effect == LinkEffect::Directory {
                dirs.push(rooted(value.ok_or(Reason::LinkerUnknown)?, root));
            }
        }
    }
    Ok(dirs)
}

impl State<'_> {
    fn follow(&mut self, words: &[String]) -> Result<(), Reason> {
        let mut only_static = false;
        let mut at = words.iter();
        while let Some(word) = at.next() {
            if word.starts_with('@') {
                return Err(Reason::Response);
            }
            if !word.starts_with('-') {
                self.file(word)?;
                continue;
            }
            let Some((effect, value, separate)) = options::find(word) else { continue };
            let value = if separate { at.next().map(String::as_str) } else { value };
            let value = || value.ok_or(Reason::LinkerUnknown);
            match effect {
                // The reference takes it for an input, and what it needs.
                LinkEffect::Loader => {
                    if self.search.as_reference {
                        self.file(value()?)?;
                    }
                }
                LinkEffect::Value
                | LinkEffect::Output
                | LinkEffect::Directory
                | LinkEffect::Sysroot => {}
                LinkEffect::Static => only_static = true,
                LinkEffect::Shared => only_static = false,
                LinkEffect::Library => self.find(value()?, only_static)?,
                LinkEffect::RunPath => {
                    self.run_path.extend(split(value()?, self.sysroot.as_deref()));
                }
                LinkEffect::RunPathLink => {
                    self.run_path_link.extend(split(value()?, self.sysroot.as_deref()));
                }
                LinkEffect::Read => {
                    let path = value()?;
                    let plugin = word.trim_start_matches('-') == "plugin";
                    if plugin && self.search.as_reference {
                        self.file(path)?;
                        continue;
                    }
                    if self.search.as_reference {
                        return Err(Reason::LinkerFile);
                    }
                    // `-R DIR` is an rpath.
                    if Path::new(&paths::absolute(path, self.search.directory)).is_dir() {
                        self.run_path.push(path.to_owned());
                    } else {
                        self.push(path);
                    }
                }
                LinkEffect::Script => {
                    let path = value()?;
                    let full = paths::absolute(path, self.search.directory);
                    if self.search.as_reference || !Path::new(&full).is_file() {
                        return Err(Reason::LinkerFile);
                    }
                    self.push(path);
                    self.script(&full)?;
                }
                LinkEffect::Map if self.search.writes_map => {}
                LinkEffect::Map | LinkEffect::Refuse => return Err(Reason::LinkerFile),
            }
        }
        Ok(())
    }

    fn push(&mut self, path: &str) {
        if self.seen.insert(path.to_owned()) {
            self.found.files.push(path.to_owned());
        }
    }

    /// An input by its path: object, archive, library or script.
    fn file(&mut self, path: &str) -> Result<(), Reason> {
        let full = PathBuf::from(paths::absolute(path, self.search.directory));
        let temporary = paths::is_below(path, self.search.temporary) && !full.exists();
        if temporary && !self.search.as_reference {
            return Ok(());
        }
        if self.seen.contains(path) {
            return Ok(());
        }
        self.push(path);
        match archive::look(&full) {
            Ok(Archive::Ordinary) => Ok(()),
            Ok(Archive::Thin(_)) if self.search.as_reference => Err(Reason::Archive),
            Ok(Archive::Thin(members)) => {
                for member in members {
                    let member = member.to_str().ok_or(Reason::InputName)?.to_owned();
                    // As found from the archive, so relative if the archive is.
                    let seen_from = self.search.directory.trim_end_matches('/').to_owned() + "/";
                    let shown = if path.starts_with('/') {
                        member.as_str()
                    } else {
                        member.strip_prefix(&seen_from).unwrap_or(&member)
                    };
                    self.file(shown)?;
                }
                Ok(())
            }
            Ok(Archive::None) => self.other(&full),
            Err(_) => Err(Reason::LibraryMissing),
        }
    }

    /// No archive: an ELF file, or text that is a script.
    fn other(&mut self, full: &Path) -> Result<(), Reason> {
        let is_elf = starts_with(full, b"\x7fELF");
        let shown = full.to_string_lossy();
        if is_elf {
            if shown.contains(".so") {
                self.shared.push(full.to_owned());
            }
            return Ok(());
        }
        if starts_with(full, b"BC\xc0\xde") || starts_with(full, b"\xde\xc0\x17\x0b") {
            return Ok(());
        }
        if shown.ends_with(".o") || self.search.as_reference {
            return Ok(());
        }
        self.script(&shown)
    }

    fn script(&mut self, full: &str) -> Result<(), Reason> {
        let text = std::fs::read_to_string(full).map_err(|_| Reason::ForeignFormat)?;
        for name in driver::script_inputs(&text).ok_or(Reason::LinkerFile)? {
            let own = self.seen_from_root(full, &name);
            if let Some(library) = name.strip_prefix("-l") {
                self.find(library, false)?;
            } else if let Some(path) = own {
                self.file(&path)?;
            } else if name.contains('/') {
                self.file(&name)?;
            } else {
                self.named(&name)?;
            }
        }
        Ok(())
    }

    /// Where a script's name leads if it is seen from the sysroot: one that says so, or an absolute
    /// one in a script that lies there.
    fn seen_from_root(&mut self, script: &str, name: &str) -> Option<String> {
        let root = self.sysroot.clone()?;
        let marked = rooted(name, &root);
        if marked != name {
            return Some(marked);
        }
        let real = |path: &str| std::fs::canonicalize(path).ok();
        let directory = real(&paths::absolute(&root, self.search.directory))?;
        if !name.starts_with('/') || !real(script)?.starts_with(directory) {
            return None;
        }
        let path = format!("{root}{name}");
        let full = PathBuf::from(paths::absolute(&path, self.search.directory));
        if full.is_file() {
            return Some(path);
        }
        // Some linkers take what is there without the sysroot then.
        self.found.absent.insert(full);
        None
    }

    /// A plain name in a script: the current directory, then the search path.
    fn named(&mut self, name: &str) -> Result<(), Reason> {
        if Path::new(&paths::absolute(name, self.search.directory)).is_file() {
            return self.file(name);
        }
        self.search(&[name.to_owned()])
    }

    fn find(&mut self, name: &str, only_static: bool) -> Result<(), Reason> {
        match name.strip_prefix(':') {
            Some(exact) => self.search(&[exact.to_owned()]),
            None if only_static => self.search(&[format!("lib{name}.a")]),
            None => self.search(&[format!("lib{name}.so"), format!("lib{name}.a")]),
        }
    }

    /// The first directory that has one of the names wins; within it, the first name.
    fn search(&mut self, names: &[String]) -> Result<(), Reason> {
        for directory in self.dirs.clone() {
            for name in names {
                let path = format!("{}/{name}", directory.trim_end_matches('/'));
                let path = match self.search.as_reference && !path.starts_with('/') {
                    true => paths::normalise(&path),
                    false => path.strip_prefix("./").map_or(path.clone(), str::to_owned),
                };
                let full = PathBuf::from(paths::absolute(&path, self.search.directory));
                if full.is_file() {
                    return self.file(&path);
                }
                self.found.absent.insert(full);
            }
        }
        // These two are asked for in case they are there.
        if names.iter().any(|name| name.contains("_asneeded")) {
            return Ok(());
        }
        Err(Reason::LibraryMissing)
    }

    /// What the shared libraries need in turn.
    fn needed(&mut self) -> Result<(), Reason> {
        let search = self.search;
        let first = self
            .run_path_link
            .iter()
            .chain(&self.run_path)
            .chain(search.searched_first)
            .map(PathBuf::from)
            .collect();
        let mut last = LibraryPath::of_machine().last;
        if !search.as_reference {
            last.extend(self.dirs.iter().map(PathBuf::from));
        }
        let directory = PathBuf::from(search.directory);
        let mut path = LibraryPath { directory, first, last, root: None };
        if let Some(root) = &self.sysroot {
            path.enter(&path.directory.join(root));
        }
        let closure = path.closure(&self.shared);
        // The linker warns at most; the reference does not go on.
        if search.as_reference && closure.missing {
            return Err(Reason::LibraryMissing);
        }
        let absent = closure.absent.iter().map(|place| path.directory.join(place));
        self.found.absent.extend(absent);
        for library in closure.found {
            if let Some(path) = library.to_str() {
                let tidy = paths::normalise(path);
                self.push(if search.as_reference { &tidy } else { path });
            }
        }
        Ok(())
    }
}

fn split(value: &str, sysroot: Option<&str>) -> impl Iterator<Item = String> {
    let root = sysroot.unwrap_or_default();
    let paths = value.split(':').filter(|part| !part.is_empty());
    paths.map(move |path| rooted(path, root)).filter(|path| !path.contains('$'))
}

fn starts_with(path: &Path, magic: &[u8]) -> bool {
    let mut head = vec![0; magic.len()];
    std::fs::File::open(path)
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut head))
        .is_ok_and(|()| head == magic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn follow(folder: &Path, line: &str) -> Result<Vec<String>, Reason> {
        let search = Search {
            directory: folder.to_str().expect("UTF-8"),
            default_dirs: &[],
            searched_first: &[],
            temporary: "/tmp/nothing",
            as_reference: false,
            writes_map: false,
        };
        let words = crate::command::response::split(line);
        inputs(&search, &words).map(|found| found.files)
    }

    #[test]
    fn libraries_are_found_in_order() {
        let folder = tempfile::tempdir().expect("a directory");
        for name in ["l1/libx.a", "l2/libx.so", "l2/libx.a", "l2/libs.so", "m.o", "v.map"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("above")).expect("made");
            let text: &[u8] = match name {
                "l2/libs.so" => b"INPUT( -lx m.o )",
                name if name.ends_with(".a") => b"!<arch>\n",
                _ => b"\x7fELF and so on",
            };
            fs::write(path, text).expect("written");
        }
        let at = |line| follow(folder.path(), line);
        assert_eq!(at("-o p m.o -lx -Ll1 -Ll2"), Ok(vec!["m.o".into(), "l1/libx.a".into()]));
        assert_eq!(at("m.o -L l2 -lx"), Ok(vec!["m.o".into(), "l2/libx.so".into()]));
        assert_eq!(at("-Bstatic -Ll2 -lx"), Ok(vec!["l2/libx.a".into()]));
        assert_eq!(at("-Ll2 -l:libx.a"), Ok(vec!["l2/libx.a".into()]));
        assert_eq!(
            at("-Ll2 -ls --version-script v.map"),
            Ok(vec!["l2/libs.so".into(), "l2/libx.so".into(), "m.o".into(), "v.map".into()])
        );
        assert_eq!(at("m.o -lgone"), Err(Reason::LibraryMissing));
        assert_eq!(at("m.o -Map x.map"), Err(Reason::LinkerFile));
        assert_eq!(at("gone.o"), Err(Reason::LibraryMissing));
    }

    #[test]
    fn a_sysroot_is_the_root_of_scripts_and_of_marked_paths() {
        let folder = tempfile::tempdir().expect("a directory");
        for (name, text) in [
            ("m.o", "\x7fELF and so on"),
            ("r/usr/lib/libc.so", "GROUP ( /lib/libc.so.6 =/lib/more.a libx.a )"),
            ("r/lib/libc.so.6", "\x7fELF and so on"),
            ("r/lib/more.a", "!<arch>\n"),
            ("r/usr/lib/libx.a", "!<arch>\n"),
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("above")).expect("made");
            fs::write(path, text).expect("written");
        }
        let at = |line| follow(folder.path(), line);
        let expected: Vec<String> =
            ["m.o", "r/usr/lib/libc.so", "r/lib/libc.so.6", "r/lib/more.a", "r/usr/lib/libx.a"]
                .map(str::to_owned)
                .to_vec();
        assert_eq!(at("--sysroot=r -L=/usr/lib m.o -lc"), Ok(expected.clone()));
        assert_eq!(at("--sysroot r/ -L $SYSROOT/usr/lib m.o -lc"), Ok(expected));
        assert_eq!(at("-Lr/usr/lib m.o -lx"), Ok(vec!["m.o".into(), "r/usr/lib/libx.a".into()]));
    }
}
