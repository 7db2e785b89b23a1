//! The little that is read from ELF files: which libraries they need, and where those are searched.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{Dyn as _, FileHeader, ProgramHeader as _};
use object::{Endianness, ReadCache, ReadRef};

/// The dynamic section of a file, as far as it names other files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// DT_NEEDED.
    pub needed: Vec<String>,
    /// DT_RPATH and DT_RUNPATH, split at colons.
    pub run_path: Vec<String>,
}

/// Reads the dynamic section. `None` for what is no ELF file or has none that can be read.
#[must_use]
pub fn dynamic(path: &Path) -> Option<Dynamic> {
    let cache = ReadCache::new(File::open(path).ok()?);
    let data = &cache;
    match data.read_bytes_at(0, 5).ok()? {
        [0x7f, b'E', b'L', b'F', 1] => read::<FileHeader32<Endianness>, _>(data),
        [0x7f, b'E', b'L', b'F', 2] => read::<FileHeader64<Endianness>, _>(data),
        _ => None,
    }
}

fn read<'data, H, R>(data: R) -> Option<Dynamic>
where
    H: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let header = H::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, data).ok()?;
    let entries = segments.iter().find_map(|s| s.dynamic(endian, data).ok().flatten())?;
    let value = |tag: u32| {
        entries.iter().find(|e| e.tag32(endian) == Some(tag)).map(|e| e.d_val(endian).into())
    };
    let table: u64 = value(elf::DT_STRTAB)?;
    let length: u64 = value(elf::DT_STRSZ)?;
    // The table is named by its address in memory; a segment tells where that is in the file.
    let strings = segments.iter().find_map(|segment| {
        let start: u64 = segment.p_vaddr(endian).into();
        let size: u64 = segment.p_filesz(endian).into();
        let within = table.checked_sub(start).filter(|offset| *offset < size)?;
        let offset: u64 = segment.p_offset(endian).into();
        (segment.p_type(endian) == elf::PT_LOAD).then(|| {
            data.read_bytes_at(offset.checked_add(within)?, length.min(size - within)).ok()
        })?
    })?;
    let text = |entry: &H::Dyn| -> Option<String> {
        let at: u64 = entry.d_val(endian).into();
        let rest = strings.get(usize::try_from(at).ok()?..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    };
    let mut found = Dynamic::default();
    for entry in entries {
        match entry.tag32(endian) {
            Some(elf::DT_NEEDED) => found.needed.extend(text(entry)),
            Some(elf::DT_RPATH | elf::DT_RUNPATH) => {
                let paths = text(entry).unwrap_or_default();
                found
                    .run_path
                    .extend(paths.split(':').filter(|p| !p.is_empty()).map(str::to_owned));
            }
            _ => {}
        }
    }
    Some(found)
}

/// What libraries need in turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closure {
    /// Libraries that were found, as the search path names them, sorted.
    pub found: Vec<PathBuf>,
    /// Places where one was looked for in vain, sorted.
    pub absent: Vec<PathBuf>,
    /// Some other was not.
    pub missing: bool,
}

/// Where shared libraries are searched.
#[derive(Clone, Debug, Default)]
pub struct LibraryPath {
    /// The current directory, from which the others are seen.
    pub directory: PathBuf,
    /// Before what the library itself says.
    pub first: Vec<PathBuf>,
    /// After it.
    pub last: Vec<PathBuf>,
    /// Where a linker believes the root of the file system to be. Linkers differ in which
    /// directories they look for there and in which here: every library of the name counts then.
    pub root: Option<PathBuf>,
}

impl LibraryPath {
    /// The directories of the machine: `/etc/ld.so.conf` and the built-in ones.
    #[must_use]
    pub fn of_machine() -> Self {
        let mut last = Vec::new();
        read_conf(Path::new("/etc/ld.so.conf"), Path::new("/"), &mut last, 0);
        for fixed in [
            "/lib/x86_64-linux-gnu",
            "/usr/lib/x86_64-linux-gnu",
            "/lib/aarch64-linux-gnu",
            "/usr/lib/aarch64-linux-gnu",
            "/lib64",
            "/usr/lib64",
            "/lib",
            "/usr/lib",
        ] {
            last.push(PathBuf::from(fixed));
        }
        Self { directory: PathBuf::from("/"), last, ..Self::default() }
    }

    /// Adds what a root has besides.
    pub fn enter(&mut self, root: &Path) {
        read_conf(&root.join("etc/ld.so.conf"), root, &mut self.last, 0);
        self.root = Some(root.to_owned());
    }

    /// Every library that `files` need, directly or through each other. The files themselves are
    /// not in the answer.
    #[must_use]
    pub fn closure(&self, files: &[PathBuf]) -> Closure {
        let mut seen: HashSet<PathBuf> = files.iter().cloned().collect();
        let mut names: HashSet<String> = HashSet::new();
        let mut queue = files.to_vec();
        let mut closure = Closure::default();
        while let Some(file) = queue.pop() {
            let Some(dynamic) = dynamic(&self.directory.join(&file)) else { continue };
            let origin = file.parent().unwrap_or(Path::new("/"));
            for name in dynamic.needed {
                if names.contains(&name) {
                    continue;
                }
                let mut missing = true;
                for path in self.places(&name, &dynamic.run_path, origin) {
                    if !self.directory.join(&path).is_file() {
                        closure.absent.push(path);
                        continue;
                    }
                    missing = false;
                    if seen.insert(path.clone()) {
                        closure.found.push(path.clone());
                        queue.push(path);
                    }
                    if self.root.is_none() {
                        break;
                    }
                }
                closure.missing |= missing;
                names.insert(name);
            }
        }
        closure.found.sort();
        closure.absent.sort();
        closure.absent.dedup();
        closure
    }

    /// Where a name is looked for, in order.
    fn places(&self, name: &str, run_path: &[String], origin: &Path) -> Vec<PathBuf> {
        if name.contains('/') {
            return vec![PathBuf::from(name)];
        }
        let origin = origin.to_string_lossy();
        let own = run_path.iter().map(|directory| {
            PathBuf::from(directory.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin))
        });
        let all = self.first.iter().cloned().chain(own).chain(self.last.iter().cloned());
        let mut places = Vec::new();
        for directory in all {
            // An absolute path within the root.
            let within = self.root.as_ref().zip(directory.strip_prefix("/").ok());
            places.extend(within.map(|(root, rest)| root.join(rest).join(name)));
            places.push(directory.join(name));
        }
        places
    }
}

/// Directories of `ld.so.conf` and of the files it includes; their absolute paths are seen from
/// `root`.
fn read_conf(path: &Path, root: &Path, into: &mut Vec<PathBuf>, depth: usize) {
    let Ok(text) = std::fs::read_to_string(path) else { return };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        match line.strip_prefix("include") {
            Some(pattern) if depth < 5 => {
                let pattern = pattern.trim();
                let pattern = match pattern.strip_prefix('/') {
                    Some(rest) => root.join(rest),
                    None => path.parent().unwrap_or(root).join(pattern),
                };
                for file in included(pattern) {
                    read_conf(&file, root, into, depth + 1);
                }
            }
            None if line.starts_with('/') => into.push(PathBuf::from(line)),
            _ => {}
        }
    }
}

/// Files that `DIR/*SUFFIX` names, the only kind of pattern in use.
fn included(whole: PathBuf) -> Vec<PathBuf> {
    let name = whole.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let Some(suffix) = name.strip_prefix('*') else { return vec![whole] };
    let Some(entries) = whole.parent().and_then(|folder| std::fs::read_dir(folder).ok()) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_libraries() {
        let Some(shell) = ["/bin/dash", "/bin/bash", "/bin/sh"]
            .into_iter()
            .map(PathBuf::from)
            .find(|path| dynamic(path).is_some_and(|d| !d.needed.is_empty()))
        else {
            return;
        };
        let closure = LibraryPath::of_machine().closure(&[shell]).found;
        assert!(closure.iter().any(|path| path.to_string_lossy().contains("libc")), "{closure:?}");
    }

    #[test]
    fn other_files_have_none() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert_eq!(dynamic(file.path()), None);
        std::fs::write(
            file.path(),
            b"\x7fELF\x02\x01\x01 and then nonsense that is long enough to be a header at all, yes",
        )
        .expect("written");
        assert_eq!(dynamic(file.path()), None);
    }
}
