//! The version of the layout.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::StoreError;
use crate::layout::Layout;

/// The version that this program reads and writes.
const VERSION: u64 = 1;
const LABEL: &str = "forerunner-store ";

/// How often writing it is tried.
const ATTEMPTS: usize = 8;

/// Checks the version, and writes it where there is none.
pub(crate) fn ensure(layout: &Layout) -> Result<(), StoreError> {
    let path = layout.format();
    match std::fs::read(&path) {
        Ok(bytes) => check(layout, &path, &bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(layout, &path)?;
            // Another process may have been first, and of another version.
            let bytes = std::fs::read(&path)
                .map_err(|error| StoreError::io(layout.root(), "read", &path, error))?;
            check(layout, &path, &bytes)
        }
        Err(error) => Err(StoreError::io(layout.root(), "read", &path, error)),
    }
}

fn check(layout: &Layout, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let found = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.strip_prefix(LABEL))
        .and_then(|text| text.lines().next())
        .and_then(|number| number.trim().parse::<u64>().ok())
        .ok_or_else(|| StoreError::Format { path: path.to_owned() })?;
    if found > VERSION {
        return Err(StoreError::Newer {
            root: layout.root().to_owned(),
            found,
            supported: VERSION,
        });
    }
    Ok(())
}

/// Several processes may do this at once: the file appears complete, and the first one stays.
fn make(layout: &Layout, path: &Path) -> Result<(), StoreError> {
    let root = layout.root();
    let failed = |verb, path: &Path, error| StoreError::io(root, verb, path, error);
    std::fs::create_dir_all(root).map_err(|error| failed("make", root, error))?;
    let folder = layout.temporaries();
    std::fs::create_dir_all(&folder).map_err(|error| failed("make", &folder, error))?;
    // They are there from the beginning, so that room can be made when there is none for them.
    for lock in [layout.use_lock(), layout.evict_lock()] {
        File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock)
            .map_err(|error| failed("write", &lock, error))?;
    }
    for _ in 0..ATTEMPTS {
        let file = tempfile::Builder::new()
            .prefix("format-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(&folder)
            .map_err(|error| failed("write", &folder, error))?;
        io::Write::write_all(&mut file.as_file(), format!("{LABEL}{VERSION}\n").as_bytes())
            .map_err(|error| failed("write", path, error))?;
        match file.persist_noclobber(path) {
            Ok(_) => return Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            // We were stopped for so long that somebody took it for a dead process's.
            Err(error) if error.error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("write", path, error.error)),
        }
    }
    Err(failed("write", path, io::ErrorKind::NotFound.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_kept_and_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(&folder.path().join("deep/store"));
        ensure(&layout).expect("made");
        ensure(&layout).expect("kept");
        assert_eq!(std::fs::read(layout.format()).expect("read"), b"forerunner-store 1\n");
        std::fs::write(layout.format(), "forerunner-store 7\n").expect("written");
        let error = ensure(&layout).expect_err("newer").to_string();
        assert!(error.contains("format 7") && error.contains("format 1"), "{error}");
        std::fs::write(layout.format(), "#!/bin/sh\n").expect("written");
        assert!(matches!(ensure(&layout), Err(StoreError::Format { .. })));
    }

    #[test]
    fn others_tidy_up_meanwhile() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(folder.path());
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    for entry in std::fs::read_dir(layout.temporaries()).into_iter().flatten() {
                        let _ = std::fs::remove_file(entry.expect("an entry").path());
                        std::thread::yield_now();
                    }
                }
            });
            let made = (0..300).try_for_each(|_| {
                ensure(&layout)?;
                std::fs::remove_file(layout.format()).map_err(|error| {
                    StoreError::io(layout.root(), "remove", &layout.format(), error)
                })
            });
            over.store(true, Ordering::Relaxed);
            made.expect("made");
        });
    }
}
