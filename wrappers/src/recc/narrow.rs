//! The rule of `-MMD` from that of `-MD`, so that one run tells both what is read and what the
//! user wants to know.
//!
//! gcc leaves a file out if it, or the file that includes it first, comes from a directory of the
//! system; clang if that holds for each file that includes it. Which file includes another is not
//! in the rule. So this is only done where it makes no difference: where no file of the system
//! names one that is not of the system, and each that is not is named by one of its kind; or where
//! nothing comes from the system. Anything else is left to the compiler.

use std::collections::HashSet;

use memchr::memmem;

use crate::paths;
use crate::scan::scan;

/// Where headers are searched, by what their directories are to gcc.
pub(super) struct Places<'a> {
    /// The current directory, absolute.
    pub(super) directory: &'a str,
    /// Only for names in quotes.
    pub(super) quote: &'a [String],
    /// Of the user.
    pub(super) user: &'a [String],
    /// Of the system.
    pub(super) system: &'a [String],
    /// The compiler lists files that are only asked for (`__has_include`), as clang does.
    pub(super) lists_asked: bool,
}

/// The files that `-MMD` lists, of those that `-MD` lists, the source first; `forced` are operands of
/// `-include`. `None` where that does not follow.
pub(super) fn shown<'a>(
    listed: &'a [String],
    forced: &[String],
    places: &Places<'_>,
) -> Option<HashSet<&'a str>> {
    let system_roots = roots(places);
    let of_system = |path: &str| {
        let path = tidy(path);
        system_roots.iter().any(|root| paths::is_below(&path, root))
    };
    let (first, headers) = listed.split_first()?;
    let (system, user): (Vec<&String>, Vec<&String>) =
        headers.iter().partition(|path| of_system(path));
    let odd = |path: &&String| path.ends_with(".gch") || path.ends_with("stdc-predef.h");
    if user.iter().any(odd) || system.iter().any(|path| path.ends_with(".gch")) {
        return None;
    }
    if system.is_empty() {
        // Then only a file can say of itself that it is of the system.
        for path in listed {
            let text = std::fs::read(paths::absolute(path, places.directory)).ok()?;
            if changes_its_kind(&text) {
                return None;
            }
        }
        return Some(listed.iter().map(String::as_str).collect());
    }
    let known = Known { user: tidied(&user), system: tidied(&system), places };
    let mut explained = HashSet::new();
    for name in forced {
        known.of_user("", name, true, &mut explained)?;
    }
    for path in [first].into_iter().chain(user.iter().copied()) {
        let text = std::fs::read(paths::absolute(path, places.directory)).ok()?;
        let facts = scan(&text, false);
        if facts.computed || facts.unclear || changes_its_kind(&text) {
            return None;
        }
        for mention in facts.mentions.iter().filter(|it| places.lists_asked || !it.asked) {
            known.of_user(path, &mention.name, mention.quoted, &mut explained)?;
        }
    }
    for path in &system {
        let text = std::fs::read(paths::absolute(path, places.directory)).ok()?;
        let facts = scan(&text, false);
        if facts.computed {
            return None;
        }
        for mention in &facts.mentions {
            known.of_system(&mention.name, mention.quoted)?;
        }
    }
    let all = known.user.iter().all(|path| explained.contains(path));
    all.then(|| [first].into_iter().chain(user).map(String::as_str).collect())
}

struct Known<'a> {
    user: HashSet<String>,
    system: HashSet<String>,
    places: &'a Places<'a>,
}

impl Known<'_> {
    /// A name in a file of the user: which of the user's it may mean. `None` if it may mean one that
    /// looks like the system's.
    fn of_user(
        &self,
        from: &str,
        name: &str,
        quoted: bool,
        explained: &mut HashSet<String>,
    ) -> Option<()> {
        let beside = &from[..from.len() - paths::file_name(from).len()];
        let near = quoted.then_some(beside);
        for path in self.candidates(name, quoted, near) {
            if self.system.contains(&path) {
                return None;
            }
            if self.user.contains(&path) {
                explained.insert(path);
            }
        }
        Some(())
    }

    /// A name in a file of the system. `None` if it may mean one of the user's.
    fn of_system(&self, name: &str, quoted: bool) -> Option<()> {
        let mut candidates = self.candidates(name, quoted, None);
        (!candidates.any(|path| self.user.contains(&path))).then_some(())
    }

    /// Where a name may lead outside the system, as the rule would show it.
    fn candidates<'b>(
        &'b self,
        name: &'b str,
        quoted: bool,
        near: Option<&'b str>,
    ) -> impl Iterator<Item = String> + 'b {
        let places = self.places;
        let quote = if quoted { places.quote } else { &[] };
        let directories: Vec<&str> = match name.starts_with('/') {
            true => vec![""],
            false => near
                .into_iter()
                .chain(quote.iter().chain(places.user).map(String::as_str))
                .collect(),
        };
        directories.into_iter().map(move |directory| match directory {
            "" => tidy(name),
            directory => tidy(&format!("{directory}/{name}")),
        })
    }
}

/// The system's directories as the rule may show them: gcc shortens their names.
fn roots(places: &Places<'_>) -> HashSet<String> {
    let real = |path: &String| {
        let path = std::fs::canonicalize(paths::absolute(path, places.directory)).ok()?;
        path.into_os_string().into_string().ok()
    };
    places
        .system
        .iter()
        .map(|path| tidy(path))
        .chain(places.system.iter().filter_map(real))
        .collect()
}

fn tidied(paths: &[&String]) -> HashSet<String> {
    paths.iter().map(|path| tidy(path)).collect()
}

/// Without empty components and `.`; `..` stays, as gcc shows it.
fn tidy(path: &str) -> String {
    let names = path.split('/').filter(|name| !matches!(*name, "" | "."));
    let joined = names.collect::<Vec<_>>().join("/");
    if path.starts_with('/') { format!("/{joined}") } else { joined }
}

/// Whether a file may say of itself, or of what follows, that it is of the system.
fn changes_its_kind(text: &[u8]) -> bool {
    memmem::find(text, b"system_header").is_some()
        || memchr::memchr_iter(b'#', text).any(|at| {
            let before = text[..at].iter().rev().find(|byte| !matches!(byte, b' ' | b'\t'));
            let after = text[at + 1..].iter().find(|byte| !matches!(byte, b' ' | b'\t'));
            before.is_none_or(|byte| *byte == b'\n') && after.is_some_and(u8::is_ascii_digit)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Project(tempfile::TempDir);

    impl Project {
        fn new(files: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().expect("a directory");
            for (name, text) in files {
                let path = folder.path().join(name);
                fs::create_dir_all(path.parent().expect("above")).expect("made");
                fs::write(path, text).expect("written");
            }
            Self(folder)
        }

        fn shown(&self, listed: &[&str]) -> Option<Vec<String>> {
            let listed: Vec<String> = listed.iter().map(|name| (*name).to_owned()).collect();
            let (quote, user, system) =
                (vec!["q".to_owned()], vec!["u".to_owned()], vec!["s".to_owned()]);
            let places = Places {
                directory: self.0.path().to_str().expect("UTF-8"),
                quote: &quote,
                user: &user,
                system: &system,
                lists_asked: false,
            };
            let found = shown(&listed, &[], &places)?;
            Some(listed.iter().filter(|name| found.contains(name.as_str())).cloned().collect())
        }
    }

    #[test]
    fn what_comes_from_the_system_is_left_out() {
        let project = Project::new(&[
            ("a.c", "#include <x.h>\n#include \"b.h\"\n#include <y.h>\n// fixes #12\n"),
            ("b.h", "#include \"q.h\"\n"),
            ("q/q.h", ""),
            ("u/y.h", ""),
            ("s/x.h", "#include <z.h>\n"),
            ("s/z.h", ""),
        ]);
        let listed = ["a.c", "s/x.h", "s/z.h", "b.h", "q/q.h", "u/y.h"];
        assert_eq!(project.shown(&listed).expect("clear"), ["a.c", "b.h", "q/q.h", "u/y.h"]);
        let write = |name: &str, text: &str| fs::write(project.0.path().join(name), text);
        for (name, text) in [
            // One of the system names one that is not.
            ("s/z.h", "#include <y.h>\n"),
            ("s/z.h", "#include HEADER\n"),
            // One that is not may have been found in the system or beside.
            ("b.h", "#include \"q.h\"\n#include \"s/x.h\"\n"),
            ("b.h", "#include \"q.h\"\n#pragma GCC system_header\n"),
            ("b.h", "#include \"q.h\"\n # 1 \"c.h\" 3\n"),
            // Nobody names it.
            ("b.h", ""),
        ] {
            let before = fs::read(project.0.path().join(name)).expect("read");
            write(name, text).expect("written");
            assert_eq!(project.shown(&listed), None, "{text}");
            fs::write(project.0.path().join(name), before).expect("written");
        }
        assert!(project.shown(&listed).is_some());
        // Without any of the system it is not asked who names whom.
        fs::write(project.0.path().join("a.c"), "#include NAME\n").expect("written");
        assert_eq!(project.shown(&listed), None);
        assert_eq!(project.shown(&["a.c", "b.h"]).expect("clear"), ["a.c", "b.h"]);
    }
}
