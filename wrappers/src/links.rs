//! Follows symbolic links, step by step.

/// What was met on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// The path without links.
    pub real: String,
    /// Links, and where they lead.
    pub links: Vec<(String, String)>,
    /// Directories that a `..` left.
    pub left: Vec<String>,
}

/// More links than any sane path has.
const MOST: usize = 40;

/// Follows an absolute path.
#[must_use]
pub fn follow(path: &str) -> Followed {
    let mut rest: Vec<String> =
        path.split('/').rev().filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let mut found = Followed::default();
    let mut at = String::new();
    while let Some(name) = rest.pop() {
        match name.as_str() {
            "." => continue,
            ".." => {
                found.left.push(at.clone());
                at.truncate(at.rfind('/').unwrap_or(0));
                continue;
            }
            _ => {}
        }
        let here = format!("{at}/{name}");
        let target =
            std::fs::read_link(&here).ok().and_then(|t| t.into_os_string().into_string().ok());
        match target.filter(|_| found.links.len() < MOST) {
            Some(target) => {
                if target.starts_with('/') {
                    at.clear();
                }
                rest.extend(target.split('/').rev().filter(|p| !p.is_empty()).map(str::to_owned));
                found.links.push((here, target));
            }
            None => at = here,
        }
    }
    found.left.retain(|left| !left.is_empty());
    found.real = at;
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_directories_are_noted() {
        let folder = tempfile::tempdir().expect("a directory");
        let root = folder.path().canonicalize().expect("a path").display().to_string();
        std::fs::create_dir_all(folder.path().join("d/e")).expect("made");
        std::fs::write(folder.path().join("d/f"), "").expect("written");
        std::os::unix::fs::symlink("d/e", folder.path().join("l")).expect("linked");
        let found = follow(&format!("{root}/l/../f"));
        assert_eq!(found.real, format!("{root}/d/f"));
        assert_eq!(found.links, [(format!("{root}/l"), "d/e".to_owned())]);
        assert_eq!(found.left, [format!("{root}/d/e")]);
        std::os::unix::fs::symlink("loop", folder.path().join("loop")).expect("linked");
        assert_eq!(follow(&format!("{root}/loop")).links.len(), MOST);
    }
}
