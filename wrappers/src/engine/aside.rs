//! Running a tool on copies of the files that it changes in place.
//!
//! `ar` and its kind write through what is there: killed in the middle, or on a full disk, they
//! leave neither the old file nor the new one. So they get a copy in the same folder (where the
//! paths in thin archives come out right), and the copy takes the file's place when they are done.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::link::archive;
use crate::paths;

use super::Job;

/// The copies that a tool works on.
pub(super) struct Aside {
    files: Vec<Copied>,
}

struct Copied {
    /// The file, absolute.
    path: PathBuf,
    /// As the command names it.
    name: String,
    /// The copy, absolute; removed when dropped.
    copy: tempfile::TempPath,
    /// The copy, as the command is to name it.
    copy_name: String,
}

impl Aside {
    /// Copies what the command changes. `None` if it must run on the files themselves: where it
    /// could not write to them, or others would not see the change.
    ///
    /// # Errors
    /// If there is no room for a copy.
    pub(super) fn prepare(job: &Job, directory: &str) -> io::Result<Option<Self>> {
        if !job.in_place {
            return Ok(None);
        }
        let mut files = Vec::new();
        for product in &job.products {
            let path = PathBuf::from(paths::absolute(&product.local, directory));
            match copy(&path, &product.local) {
                Ok(Some(copied)) => files.push(copied),
                Ok(None) => return Ok(None),
                Err(error) if is_full(&error) => return Err(error),
                // The tool says what is wrong with the folder.
                Err(_) => return Ok(None),
            }
        }
        // A name that stands in a response file only would stay what it is.
        let script = job.stdin.as_deref().and_then(|script| std::str::from_utf8(script).ok());
        let named = |file: &Copied| {
            job.real.iter().skip(1).any(|word| *word == file.name)
                || script.is_some_and(|text| words_of(text).any(|word| word == file.name))
        };
        Ok(files.iter().all(named).then_some(Self { files }))
    }

    /// The words of the command with the copies named.
    pub(super) fn words(&self, words: &[String]) -> Vec<String> {
        let named = |word: &String| {
            let found = self.files.iter().find(|file| file.name == *word);
            found.map_or_else(|| word.clone(), |file| file.copy_name.clone())
        };
        words.iter().map(named).collect()
    }

    /// A script with the copies named.
    pub(super) fn script(&self, script: &[u8]) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(script) else { return script.to_vec() };
        let mut out = String::with_capacity(text.len());
        for part in text.split_inclusive(ends_word) {
            let word = part.trim_end_matches(ends_word);
            match self.files.iter().find(|file| file.name == word) {
                Some(file) => {
                    out.push_str(&file.copy_name);
                    out.push_str(&part[word.len()..]);
                }
                None => out.push_str(part),
            }
        }
        out.into_bytes()
    }

    /// What the tool said, with the files named again.
    pub(super) fn said(&self, text: Vec<u8>) -> Vec<u8> {
        let mut text = text;
        for file in &self.files {
            let copy = file.copy_name.as_bytes();
            let mut out = Vec::with_capacity(text.len());
            let mut rest = &text[..];
            while let Some(at) = memchr::memmem::find(rest, copy) {
                out.extend_from_slice(&rest[..at]);
                out.extend_from_slice(file.name.as_bytes());
                rest = &rest[at + copy.len()..];
            }
            out.extend_from_slice(rest);
            text = out;
        }
        text
    }

    /// Puts the copies in place.
    ///
    /// # Errors
    /// If one cannot be renamed; the file is then what it was.
    pub(super) fn keep(self) -> io::Result<()> {
        for file in self.files {
            // A tool may end well without having made the file.
            if file.copy.exists() {
                // `ar -M` does not say by its status that it could not write.
                if !archive::is_whole(&file.copy) {
                    let what = format!("`{}` was not written whole; it is as it was", file.name);
                    return Err(io::Error::other(what));
                }
                file.copy.persist(&file.path).map_err(|error| error.error)?;
            }
        }
        Ok(())
    }
}

/// Whether a character stands between the words of a script.
fn ends_word(character: char) -> bool {
    character.is_whitespace() || character == ',' || character == ';'
}

fn words_of(script: &str) -> impl Iterator<Item = &str> {
    script.split(ends_word)
}

/// A copy beside `path`; a name without a file if there is none to copy. `None` if the tool must
/// have the file itself.
fn copy(path: &Path, name: &str) -> io::Result<Option<Copied>> {
    let there = match std::fs::symlink_metadata(path) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if !is_replaceable(path) {
        return Ok(None);
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let own = paths::file_name(name);
    let suffix = own.rsplit_once('.').map(|(_, suffix)| format!(".{suffix}")).unwrap_or_default();
    let file =
        tempfile::Builder::new().prefix(".forerunner-").suffix(&suffix).tempfile_in(folder)?;
    let copy = file.into_temp_path();
    match &there {
        None => std::fs::remove_file(&copy)?,
        Some(metadata) => {
            std::fs::copy(path, &copy)?;
            let mode = std::fs::Permissions::from_mode(metadata.mode() & 0o7777);
            // Only root may give a file away; anybody else owns what it could write here.
            let _given =
                std::os::unix::fs::chown(&copy, Some(metadata.uid()), Some(metadata.gid()));
            std::fs::set_permissions(&copy, mode)?;
        }
    }
    let file = copy.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let copy_name = format!("{}{file}", &name[..name.len() - own.len()]);
    Ok(Some(Copied { path: path.to_owned(), name: name.to_owned(), copy, copy_name }))
}

/// Whether another file may take the place of what a tool changes in place: not where the tool
/// could not write, or others would not see the change through another name of the file.
pub(super) fn is_replaceable(path: &Path) -> bool {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => {
            let alone = metadata.is_file() && metadata.nlink() == 1;
            alone && access(path, AccessFlags::W_OK).is_ok()
        }
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
