//! The place of a file that a tool changes in place, and how new content gets there whole.
//!
//! The GNU tools write through what is there, so that links to it show the change; those of LLVM
//! rename a new file over the name. Only a rename makes a change whole, so here the one is made to
//! look like the other.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use forerunner_reapi::put_in_place;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{AccessFlags, access};
use tempfile::TempPath;

use super::leftovers;

/// More links than any sane path has.
const MOST_LINKS: usize = 40;

/// Where new content goes.
#[derive(Debug)]
pub(super) struct Place {
    /// As the command names it, absolute.
    path: PathBuf,
    /// The same with links followed.
    real: PathBuf,
    /// What is there.
    there: Option<Metadata>,
}

impl Place {
    /// `None` if the tool must have the file itself: it could not write to it, it is no file, or a
    /// link that leads nowhere.
    pub(super) fn find(path: &Path) -> Option<Self> {
        let real = follow(path)?;
        let there = match std::fs::symlink_metadata(&real) {
            Ok(metadata) => {
                if !metadata.is_file() || access(&real, AccessFlags::W_OK).is_err() {
                    return None;
                }
                Some(metadata)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && real == path => None,
            Err(_) => return None,
        };
        Some(Self { path: path.to_owned(), real, there })
    }

    /// The file, with links followed.
    pub(super) fn real(&self) -> &Path {
        &self.real
    }

    /// Whether a file is there.
    pub(super) fn is_taken(&self) -> bool {
        self.there.is_some()
    }

    /// Whether it makes no difference how new content gets there: there is nothing, or a file
    /// with one name and the mode of a new one.
    pub(super) fn is_plain(&self) -> bool {
        let plain = |there: &Metadata| {
            let all = if there.mode() & 0o100 != 0 { 0o777 } else { 0o666 };
            there.nlink() == 1 && there.mode() & 0o7777 == all & !file_mask()
        };
        self.real == self.path && self.there.as_ref().is_none_or(plain)
    }

    /// A name for the new content, beside the place as the command names it: there the paths in
    /// thin archives come out right. What earlier runs left goes away.
    ///
    /// # Errors
    /// If there is no room, or the folder cannot be written to.
    pub(super) fn temporary(&self) -> io::Result<TempPath> {
        leftovers::sweep(&self.path);
        if self.real != self.path {
            leftovers::sweep(&self.real);
        }
        leftovers::temporary(&self.path)
    }

    /// Copies what is there.
    ///
    /// # Errors
    /// If there is no room for it.
    pub(super) fn copy_to(&self, to: &Path) -> io::Result<()> {
        std::fs::copy(&self.real, to)?;
        self.dress(to)
    }

    /// Gives a file the mode and, where we may, the owner of what is there.
    fn dress(&self, file: &Path) -> io::Result<()> {
        let Some(there) = &self.there else { return Ok(()) };
        // Only root may give a file away; anybody else owns what it could write here.
        let _given = std::os::unix::fs::chown(file, Some(there.uid()), Some(there.gid()));
        std::fs::set_permissions(file, Permissions::from_mode(there.mode() & 0o7777))
    }

    /// Puts a new file over the name, whatever it was.
    ///
    /// # Errors
    /// If it cannot be done; what is there is then what it was.
    pub(super) fn replace(self, from: TempPath) -> io::Result<()> {
        put_in_place(from, &self.path).map_err(|error| error.error)
    }

    /// Puts new content where all names of the file show it.
    ///
    /// # Errors
    /// If it cannot be done; what is there is then what it was.
    pub(super) fn put(self, from: TempPath) -> io::Result<()> {
        self.dress(&from)?;
        if self.there.as_ref().is_some_and(|there| there.nlink() > 1) {
            return match self.other_names() {
                Some(others) => {
                    self.rename(from)?;
                    others.iter().try_for_each(|other| self.link(other))
                }
                None => self.write_through(&from),
            };
        }
        self.rename(from)
    }

    fn rename(&self, from: TempPath) -> io::Result<()> {
        let Err(failed) = put_in_place(from, &self.real) else { return Ok(()) };
        if self.real == self.path {
            return Err(failed.error);
        }
        // A link led to another file system, or into a folder that is not ours.
        match leftovers::temporary(&self.real) {
            Ok(near) => {
                std::fs::copy(&failed.path, &near)?;
                self.dress(&near)?;
                put_in_place(near, &self.real).map_err(|error| error.error)
            }
            Err(_) => self.write_through(&failed.path),
        }
    }

    /// The further names of the file, if all are in its folder.
    fn other_names(&self) -> Option<Vec<PathBuf>> {
        let there = self.there.as_ref()?;
        let mut others = Vec::new();
        for entry in std::fs::read_dir(self.real.parent()?).ok()? {
            let path = entry.ok()?.path();
            let same = std::fs::symlink_metadata(&path)
                .is_ok_and(|found| (found.dev(), found.ino()) == (there.dev(), there.ino()));
            if same && path != self.real {
                others.push(path);
            }
        }
        (others.len() as u64 + 1 == there.nlink()).then_some(others)
    }

    /// Makes `other` a further name of the new file, in one step.
    fn link(&self, other: &Path) -> io::Result<()> {
        let name = leftovers::temporary(other)?;
        std::fs::remove_file(&name)?;
        std::fs::hard_link(&self.real, &name)?;
        put_in_place(name, other).map_err(|error| error.error)
    }

    /// Writes into the file, for its names that nobody can find. Only here can a kill leave
    /// something between old and new; no room for it can not.
    fn write_through(&self, from: &Path) -> io::Result<()> {
        let mut content = File::open(from)?;
        let mut file = File::options().write(true).create(true).truncate(false).open(&self.real)?;
        let (old, new) = (file.metadata()?.len(), content.metadata()?.len());
        if let Ok(more @ 1..) = i64::try_from(new.saturating_sub(old)) {
            let reserved =
                fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, old.cast_signed(), more);
            // Not every file system can tell beforehand.
            if let Err(error @ (nix::Error::ENOSPC | nix::Error::EDQUOT)) = reserved {
                return Err(error.into());
            }
        }
        io::copy(&mut content, &mut file)?;
        file.set_len(new)
    }
}

/// What new files are not allowed. It can only be read by setting it.
fn file_mask() -> u32 {
    let mask = umask(Mode::empty());
    umask(mask);
    mask.bits()
}

/// Where a path leads, whether or not something is there. `None` if it goes in circles.
fn follow(path: &Path) -> Option<PathBuf> {
    let mut at = path.to_owned();
    for _ in 0..MOST_LINKS {
        match std::fs::read_link(&at) {
            Ok(target) => at = at.parent()?.join(target),
            Err(_) => return Some(at),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn put(path: &Path, text: &str) {
        let place = Place::find(path).expect("a place");
        let temporary = place.temporary().expect("a name");
        std::fs::write(&temporary, text).expect("written");
        place.put(temporary).expect("in place");
    }

    fn entries(folder: &Path) -> usize {
        std::fs::read_dir(folder).expect("a folder").count()
    }

    #[test]
    fn links_stay_links() {
        let folder = tempfile::tempdir().expect("a directory");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("d")).expect("made");
        std::fs::write(at("d/f"), "old").expect("written");
        symlink("d/f", at("l")).expect("a link");
        symlink("l", at("m")).expect("a link");
        std::fs::set_permissions(at("d/f"), Permissions::from_mode(0o640)).expect("a mode");
        put(&at("m"), "new");
        assert_eq!(std::fs::read_to_string(at("d/f")).expect("read"), "new");
        assert!(at("m").is_symlink() && at("l").is_symlink());
        let mode = std::fs::metadata(at("d/f")).expect("there").mode();
        assert_eq!(mode & 0o777, 0o640);
        let place = Place::find(&at("m")).expect("a place");
        let temporary = place.temporary().expect("a name");
        place.replace(temporary).expect("in place");
        assert!(at("m").is_file() && !at("m").is_symlink());
        assert_eq!((entries(folder.path()), entries(&at("d"))), (3, 1), "nothing is left over");
        symlink("o", at("o")).expect("a link");
        symlink("d/nowhere", at("n")).expect("a link");
        assert!(["o", "n", "d"].iter().all(|name| Place::find(&at(name)).is_none()));
    }

    #[test]
    fn all_names_of_a_file_show_the_change() {
        let folder = tempfile::tempdir().expect("a directory");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("d")).expect("made");
        std::fs::write(at("a"), "a longer old content").expect("written");
        std::fs::hard_link(at("a"), at("b")).expect("a link");
        put(&at("a"), "new");
        let read = |name: &str| std::fs::read_to_string(at(name)).expect("read");
        let inode = |name: &str| std::fs::metadata(at(name)).map(|m| (m.ino(), m.nlink())).ok();
        assert_eq!((read("a").as_str(), read("b").as_str()), ("new", "new"));
        assert_eq!(inode("a"), inode("b"));
        // One of the names is where nobody looks.
        std::fs::hard_link(at("a"), at("d/c")).expect("a link");
        let before = inode("a");
        for text in ["newer and longer", "short"] {
            put(&at("b"), text);
            assert_eq!([read("a"), read("b"), read("d/c")], [text, text, text]);
        }
        assert_eq!((inode("a"), inode("d/c")), (before, before));
        assert_eq!(entries(folder.path()), 3, "nothing is left over");
    }
}
