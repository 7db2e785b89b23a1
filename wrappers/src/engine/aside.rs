//! Running a tool on copies of the files that it changes in place.
//!
//! `ar` and its kind write through what is there: killed in the middle, or on a full disk, they
//! leave neither the old file nor the new one. So they get a copy in the same folder (where the
//! paths in thin archives come out right), and the copy takes the file's place when they are done.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::command::response::{self, Expanded};
use crate::link::archive;
use crate::paths;

use super::Job;
use super::place::Place;

/// Makes a script that calls files otherwise: the script, and the other name of a file.
pub type Rename = fn(&str, &dyn Fn(&str) -> Option<String>) -> String;

/// How a command names the files that it changes in place.
#[derive(Clone, Debug, Default)]
pub struct InPlace {
    /// Its arguments with response files opened.
    pub expanded: Expanded,
    /// Those of its words that are names of such files.
    pub at: Vec<usize>,
    /// A script on standard input that names them.
    pub script: Option<Rename>,
}

/// The copies that a tool works on.
pub(super) struct Aside {
    files: Vec<Copied>,
    /// The arguments with the copies named.
    pub(super) words: Vec<String>,
    /// The script with the copies named.
    pub(super) script: Option<Vec<u8>>,
    /// Response files in which the copies are named.
    lists: Vec<TempPath>,
    /// What they stand for, and what they are called.
    list_names: Vec<(String, String)>,
}

struct Copied {
    place: Place,
    /// Names of the file in the command, and what the copy is called instead.
    names: Vec<(String, String)>,
    /// Removed when dropped.
    copy: TempPath,
    /// Its inode, if it is a copy of something: a tool that writes through it leaves it the same.
    inode: Option<u64>,
    /// Whether what it is a copy of can be what a tool makes.
    was_whole: bool,
}

impl Aside {
    /// Copies what the command changes. `None` if it must run on the files themselves, to which
    /// it cannot write.
    ///
    /// # Errors
    /// If there is no room for a copy.
    pub(super) fn prepare(job: &Job, directory: &str, lists: &Path) -> io::Result<Option<Self>> {
        let Some(in_place) = &job.in_place else { return Ok(None) };
        let mut files: Vec<Copied> = Vec::new();
        for product in &job.products {
            match copy(&product.local, directory, &mut files) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) if is_full(&error) => return Err(error),
                // The tool says what is wrong with the folder.
                Err(_) => return Ok(None),
            }
        }
        let mut aside = Self {
            files,
            words: Vec::new(),
            script: None,
            lists: Vec::new(),
            list_names: Vec::new(),
        };
        aside.words = aside.renamed(in_place, job.real.get(1..).unwrap_or_default(), lists)?;
        if let Some(bytes) = &job.stdin {
            let renamed = std::str::from_utf8(bytes).ok().zip(in_place.script);
            let Some((text, rename)) = renamed else { return Ok(None) };
            aside.script = Some(rename(text, &|name| aside.copy_name(name)).into_bytes());
        }
        Ok(Some(aside))
    }

    /// The arguments with the copies named. Of response files only those are rewritten that name
    /// one: `gcc-ar` wants its first words on the command line itself.
    fn renamed(
        &mut self,
        in_place: &InPlace,
        arguments: &[String],
        lists: &Path,
    ) -> io::Result<Vec<String>> {
        let expanded = &in_place.expanded;
        let renamed = |(at, word): (usize, &String)| {
            let name = in_place.at.contains(&at).then(|| self.copy_name(word)).flatten();
            name.unwrap_or_else(|| word.clone())
        };
        let words: Vec<String> = expanded.words.iter().enumerate().map(renamed).collect();
        let (mut at, mut file) = (0, 0);
        let mut out = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let opened = argument.strip_prefix('@');
            if opened.is_none() || opened != expanded.files.get(file).map(String::as_str) {
                out.extend(words.get(at).cloned());
                at += 1;
                continue;
            }
            let inside = |at: &usize| expanded.origin.get(*at) == Some(&Some(file));
            let end = (at..).find(|at| !inside(at)).unwrap_or(at);
            out.push(match in_place.at.iter().any(|place| (at..end).contains(place)) {
                false => argument.clone(),
                true => {
                    let list = list(&words[at..end], lists)?;
                    let word = format!("@{}", list.display());
                    self.list_names.push((argument.clone(), word.clone()));
                    self.lists.push(list);
                    word
                }
            });
            (at, file) = (end, file + 1);
        }
        Ok(out)
    }

    fn copy_name(&self, name: &str) -> Option<String> {
        self.files.iter().find_map(|file| file.copy_name(name))
    }

    /// What the tool said, with the files named again.
    pub(super) fn said(&self, text: Vec<u8>) -> Vec<u8> {
        let mut names: Vec<_> = self.files.iter().flat_map(|file| &file.names).collect();
        names.extend(&self.list_names);
        // The name of one may be the end of another's.
        names.sort_by_key(|(_, copy)| std::cmp::Reverse(copy.len()));
        names.into_iter().fold(text, |text, (name, copy)| {
            let mut out = Vec::with_capacity(text.len());
            let mut rest = &text[..];
            while let Some(at) = memchr::memmem::find(rest, copy.as_bytes()) {
                out.extend_from_slice(&rest[..at]);
                out.extend_from_slice(name.as_bytes());
                rest = &rest[at + copy.len()..];
            }
            out.extend_from_slice(rest);
            out
        })
    }

    /// Puts the copies in place.
    ///
    /// # Errors
    /// If it cannot be done; the file is then what it was.
    pub(super) fn keep(self) -> io::Result<()> {
        self.files.into_iter().try_for_each(Copied::keep)
    }

    /// After a failure: `strip` goes on with the other files when it fails with one of them. So each
    /// file that it changed is tried by itself, and kept if the tool ends well.
    pub(super) fn keep_each(self, in_place: &InPlace, run: impl Fn(&[String]) -> bool) {
        if self.files.len() < 2 {
            return;
        }
        for file in self.files {
            if is_same(file.place.real(), &file.copy).unwrap_or(true) {
                continue;
            }
            let renamed = |(at, word): (usize, &String)| match in_place.at.contains(&at) {
                true => file.copy_name(word),
                false => Some(word.clone()),
            };
            let words: Vec<String> =
                in_place.expanded.words.iter().enumerate().filter_map(renamed).collect();
            if file.place.copy_to(&file.copy).is_ok() && run(&words) {
                // What went wrong was said already.
                let _kept = file.keep();
            }
        }
    }
}

impl Copied {
    fn copy_name(&self, name: &str) -> Option<String> {
        self.names.iter().find(|(known, _)| known == name).map(|(_, copy)| copy.clone())
    }

    fn keep(self) -> io::Result<()> {
        // A tool may end well without having made the file.
        let Ok(made) = std::fs::metadata(&self.copy) else { return Ok(()) };
        // `ar -M` does not say by its status that it could not write. What was torn before is no
        // better afterwards.
        if self.was_whole && !archive::is_whole(&self.copy) {
            let name = self.names.first().map(|(name, _)| name.as_str()).unwrap_or_default();
            let what = format!("`{name}` was not written whole; it is as it was");
            return Err(io::Error::other(what));
        }
        match self.inode {
            Some(inode) if inode == made.ino() => self.place.put(self.copy),
            _ => self.place.replace(self.copy),
        }
    }
}

/// A response file of these words.
fn list(words: &[String], folder: &Path) -> io::Result<TempPath> {
    let list = tempfile::Builder::new().prefix("forerunner-words-").tempfile_in(folder)?;
    let quoted: Vec<String> = words.iter().map(|word| response::quote(word)).collect();
    std::fs::write(list.path(), quoted.join("\n") + "\n")?;
    Ok(list.into_temp_path())
}

/// Makes a copy beside the file `name`; a name without a file if there is none to copy. `false` if
/// the tool must have the file itself.
fn copy(name: &str, directory: &str, files: &mut Vec<Copied>) -> io::Result<bool> {
    let path = PathBuf::from(paths::absolute(name, directory));
    let Some(place) = Place::find(&path) else { return Ok(false) };
    let folder = &name[..name.len() - paths::file_name(name).len()];
    if let Some(known) = files.iter_mut().find(|file| file.place.real() == place.real()) {
        // The same file by another name; from another folder it would be another thin archive.
        let Some(file) = known.copy.file_name().and_then(|file| file.to_str()) else {
            return Ok(false);
        };
        known.names.push((name.to_owned(), format!("{folder}{file}")));
        return Ok(known.copy.parent() == path.parent());
    }
    let copy = place.temporary()?;
    let (mut inode, mut was_whole) = (None, true);
    if place.is_taken() {
        place.copy_to(&copy)?;
        inode = Some(std::fs::metadata(&copy)?.ino());
        was_whole = archive::is_whole(&copy);
    } else {
        std::fs::remove_file(&copy)?;
    }
    let file = copy.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let names = vec![(name.to_owned(), format!("{folder}{file}"))];
    files.push(Copied { place, names, copy, inode, was_whole });
    Ok(true)
}

/// Whether two files have the same content.
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) =
        (BufReader::new(File::open(one)?), BufReader::new(File::open(other)?));
    loop {
        let (here, there) = (one.fill_buf()?, other.fill_buf()?);
        let length = here.len().min(there.len());
        if here[..length] != there[..length] || (length == 0 && here.len() != there.len()) {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
        one.consume(length);
        other.consume(length);
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
