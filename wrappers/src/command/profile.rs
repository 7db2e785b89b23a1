//! Where gcc looks for profile data. Its command line names a directory at most; the file's name is
//! made from those of the object and the current directory.

use crate::paths;
use crate::reason::Reason;

use super::parse::{Draft, Kind};
use super::products::with_suffix;
use super::sources::InputKind;

/// What the options say about profile data that is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Counts of earlier runs are used.
    pub(super) used: bool,
    /// Directories that options name. Of several the last counts; all are looked at.
    pub(super) directories: Vec<String>,
    /// Files with samples.
    pub(super) samples: Vec<String>,
    /// The names of files are shortened in a way that is not followed.
    pub(super) shortened: bool,
    /// What the names of files begin with, one for each object.
    stems: Vec<String>,
}

impl Profile {
    /// Every file that the compiler reads if it is there. `directories` are the names that the
    /// current directory may go by; options that name directories put one of them into the name.
    #[must_use]
    pub fn files(&self, directories: &[&str]) -> Vec<String> {
        let mut files = self.samples.clone();
        for stem in self.stems.iter().filter(|_| self.used) {
            files.push(format!("{stem}.gcda"));
            for folder in &self.directories {
                // It may be the file itself.
                files.push(folder.clone());
                let folder = folder.trim_end_matches('/');
                files.push(format!("{folder}/{}.gcda", stem.trim_start_matches('/')));
                for directory in directories {
                    let name = mangle(&paths::absolute(stem, directory));
                    files.push(format!("{folder}/{name}.gcda"));
                }
            }
        }
        files.sort();
        files.dedup();
        files
    }
}

/// A path as one name, as gcov makes it: `#` for `/`, and `^` for `..`.
fn mangle(path: &str) -> String {
    let parts = path.split('/').map(|part| if part == ".." { "^" } else { part });
    parts.collect::<Vec<_>>().join("#")
}

impl Draft<'_> {
    /// What is known about profile data at the end of the command line.
    ///
    /// # Errors
    /// If it is used in a way that does not say which files are read.
    pub(super) fn profile(&mut self, kind: Kind, words: &[String]) -> Result<Profile, Reason> {
        let mut profile = std::mem::take(&mut self.profile);
        if !profile.used {
            return Ok(profile);
        }
        let compiled: Vec<&str> = self
            .inputs
            .iter()
            .filter(|(_, kind)| *kind != InputKind::Object)
            .map(|(path, _)| path.as_str())
            .collect();
        // What a link compiles has names that are made up on the way.
        let compiles = !compiled.is_empty() || words.iter().any(|word| word.starts_with("-flto"));
        if !self.anywhere || profile.shortened || (kind == Kind::Link && compiles) {
            return Err(Reason::Profile);
        }
        if kind == Kind::Compile {
            // With and without the suffix of the object; compilers differ.
            profile.stems = match self.outputs.last() {
                Some(output) => vec![output.clone(), without_suffix(output)],
                None => {
                    compiled.iter().map(|path| without_suffix(paths::file_name(path))).collect()
                }
            };
        }
        Ok(profile)
    }
}

fn without_suffix(path: &str) -> String {
    with_suffix(path, "").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_profile_data() {
        let profile = Profile {
            used: true,
            directories: vec!["data/".to_owned()],
            samples: vec!["fbdata.afdo".to_owned()],
            shortened: false,
            stems: vec!["../o/x".to_owned()],
        };
        assert_eq!(
            profile.files(&["/p/q", "/link/q"]),
            [
                "../o/x.gcda",
                "data/",
                "data/#link#q#^#o#x.gcda",
                "data/#p#q#^#o#x.gcda",
                "data/../o/x.gcda",
                "fbdata.afdo",
            ]
        );
        assert!(Profile { used: false, samples: Vec::new(), ..profile }.files(&["/p"]).is_empty());
        assert_eq!(without_suffix("a.b/x.o"), "a.b/x");
        assert_eq!(without_suffix("a.b/x"), "a.b/x");
    }
}
