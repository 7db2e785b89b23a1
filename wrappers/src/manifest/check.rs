//! Whether a variant still holds.

use std::fmt;
use std::path::Path;

use forerunner_merkle::DigestFunction;

use crate::paths;
use crate::stamp::{self, Stamp};
use crate::stat_cache::{digest_file, is_executable};

use super::{AbsentNames, DIRECTORY, InputFact, NO_DIRECTORY, Variant};

/// Why a variant does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An input has other content, or another executable bit.
    Changed(String),
    /// An input, or a file that was only asked for, is gone.
    Gone(String),
    /// A file is there that was not.
    Appeared(String),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(path) => write!(f, "`{path}` changed"),
            Self::Gone(path) => write!(f, "`{path}` is gone"),
            Self::Appeared(path) => write!(f, "`{path}` appeared"),
        }
    }
}

/// The answer of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds {
        /// Stamps were renewed, so that it is worth writing.
        renewed: bool,
    },
    /// It does not; the first reason found.
    Fails(Change),
}

impl Variant {
    /// Compares it with the files as they are now.
    pub fn check(&mut self, directory: &str, function: DigestFunction) -> Verdict {
        let now = stamp::now();
        let mut renewed = false;
        for input in &mut self.inputs {
            match check_input(input, directory, function, now) {
                Ok(new) => renewed |= new,
                Err(change) => return Verdict::Fails(change),
            }
        }
        match self.check_names(directory, now) {
            Ok(new) => Verdict::Holds { renewed: renewed | new },
            Err(change) => Verdict::Fails(change),
        }
    }

    /// Whether what must exist does, and nothing appeared; and whether stamps were renewed.
    ///
    /// # Errors
    /// What is gone, or appeared.
    pub fn check_names(&mut self, directory: &str, now: i64) -> Result<bool, Change> {
        for path in &self.present {
            if !Path::new(&paths::absolute(path, directory)).exists() {
                return Err(Change::Gone(path.clone()));
            }
        }
        let mut renewed = false;
        for group in &mut self.absent {
            renewed |= check_absent(group, now)?;
        }
        Ok(renewed)
    }
}

fn check_input(
    input: &mut InputFact,
    directory: &str,
    function: DigestFunction,
    now: i64,
) -> Result<bool, Change> {
    let full;
    let path = if input.path.starts_with('/') {
        Path::new(&input.path)
    } else {
        full = paths::absolute(&input.path, directory);
        Path::new(&full)
    };
    let gone = |_| Change::Gone(input.path.clone());
    let metadata = std::fs::metadata(path).map_err(gone)?;
    let current = Stamp::of(&metadata);
    if !metadata.is_file()
        || is_executable(&metadata) != input.executable
        || current.size != input.digest.size()
    {
        return Err(Change::Changed(input.path.clone()));
    }
    if input.stamp == Some(current) {
        return Ok(false);
    }
    let digest = digest_file(path, &current, function).map_err(gone)?;
    if digest != input.digest {
        return Err(Change::Changed(input.path.clone()));
    }
    // Only a stamp that a later change would alter, and that did not change while reading.
    let after = std::fs::metadata(path).map(|metadata| Stamp::of(&metadata));
    let trusted = after.is_ok_and(|after| after == current) && current.is_settled(now);
    let had = input.stamp.is_some();
    input.stamp = trusted.then_some(current);
    Ok(trusted || had)
}

fn check_absent(group: &mut AbsentNames, now: i64) -> Result<bool, Change> {
    let directory = Path::new(&group.directory);
    // A directory that is gone holds nothing. What cannot be searched is an error for compilers.
    let current = match std::fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => Some(Stamp::of(&metadata)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        _ => return Err(Change::Changed(group.directory.clone())),
    };
    if current.is_some() && group.stamp == current {
        return Ok(false);
    }
    if current.is_some() {
        for name in &group.names {
            let plain = name.trim_end_matches('/');
            let path = directory.join(plain);
            let appeared = match &name[plain.len()..] {
                DIRECTORY => exists(&path) && !path.is_dir(),
                NO_DIRECTORY => path.is_dir(),
                _ => exists(&path),
            };
            if appeared {
                return Err(Change::Appeared(format!("{}/{plain}", group.directory)));
            }
        }
    }
    let trusted = current.filter(|stamp| stamp.is_settled(now));
    let renewed = trusted.is_some() || group.stamp.is_some();
    group.stamp = trusted;
    Ok(renewed)
}

/// Whether anything is there, a link that leads nowhere included.
pub(super) fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Steadiness;
    use std::fs;

    #[test]
    fn every_kind_of_change_is_seen() {
        let folder = tempfile::tempdir().expect("a directory");
        let root = folder.path().to_str().expect("UTF-8").to_owned();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a.h"), "a").expect("written");
        fs::write(at("p.h"), "p").expect("written");
        let function = DigestFunction::Sha256;
        let variant = Variant {
            action: function.digest(b"x"),
            inputs: vec![InputFact {
                path: "a.h".to_owned(),
                digest: function.digest(b"a"),
                executable: false,
                stamp: None,
                outline: None,
            }],
            present: vec!["p.h".to_owned()],
            absent: vec![AbsentNames {
                directory: root.clone(),
                stamp: None,
                names: vec!["n.h".to_owned()],
            }],
            steadiness: Steadiness::default(),
        };
        let check = |variant: &Variant| variant.clone().check(&root, function);
        assert_eq!(check(&variant), Verdict::Holds { renewed: false }, "nothing is settled yet");
        // The same content written anew still holds.
        fs::write(at("a.h"), "a").expect("written");
        assert!(matches!(check(&variant), Verdict::Holds { .. }));
        fs::write(at("n.h"), "").expect("written");
        assert_eq!(check(&variant), Verdict::Fails(Change::Appeared(format!("{root}/n.h"))));
        fs::remove_file(at("n.h")).expect("removed");
        std::os::unix::fs::symlink("nowhere", at("n.h")).expect("linked");
        assert!(matches!(check(&variant), Verdict::Fails(Change::Appeared(_))));
        fs::remove_file(at("n.h")).expect("removed");
        fs::write(at("a.h"), "b").expect("written");
        assert_eq!(check(&variant), Verdict::Fails(Change::Changed("a.h".to_owned())));
        fs::remove_file(at("a.h")).expect("removed");
        assert_eq!(check(&variant), Verdict::Fails(Change::Gone("a.h".to_owned())));
        fs::write(at("a.h"), "a").expect("written");
        fs::remove_file(at("p.h")).expect("removed");
        assert_eq!(check(&variant), Verdict::Fails(Change::Gone("p.h".to_owned())));
    }
}
