//! Paths as text, and the rules by which those of a command become those of an action.

use crate::settings::Settings;

/// The path without `.`, empty components and, where a name stands before it, `..`. No slash at
/// the end; `.` for nothing.
#[must_use]
pub fn normalise(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => match kept.last() {
                Some(&"..") => kept.push(".."),
                Some(_) => {
                    kept.pop();
                }
                None if absolute => {}
                None => kept.push(".."),
            },
            name => kept.push(name),
        }
    }
    let joined = kept.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// `path` seen from `directory`; both absolute.
#[must_use]
pub fn relative(path: &str, directory: &str) -> String {
    let (path, directory) = (normalise(path), normalise(directory));
    let parts = |text: &str| -> Vec<String> {
        text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let (path, directory) = (parts(&path), parts(&directory));
    let common = path.iter().zip(&directory).take_while(|(a, b)| a == b).count();
    let mut out = vec!["..".to_owned(); directory.len() - common];
    out.extend_from_slice(&path[common..]);
    if out.is_empty() { ".".to_owned() } else { out.join("/") }
}

/// Whether `path` is `directory` or lies below it, by components.
#[must_use]
pub fn is_below(path: &str, directory: &str) -> bool {
    let directory = directory.trim_end_matches('/');
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The absolute form of `path`, seen from `directory`. Not normalised.
#[must_use]
pub fn absolute(path: &str, directory: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    format!("{}/{path}", directory.trim_end_matches('/'))
}

/// How many directories above its start a relative path leads at most.
#[must_use]
pub fn levels_above(path: &str) -> usize {
    let (mut depth, mut deepest) = (0_i64, 0_i64);
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        deepest = deepest.min(depth);
    }
    deepest.unsigned_abs() as usize
}

/// The last `count` names of a path.
#[must_use]
pub fn last_names(path: &str, count: usize) -> String {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    names[names.len().saturating_sub(count)..].join("/")
}

/// The last component.
#[must_use]
pub fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The path with the suffix of its last name, if it has one, replaced.
#[must_use]
pub fn with_suffix(path: &str, suffix: &str) -> String {
    let name = file_name(path);
    let above = &path[..path.len() - name.len()];
    let stem = match name.rfind('.') {
        Some(0) | None => name,
        Some(at) => &name[..at],
    };
    format!("{above}{stem}.{suffix}")
}

/// The path without symbolic links, as far as it exists; the rest in its normal form.
#[must_use]
pub fn real_path(path: &str) -> String {
    let tidy = normalise(path);
    let mut there = path;
    loop {
        if let Some(real) =
            std::fs::canonicalize(there).ok().and_then(|p| p.into_os_string().into_string().ok())
        {
            let rest = path[there.len()..].trim_start_matches('/');
            return normalise(&format!("{real}/{rest}"));
        }
        match there.trim_end_matches('/').rfind('/') {
            Some(0) | None => return tidy,
            Some(at) => there = &there[..at],
        }
    }
}

/// How paths are rewritten.
#[derive(Clone, Debug)]
pub struct PathRules {
    /// The current directory, absolute.
    pub directory: String,
    project_root: String,
    prefix_map: Vec<(String, String)>,
    keep: bool,
}

impl PathRules {
    /// The rules that the settings give.
    #[must_use]
    pub fn new(settings: &Settings, directory: &str) -> Self {
        let project_root = settings
            .project_root
            .as_deref()
            .map_or_else(|| directory.to_owned(), |root| normalise(&absolute(root, directory)));
        Self {
            directory: directory.to_owned(),
            project_root,
            prefix_map: settings.prefix_map.clone(),
            keep: settings.no_path_rewrite,
        }
    }

    /// Whether absolute paths stay as they are.
    #[must_use]
    pub fn keep(&self) -> bool {
        self.keep
    }

    /// Applies the first mapping whose left side the path lies below.
    #[must_use]
    pub fn map(&self, path: &str) -> String {
        for (from, to) in &self.prefix_map {
            if is_below(path, from) {
                let rest = &path[from.trim_end_matches('/').len()..];
                return format!("{}{rest}", to.trim_end_matches('/'));
            }
        }
        path.to_owned()
    }

    /// The program as the action names it: mapped and made relative like any path, but otherwise
    /// as it is.
    #[must_use]
    pub fn rewrite_program(&self, program: &str) -> String {
        if !program.starts_with('/') {
            return program.to_owned();
        }
        let mapped = self.map(program);
        if self.keep {
            return mapped;
        }
        self.in_project(&mapped).unwrap_or(mapped)
    }

    /// The path as it stands in the action: mapped, relative if it lies in the project.
    #[must_use]
    pub fn rewrite(&self, path: &str) -> String {
        if !path.starts_with('/') {
            // An empty value and the odd `-I-` are no paths.
            let plain = self.keep || path.is_empty() || path == "-";
            return if plain { path.to_owned() } else { normalise(path) };
        }
        let mapped = self.map(path);
        if self.keep {
            return mapped;
        }
        self.in_project(&mapped).unwrap_or_else(|| normalise(&mapped))
    }

    /// The same for an input, whose path is in its normal form if a mapping applies.
    #[must_use]
    pub fn map_input(&self, path: &str) -> String {
        let mapped = self.map(path);
        if mapped == path { mapped } else { normalise(&mapped) }
    }

    /// An input as it stands in the action. Outside the project it stays as it is, `..` and all.
    #[must_use]
    pub fn rewrite_input(&self, path: &str) -> String {
        if !path.starts_with('/') {
            return path.to_owned();
        }
        let mapped = self.map_input(path);
        if self.keep {
            return mapped;
        }
        self.in_project(&mapped).unwrap_or(mapped)
    }

    fn in_project(&self, mapped: &str) -> Option<String> {
        // Whether it lies in the project is seen from the text; where it leads, from the links.
        is_below(mapped, &self.project_root).then(|| relative(&real_path(mapped), &self.directory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_forms() {
        for (from, to) in [
            ("./a", "a"),
            ("a/../b", "b"),
            ("../a", "../a"),
            ("a/../../b", "../b"),
            ("/a/../../b/", "/b"),
            ("inc/", "inc"),
            ("", "."),
            ("a/..", "."),
            ("/", "/"),
        ] {
            assert_eq!(normalise(from), to, "{from}");
        }
    }

    #[test]
    fn seen_from_elsewhere() {
        assert_eq!(relative("/a/b/c", "/a/b"), "c");
        assert_eq!(relative("/a/b", "/a/b"), ".");
        assert_eq!(relative("/a/x", "/a/b/c"), "../../x");
        assert!(is_below("/a/b", "/a") && is_below("/a", "/a") && !is_below("/ab", "/a"));
        assert!(is_below("/ab", "/"));
    }

    #[test]
    fn levels() {
        assert_eq!(levels_above("a/b"), 0);
        assert_eq!(levels_above("../a/../../b"), 2);
        assert_eq!(levels_above("a/../../b"), 1);
        assert_eq!(last_names("/x/y/z", 2), "y/z");
        assert_eq!(last_names("/x", 5), "x");
    }
    #[test]
    fn suffixes() {
        assert_eq!(with_suffix("x.y/b.o", "d"), "x.y/b.d");
        assert_eq!(with_suffix("x.y/b", "d"), "x.y/b.d");
        assert_eq!(with_suffix("a.b.c", "d"), "a.b.d");
    }
}
