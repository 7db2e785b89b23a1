//! Random projects: what is primed is exactly what the next build asks for.

use proptest::prelude::*;

use crate::mode::Mode;
use crate::simulated::{Build, Files, Primed, digest, prime};

/// A header: its path among the sources, the name it is installed under, and its content.
#[derive(Clone, Debug)]
struct Header {
    path: String,
    installed: String,
    content: String,
}

#[derive(Clone, Debug)]
struct Part {
    depends: Vec<usize>,
    headers: Vec<Header>,
    /// Path and content of each source file.
    units: Vec<(String, String)>,
}

/// What changes between the builds: element, number of the file, new content.
type Changes = Vec<(usize, usize, String)>;

/// Contents are few, so that different files have the same one.
fn content() -> impl Strategy<Value = String> {
    "[ab]?"
}

fn part(index: usize, distinct: bool) -> impl Strategy<Value = Part> {
    let folder = prop_oneof![Just("src"), Just("src/deep"), Just("include"), Just("")];
    let name = prop_oneof![Just("config.h"), Just("util.h"), Just("api.h"), Just("types.h")];
    let renamed = prop::option::weighted(0.2, "new[0-9]\\.h");
    let header =
        (folder.clone(), name, renamed, content()).prop_map(|(folder, name, renamed, content)| {
            Header {
                path: format!("{folder}/{name}").trim_start_matches('/').to_owned(),
                installed: renamed.unwrap_or_else(|| name.to_owned()),
                content,
            }
        });
    let unit = (folder, 0..3_u32, content()).prop_map(|(folder, number, content)| {
        (format!("{folder}/unit{number}.c").trim_start_matches('/').to_owned(), content)
    });
    let depends = prop::collection::btree_set(0..index.max(1), 0..=index.min(2));
    let headers = prop::collection::vec(header, 0..4);
    let units = prop::collection::vec(unit, 1..4);
    (depends, headers, units).prop_map(move |(depends, mut headers, mut units)| {
        headers.sort_by(|left, right| left.path.cmp(&right.path));
        headers.dedup_by(|left, right| left.path == right.path);
        let mut seen = std::collections::HashSet::new();
        headers.retain(|header| seen.insert(header.installed.clone()));
        units.sort();
        units.dedup_by(|left, right| left.0 == right.0);
        if distinct {
            for header in &mut headers {
                header.content = format!("{} of {index}", header.path);
            }
            for (path, content) in &mut units {
                *content = format!("{path} of {index}");
            }
        }
        let depends = depends.into_iter().filter(|other| *other < index).collect();
        Part { depends, headers, units }
    })
}

fn project(distinct: bool) -> impl Strategy<Value = (Vec<Part>, Changes)> {
    let parts = (part(0, distinct), part(1, distinct), part(2, distinct), part(3, distinct));
    let parts = parts.prop_map(|(a, b, c, d)| vec![a, b, c, d]);
    // What is new is not what something else has already; that is a case of its own.
    let change = (0..4_usize, 0..8_usize, "new[a-z]{10}");
    (parts, prop::collection::vec(change, 0..4))
}

fn change(parts: &[Part], changes: &Changes) -> Vec<Part> {
    let mut parts = parts.to_vec();
    for (element, file, content) in changes {
        let part = &mut parts[*element];
        let count = part.headers.len() + part.units.len();
        let file = file % count;
        match part.headers.get_mut(file) {
            Some(header) => header.content.clone_from(content),
            None => {
                let index = file - part.headers.len();
                part.units[index].1.clone_from(content);
            }
        }
    }
    parts
}

/// Builds the project as a real build would, command by command.
fn build(parts: &[Part]) -> Build {
    let mut build = Build::default();
    let mut installed: Vec<Files> = Vec::new();
    let mut archives: Vec<(String, forerunner_merkle::Digest)> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let name = format!("e{index}");
        let mut sources: Files = Vec::new();
        for header in &part.headers {
            sources.push((header.path.clone(), digest(&header.content)));
        }
        for (path, content) in &part.units {
            sources.push((path.clone(), digest(content)));
        }
        let element = build.element(&name, &part.depends, &sources);
        let mut staged: Files = vec![("usr/include/stdio.h".to_owned(), digest("toolchain"))];
        let mut below: Vec<usize> = Vec::new();
        let mut todo = part.depends.clone();
        while let Some(other) = todo.pop() {
            if !below.contains(&other) {
                below.push(other);
                todo.extend(&parts[other].depends);
            }
        }
        below.sort_unstable();
        for other in &below {
            staged.extend(installed[*other].iter().cloned());
        }
        let headers: Files = part
            .headers
            .iter()
            .map(|header| (format!("build/{name}/{}", header.path), digest(&header.content)))
            .collect();
        let mut objects: Files = Vec::new();
        for (number, (path, content)) in part.units.iter().enumerate() {
            let mut inputs = staged.clone();
            inputs.extend(headers.iter().cloned());
            inputs.push((format!("build/{name}/{path}"), digest(content)));
            // Where the object goes exists, and is empty.
            inputs.push((format!("build/{name}/out/"), digest("")));
            let object = format!("out/unit{number}.o");
            let made = build.action(element, &format!("cc -c {path}"), &inputs, &[&object]);
            objects.push((format!("build/{name}/{object}"), made[0]));
        }
        let archive = build.action(element, "ar rcs", &objects, &["lib.a"])[0];
        // In place: input and output have the same path.
        let inputs = vec![(format!("build/{name}/lib.a"), archive)];
        let archive = build.action(element, "ranlib", &inputs, &["lib.a"])[0];
        let mut files: Files = part
            .headers
            .iter()
            .map(|h| (format!("usr/include/{name}/{}", h.installed), digest(&h.content)))
            .collect();
        let library = format!("usr/lib/lib{name}.a");
        files.push((library.clone(), archive));
        if !below.is_empty() {
            let mut inputs = objects;
            inputs.extend(below.iter().map(|other| archives[*other].clone()));
            let program = build.action(element, "cc -o app", &inputs, &["app"])[0];
            files.push((format!("usr/bin/{name}"), program));
        }
        archives.push((library, archive));
        build.install(element, &files);
        installed.push(files);
    }
    build
}

fn play(parts: &[Part], changes: &Changes) -> (Build, Build, Primed) {
    let before = build(parts);
    let after = build(&change(parts, changes));
    let recorded = before.recorded(Mode::Full);
    let primed = prime(&before, &recorded, &after.unbuilt(), &after.loaded.forest, Mode::Full);
    (before, after, primed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Contents are distinct: everything resolves, and everything is what will be asked for.
    #[test]
    fn everything_is_foreseen((parts, changes) in project(true)) {
        let (_, after, primed) = play(&parts, &changes);
        prop_assert!(primed.left.is_empty(), "{:?}", primed.left);
        prop_assert!(primed.skipped.is_empty(), "{:?}", primed.skipped);
        for ((element, index), digest) in &primed.ready {
            let asked = after.elements[*element].subactions.clone().unwrap_or_default();
            prop_assert_eq!(asked.get(*index), Some(digest), "element {} action {}", element, index);
        }
        let asked: usize = (0..4).map(|element| after.asked(element).len()).sum();
        prop_assert_eq!(primed.ready.len(), asked);
    }

    /// Many files have the same content, empty ones among them: what resolves is right.
    #[test]
    fn equal_files_are_told_apart_by_their_paths((parts, changes) in project(false)) {
        let (_, after, primed) = play(&parts, &changes);
        prop_assert!(primed.skipped.is_empty(), "{:?}", primed.skipped);
        for ((element, index), digest) in &primed.ready {
            let asked = after.elements[*element].subactions.clone().unwrap_or_default();
            prop_assert_eq!(asked.get(*index), Some(digest), "element {} action {}", element, index);
        }
    }
}
