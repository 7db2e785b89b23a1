//! When the store was first opened since the machine booted.
//!
//! Nothing here is flushed to disk file by file. What was written before a crash may therefore be
//! torn afterwards, although it looks complete; so what is older than this boot is checked again.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::layout::Layout;
use crate::stamp::Stamp;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The marker of this boot, if it can be known.
fn path(layout: &Layout) -> Option<PathBuf> {
    let text = std::fs::read_to_string(BOOT_ID).ok()?;
    let id = text.trim();
    let plain = id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    (plain && !id.is_empty()).then(|| layout.boots().join(id))
}

/// When the marker of this boot was made; it is made if it is not there. `None` if there is none
/// and it cannot be made: then nothing is trusted unchecked.
pub(crate) fn marker(layout: &Layout) -> Option<Stamp> {
    let path = path(layout)?;
    if let Ok(metadata) = std::fs::symlink_metadata(&path) {
        return Some(Stamp::changed(&metadata));
    }
    std::fs::create_dir_all(layout.boots()).ok()?;
    // A second process that comes at the same time finds it there: that does not change it.
    let _ = OpenOptions::new().write(true).create_new(true).open(&path);
    std::fs::symlink_metadata(&path).ok().map(|metadata| Stamp::changed(&metadata))
}

/// Removes the markers of boots long ago. (Not of every other one: on a network file system
/// several machines have one each.)
pub(crate) fn remove_old(layout: &Layout) {
    const OLD: Duration = Duration::from_secs(30 * 24 * 3600);
    let (Some(ours), Some(limit)) = (path(layout), SystemTime::now().checked_sub(OLD)) else {
        return;
    };
    for entry in std::fs::read_dir(layout.boots()).into_iter().flatten().flatten() {
        let made = entry.metadata().and_then(|metadata| metadata.modified());
        if entry.path() != ours && made.is_ok_and(|made| made < limit) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
