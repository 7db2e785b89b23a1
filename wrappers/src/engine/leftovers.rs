//! Temporary files beside an archive, and what became of those whose makers were killed.
//!
//! The name of one says whose it is: `.forerunner-FILE-NAMESPACE-PROCESS-START-RANDOM`, where FILE
//! stands for the name of the file beside, and the next three for the process that made it. The
//! next run that writes the file removes those of processes that are gone. Of a process in another
//! namespace nobody can tell; its files go when they were not touched for a day.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tempfile::TempPath;

const PROCESSES: &str = "/proc";
const PREFIX: &str = ".forerunner-";
const LONGEST_SUFFIX: usize = 16;
/// After this time nobody is at work any more.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A new empty file beside `path`, with its suffix.
///
/// # Errors
/// If there is no room, or the folder cannot be written to.
pub(super) fn temporary(path: &Path) -> io::Result<TempPath> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let suffix = name.rsplit_once('.').map(|(_, suffix)| format!(".{suffix}"));
    // The whole must not be too long for a name.
    let suffix = suffix.filter(|suffix| suffix.len() <= LONGEST_SUFFIX).unwrap_or_default();
    let folder = path.parent().unwrap_or(Path::new("/"));
    tempfile::Builder::new()
        .prefix(&format!("{}{}-", stem(path), Maker::own(PROCESSES)))
        .suffix(&suffix)
        .tempfile_in(folder)
        .map(tempfile::NamedTempFile::into_temp_path)
}

/// Removes what earlier runs left beside `path`. Trouble is for later runs.
pub(super) fn sweep(path: &Path) {
    let Some(entries) = path.parent().and_then(|folder| std::fs::read_dir(folder).ok()) else {
        return;
    };
    let stem = stem(path);
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        // A file on its way to such a name has a dot more.
        let bare = name.strip_prefix('.').filter(|rest| rest.starts_with('.')).unwrap_or(name);
        let Some(maker) = bare.strip_prefix(&stem).and_then(Maker::read) else { continue };
        let old = || {
            let changed = entry.metadata().and_then(|metadata| metadata.modified());
            changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|a| a > LONGEST))
        };
        if maker.is_gone(PROCESSES).unwrap_or_else(old) {
            let _removed = std::fs::remove_file(entry.path());
        }
    }
}

/// What the names of all temporary files beside `path` begin with.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    let hash = blake3::hash(name.as_encoded_bytes()).to_hex();
    format!("{PREFIX}{}-", &hash[..12])
}

/// A process. Numbers are used again, but not with the same time of start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Maker {
    /// Inode of its process namespace; 0 if it cannot be known.
    namespace: u64,
    number: u32,
    /// In clock ticks since the system started.
    start: u64,
}

impl Maker {
    fn own(processes: &str) -> Self {
        let number = std::process::id();
        // In a namespace of its own, a process may see the numbers of another one.
        let start = Seen::at(processes, "self").filter(|it| it.number == number).map(|it| it.start);
        let namespace = if start.is_some() { namespace() } else { None };
        Self { namespace: namespace.unwrap_or(0), number, start: start.unwrap_or(0) }
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let namespace = parts.next()?.parse().ok()?;
        let number = parts.next()?.parse().ok()?;
        Some(Self { namespace, number, start: parts.next()?.parse().ok()? })
    }

    /// `None` if that cannot be known.
    fn is_gone(self, processes: &str) -> Option<bool> {
        let known = self.namespace != 0 && Some(self.namespace) == namespace();
        // Our own entry tells whether these are the processes of our namespace.
        Seen::at(processes, "self").filter(|it| known && it.number == std::process::id())?;
        match Seen::at(processes, &self.number.to_string()) {
            Some(seen) => Some(seen.start != self.start),
            // Those of other users may be hidden (proc(5), hidepid).
            None => {
                let number = i32::try_from(self.number).ok().filter(|number| *number > 0);
                let there = |number| kill(Pid::from_raw(number), None) != Err(Errno::ESRCH);
                Some(!number.is_some_and(there))
            }
        }
    }
}

impl std::fmt::Display for Maker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}-{}", self.namespace, self.number, self.start)
    }
}

fn namespace() -> Option<u64> {
    std::fs::metadata("/proc/self/ns/pid").ok().map(|metadata| metadata.ino())
}

/// A process as the system shows it (proc_pid_stat(5), fields 1 and 22).
struct Seen {
    number: u32,
    start: u64,
}

impl Seen {
    fn at(processes: &str, name: &str) -> Option<Self> {
        let text = std::fs::read(format!("{processes}/{name}/stat")).ok()?;
        let text = String::from_utf8_lossy(&text);
        let number = text.split(' ').next()?.parse().ok()?;
        // The second field may hold spaces.
        let (_, rest) = text.rsplit_once(") ")?;
        Some(Self { number, start: rest.split(' ').nth(19)?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_dead_left_goes_away() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("lib.a");
        let own = Maker::own(PROCESSES);
        assert_eq!(own.is_gone(PROCESSES), Some(false));
        assert_eq!(Maker::read(&format!("{own}-Xy.a")), Some(own));
        let dead = Maker { start: own.start + 1, ..own };
        let foreign = Maker { namespace: 1, ..own };
        let other = folder.path().join("other.a");
        let put = |path: &Path, maker: Maker, end: &str, dot: &str| {
            let name = format!("{dot}{}{maker}-{end}", stem(path));
            let full = folder.path().join(&name);
            std::fs::write(&full, "").expect("written");
            full
        };
        let gone = [
            put(&path, dead, "1.a", ""),
            put(&path, dead, "1.a.77.tmp", "."),
            put(&path, foreign, "2.a", ""),
        ];
        let day_before = SystemTime::now() - 2 * LONGEST;
        let file = std::fs::File::options().write(true).open(&gone[2]).expect("a file");
        file.set_modified(day_before).expect("a time");
        let stays = [
            put(&path, own, "3.a", ""),
            put(&path, foreign, "4.a", ""),
            put(&other, dead, "5.a", ""),
            path.clone(),
        ];
        std::fs::write(&path, "").expect("written");
        sweep(&path);
        assert!(gone.iter().all(|path| !path.exists()), "{gone:?}");
        assert!(stays.iter().all(|path| path.exists()), "{stays:?}");
    }

    #[test]
    fn who_cannot_be_seen_is_not_gone() {
        let folder = tempfile::tempdir().expect("a directory");
        let processes = folder.path().to_str().expect("a name");
        let put = |name: &str, number: u32| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(&path).expect("made");
            let zeros = "0 ".repeat(18);
            std::fs::write(path.join("stat"), format!("{number} (a ) b) S {zeros}77 0"))
                .expect("a file");
        };
        // A view without the processes of others: they are there all the same.
        put("self", std::process::id());
        let own = Maker::own(processes);
        assert_eq!((own.start, own.number), (77, std::process::id()));
        assert_eq!(own.is_gone(processes), Some(false));
        put(&own.number.to_string(), own.number);
        assert_eq!(own.is_gone(processes), Some(false));
        assert_eq!(Maker { start: 78, ..own }.is_gone(processes), Some(true));
        // Numbers that no process has.
        let never = Maker { number: i32::MAX.unsigned_abs(), ..own };
        for number in [never.number, never.number + 1, u32::MAX, 0] {
            assert_eq!(Maker { number, ..own }.is_gone(processes), Some(true));
        }
        // A view of another namespace says nothing.
        put("self", std::process::id() + 1);
        assert_eq!(Maker::own(processes).namespace, 0);
        assert_eq!((own.is_gone(processes), never.is_gone(processes)), (None, None));
    }
}
