//! Where we may make control groups.

use std::fmt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

/// Those that limit or count.
const CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "io"];

/// What systemd sets on groups that it leaves to others.
const MARKS: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// The names of groups that belong to systemd unless it says otherwise.
const UNITS: [&str; 3] = [".slice", ".service", ".scope"];

/// Nobody gave us a group.
#[derive(Debug, thiserror::Error)]
pub(crate) struct Undelegated {
    own: Option<PathBuf>,
}

impl fmt::Display for Undelegated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no control group is delegated to this runner")?;
        match &self.own {
            Some(own) => write!(f, " (it is in `{}`)", own.display())?,
            None => f.write_str(" (there is no cgroup v2 hierarchy here)")?,
        }
        f.write_str(
            ", so nothing limits or counts what the command uses; to allow it, start with \
             `systemd-run -p Delegate=yes -p DelegateSubgroup=runner`, or name a writable group \
             without processes by `--cgroup=DIR`",
        )
    }
}

/// The group that runners may make theirs in: our own or, since one with processes cannot share
/// out resources, the one that it is in, if that was left to us.
pub(crate) fn delegated() -> Result<PathBuf, Undelegated> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let Some((mount, own)) = find(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo")) else {
        return Err(Undelegated { own: None });
    };
    if is_ours(&own) && has_controllers(&own) {
        return Ok(own);
    }
    if let Some(above) = own.parent()
        && above.starts_with(&mount)
        && is_ours(above)
        && is_left_to_us(above, &mount)
    {
        enable_controllers(above);
        if has_controllers(above) {
            return Ok(above.to_owned());
        }
    }
    Err(Undelegated { own: Some(own) })
}

/// Has what is available shared out to the groups below.
pub(super) fn enable_controllers(group: &Path) {
    let control = group.join("cgroup.subtree_control");
    let text = std::fs::read_to_string(&control).unwrap_or_default();
    for name in CONTROLLERS {
        if !text.split_whitespace().any(|enabled| enabled == name) {
            // One by one: those that are not available refuse.
            let _ = std::fs::write(&control, format!("+{name}"));
        }
    }
}

fn has_controllers(group: &Path) -> bool {
    let text = std::fs::read_to_string(group.join("cgroup.subtree_control")).unwrap_or_default();
    text.split_whitespace().any(|enabled| CONTROLLERS.contains(&enabled))
}

fn is_ours(group: &Path) -> bool {
    access(group, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
        && access(&group.join("cgroup.procs"), AccessFlags::W_OK).is_ok()
}

fn is_left_to_us(group: &Path, mount: &Path) -> bool {
    let marked =
        MARKS.iter().any(|mark| matches!(xattr::get(group, mark), Ok(Some(v)) if v == b"1"));
    let name = group.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    marked || (group != mount && !UNITS.iter().any(|unit| name.ends_with(unit)))
}

/// Where the hierarchy is mounted, and the directory of our own group in it.
fn find(groups: &str, mounts: &str) -> Option<(PathBuf, PathBuf)> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    // Outside of what our namespace shows.
    if own.starts_with("/..") {
        return None;
    }
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        if after.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = before.split(' ').skip(3);
        let (root, at) = (unescape(fields.next()?), unescape(fields.next()?));
        let below = Path::new(own).strip_prefix(&root).ok()?;
        let at = PathBuf::from(at);
        let own = if below.as_os_str().is_empty() { at.clone() } else { at.join(below) };
        Some((at, own))
    })
}

/// As the kernel writes blanks in paths.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(groups: &str, mounts: &str) -> Option<(String, String)> {
        let show = |path: PathBuf| path.display().to_string();
        find(groups, mounts).map(|(mount, own)| (show(mount), show(own)))
    }

    #[test]
    fn our_group_is_found() {
        let unified =
            "24 1 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(
            found("0::/user.slice/a.scope\n", unified),
            pair("/sys/fs/cgroup", "/sys/fs/cgroup/user.slice/a.scope")
        );
        assert_eq!(found("0::/\n", unified), pair("/sys/fs/cgroup", "/sys/fs/cgroup"));
        let hybrid = "30 1 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      31 1 0:28 / /sys/fs/cgroup/my\\040unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            found("5:memory:/x\n0::/b\n", hybrid),
            pair("/sys/fs/cgroup/my unified", "/sys/fs/cgroup/my unified/b")
        );
        let bound = "24 1 0:22 /pod/c /sys/fs/cgroup rw - cgroup2 cgroup rw";
        assert_eq!(found("0::/pod/c/d\n", bound), pair("/sys/fs/cgroup", "/sys/fs/cgroup/d"));
        assert_eq!(found("0::/other\n", bound), None);
        assert_eq!(found("0::/../x\n", unified), None);
        assert_eq!(found("4:memory:/x\n", unified), None);
        assert_eq!(found("0::/\n", ""), None);
    }

    #[test]
    fn what_systemd_keeps_is_not_ours() {
        let mount = Path::new("/none");
        for (group, ours) in [
            ("/none/a.slice", false),
            ("/none/a/b.service", false),
            ("/none/session-1.scope", false),
            ("/none", false),
            ("/none/builds", true),
        ] {
            assert_eq!(is_left_to_us(Path::new(group), mount), ours, "{group}");
        }
    }

    #[test]
    fn the_way_out_is_named() {
        for own in [None, Some(PathBuf::from("/sys/fs/cgroup/x"))] {
            let text = Undelegated { own }.to_string();
            assert!(text.contains("Delegate=yes") && text.contains("--cgroup=DIR"), "{text}");
        }
    }
}
