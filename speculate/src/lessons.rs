//! What the first implementation taught, row by row of the contract's table, as tests.

use std::collections::HashMap;

use forerunner_merkle::Digest;
use forerunner_proto::reapi;
use prost::Message;

use crate::generate::expand;
use crate::graph::Tree;
use crate::mode::Mode;
use crate::place::Kind;
use crate::reason::Reason;
use crate::recorded::Recorded;
use crate::simulated::{Build, Files, Primed, digest, prime};

fn file(path: &str, content: &str) -> (String, Digest) {
    (path.to_owned(), digest(content))
}

fn play(before: &Build, after: &Build) -> Primed {
    let recorded = before.recorded(Mode::Full);
    prime(before, &recorded, &after.unbuilt(), &after.loaded.forest, Mode::Full)
}

/// "It replaces a digest everywhere in a tree."
#[test]
fn equal_files_change_one_by_one() {
    let build = |first: &str| {
        let mut build = Build::default();
        let sources = vec![file("a/empty.h", first), file("b/empty.h", ""), file("x.c", "x")];
        let element = build.element("lib", &[], &sources);
        let inputs: Files =
            sources.iter().map(|(path, content)| (format!("build/lib/{path}"), *content)).collect();
        build.action(element, "cc -c x.c", &inputs, &["x.o"]);
        build
    };
    let (before, after) = (build(""), build("no longer empty"));
    let primed = play(&before, &after);
    assert_eq!(primed.ready[&(0, 0)], after.elements[0].subactions.clone().unwrap_or_default()[0]);
}

/// "An artifact overlay whose only origin is the element's own artifact resolves to itself."
#[test]
fn an_artifact_without_sources_resolves_in_one_step() {
    let build = |library: &str| {
        let mut build = Build::default();
        let sdk = build.element("sdk", &[], &Vec::new());
        build.install(sdk, &vec![file("usr/lib/libz.a", library)]);
        let app = build.element("app", &[sdk], &vec![file("main.o", "main")]);
        let inputs = vec![file("build/app/main.o", "main"), file("usr/lib/libz.a", library)];
        build.action(app, "cc -o app", &inputs, &["app"]);
        build
    };
    let (before, after) = (build("one"), build("two"));
    let recorded = before.recorded(Mode::Full);
    let places = &recorded[&1].origins[&digest("one")];
    assert_eq!(places.iter().map(|place| place.kind).collect::<Vec<_>>(), [Kind::Artifact]);
    // Not built yet: it waits, and says for what.
    let primed = prime(&before, &recorded, &after.unbuilt(), &after.loaded.forest, Mode::Full);
    let reason = Reason::ArtifactUnknown { element: "sdk".to_owned() };
    assert_eq!(primed.left, HashMap::from([((1, 0), reason)]));
    // Built: one step.
    let mut today = after.unbuilt();
    today.elements_mut()[0].artifact.clone_from(&after.elements[0].artifact);
    let primed = prime(&before, &recorded, &today, &after.loaded.forest, Mode::Full);
    assert_eq!(primed.ready[&(1, 0)], after.elements[1].subactions.clone().unwrap_or_default()[0]);
}

/// "SOURCE and ARTIFACT fallbacks are written out for every input of every action."
#[test]
fn the_table_does_not_grow_with_the_actions() {
    let build = |actions: usize| {
        let mut build = Build::default();
        let headers: Files =
            (0..50).map(|n| file(&format!("include/h{n}.h"), &format!("header {n}"))).collect();
        let base = build.element("base", &[], &headers);
        let installed = headers.iter().map(|(path, content)| (format!("usr/{path}"), *content));
        let installed: Files = installed.collect();
        build.install(base, &installed);
        let sources: Files =
            (0..actions).map(|n| file(&format!("u{n}.c"), &format!("unit {n}"))).collect();
        let lib = build.element("lib", &[base], &sources);
        for (path, content) in &sources {
            let mut inputs = installed.clone();
            inputs.push((format!("build/lib/{path}"), *content));
            let object = format!("{path}.o");
            build.action(lib, &format!("cc -c {path}"), &inputs, &[&object]);
        }
        build
    };
    let size = |build: &Build| {
        let recorded = build.recorded(Mode::Full);
        let table = recorded[&1].to_message().encoded_len();
        let expanded = expand(&recorded[&1], &build.loaded).expect("all is loaded").encoded_len();
        (table, expanded)
    };
    let (small, _) = size(&build(20));
    let (large, expanded) = size(&build(100));
    // An action more costs its own digest and its own source, not its fifty headers.
    assert!((large - small) / 80 < 400, "{small} {large}");
    assert!(expanded > 20 * large, "{expanded} {large}");
}

/// The expanded form says the same.
#[test]
fn the_form_of_the_pull_request_leads_to_the_same_actions() {
    let build = |header: &str| {
        let mut build = Build::default();
        let lib = build.element("lib", &[], &vec![file("src/a.h", header)]);
        build.install(lib, &vec![file("usr/include/a.h", header)]);
        let app = build.element("app", &[lib], &vec![file("main.c", "main")]);
        let inputs = vec![file("build/app/main.c", "main"), file("usr/include/a.h", header)];
        let object = build.action(app, "cc -c main.c", &inputs, &["main.o"])[0];
        let inputs = vec![("build/app/main.o".to_owned(), object)];
        build.action(app, "cc -o app", &inputs, &["app"]);
        build
    };
    let (before, after) = (build("one"), build("two"));
    let table = before.recorded(Mode::Full);
    let expanded = expand(&table[&1], &before.loaded).expect("all is loaded");
    assert_eq!((expanded.table_version, expanded.origins.len()), (0, 0));
    assert!(expanded.actions.iter().all(|action| !action.overlays.is_empty()));
    let bytes = expanded.encode_to_vec();
    let read = Recorded::decode(&bytes, "app").expect("what we wrote");
    let recorded = HashMap::from([(1, read)]);
    let primed = prime(&before, &recorded, &after.unbuilt(), &after.loaded.forest, Mode::Full);
    let asked = after.elements[1].subactions.clone().unwrap_or_default();
    assert_eq!((primed.ready[&(1, 0)], primed.ready[&(1, 1)]), (asked[0], asked[1]));
}

/// "Platform properties that carry a digest stay at the old value."
#[test]
fn trees_that_the_platform_names_are_inputs() {
    for (property, closure) in
        [("chrootRootDigest", false), ("chrootRootDigest", true), ("chrootTreeDigest", true)]
    {
        let build = |library: &str| {
            let mut build = Build::default();
            let base = build.element("base", &[], &Vec::new());
            build.install(base, &vec![file("usr/bin/sh", "shell")]);
            let sdk = build.element("sdk", &[base], &Vec::new());
            let files = vec![file("usr/bin/cc", "compiler"), file("usr/lib/libc.a", library)];
            build.install(sdk, &files);
            let mut all = files;
            if closure {
                all.push(file("usr/bin/sh", "shell"));
            }
            let root = build.tree(&all);
            let value = match property {
                "chrootRootDigest" => root,
                _ => {
                    let tree = build.loaded.forest.tree(root).expect("a tree");
                    build.loaded.forest.function().digest(&tree.encode_to_vec())
                }
            };
            let properties = vec![reapi::platform::Property {
                name: property.to_owned(),
                value: value.to_string(),
            }];
            let platform = Some(reapi::Platform { properties });
            let app = build.element("app", &[sdk], &vec![file("main.c", "main")]);
            let inputs = vec![file("build/app/main.c", "main")];
            build.action_with(app, "cc -c main.c", &inputs, &["main.o"], platform);
            build
        };
        let (before, after) = (build("one"), build("two"));
        let recorded = before.recorded(Mode::Full);
        let mut today = after.unbuilt();
        for (element, built) in today.elements_mut().iter_mut().zip(&after.elements) {
            element.artifact.clone_from(&built.artifact);
        }
        let primed = prime(&before, &recorded, &today, &after.loaded.forest, Mode::Full);
        let asked = after.elements[2].subactions.clone().unwrap_or_default();
        assert_eq!(primed.ready.get(&(2, 0)), asked.first(), "{property} {closure} {primed:?}");
        // Until the sdk is built, it waits.
        let unbuilt = after.unbuilt();
        let primed = prime(&before, &recorded, &unbuilt, &after.loaded.forest, Mode::Full);
        assert_eq!(primed.left.len(), 1, "{property} {closure}");
    }
}

/// "All errors are swallowed": every skip has a reason.
#[test]
fn every_skip_has_a_reason() {
    let build = |names: [&str; 2]| {
        let mut build = Build::default();
        let sources = vec![file(names[0], "a"), file(names[1], "b")];
        let lib = build.element("lib", &[], &sources);
        let inputs = vec![file("build/lib/a.c", "a"), file("build/lib/b.h", "b")];
        let object = build.action(lib, "cc -c a.c", &inputs, &["a.o"])[0];
        let inputs = vec![("build/lib/a.o".to_owned(), object)];
        build.action(lib, "ar rcs", &inputs, &["lib.a"]);
        build
    };
    let (before, after) = (build(["a.c", "b.h"]), build(["renamed.c", "b.h"]));
    let primed = play(&before, &after);
    let gone = Reason::SourceGone { element: "lib".to_owned(), path: "a.c".to_owned() };
    assert_eq!(primed.skipped.get(&(0, 0)), Some(&gone));
    let reason = primed.skipped.get(&(0, 1)).map(Reason::name);
    assert_eq!(reason, Some("producer-skipped"));
    // The element is gone altogether.
    let recorded = before.recorded(Mode::Full);
    let mut base = Build::default();
    base.element("other", &[], &vec![file("x", "x")]);
    let primed = prime(&before, &recorded, &base.unbuilt(), &base.loaded.forest, Mode::Full);
    assert!(primed.ready.is_empty() || primed.skipped.len() == 2, "{primed:?}");
}

/// What may not be cached, and what we cannot write as its client does, is left alone.
#[test]
fn odd_actions_are_left_alone() {
    let mut before = Build::default();
    let lib = before.element("lib", &[], &vec![file("a.c", "one"), file("b.c", "b")]);
    before.action(lib, "cc -c a.c", &vec![file("build/lib/a.c", "one")], &["a.o"]);
    before.action(lib, "cc -c a.c b.c", &vec![file("build/lib/a.c", "one")], &["b.o"]);
    let actions = before.elements[0].subactions.clone().unwrap_or_default();
    let first = before.loaded.actions.get_mut(&actions[0]).expect("recorded");
    first.action.do_not_cache = true;
    let second = before.loaded.actions.get_mut(&actions[1]).expect("recorded");
    let mut bytes = second.bytes.to_vec();
    // Field 1000, which nobody knows.
    bytes.extend_from_slice(&[0xc2, 0x3e, 0x00]);
    second.bytes = bytes.into();
    let mut after = Build::default();
    after.element("lib", &[], &vec![file("a.c", "two"), file("b.c", "b")]);
    let recorded = before.recorded(Mode::Full);
    let primed = prime(&before, &recorded, &after.unbuilt(), &after.loaded.forest, Mode::Full);
    assert_eq!(primed.skipped.get(&(0, 0)), Some(&Reason::DoNotCache));
    assert_eq!(primed.skipped.get(&(0, 1)), Some(&Reason::ForeignEncoding));
}

/// An archive that is indexed in place, and a consumer of each state of it.
#[test]
fn only_earlier_actions_are_origins() {
    let build = |source: &str| {
        let mut build = Build::default();
        let lib = build.element("lib", &[], &vec![file("a.c", source)]);
        let inputs = vec![file("build/lib/a.c", source)];
        let object = build.action(lib, "cc -c a.c", &inputs, &["a.o"])[0];
        let inputs = vec![("build/lib/a.o".to_owned(), object)];
        let archive = build.action(lib, "ar rcs", &inputs, &["lib.a"])[0];
        // The index changes nothing: its output equals its input.
        let inputs = vec![("build/lib/lib.a".to_owned(), archive)];
        build.action(lib, "ranlib", &inputs, &["lib.a"]);
        let last = build.elements[lib].subactions.clone().unwrap_or_default()[2];
        if let Some(action) = build.loaded.actions.get_mut(&last) {
            action.outputs = vec![("build/lib/lib.a".to_owned(), archive)];
        }
        let inputs = vec![("build/lib/lib.a".to_owned(), archive)];
        build.action(lib, "cc -o app", &inputs, &["app"]);
        build
    };
    let before = build("one");
    let recorded = before.recorded(Mode::Full);
    let views = crate::view::view(&recorded[&0], &before.loaded);
    let actions = before.elements[0].subactions.clone().unwrap_or_default();
    assert_eq!(views[2].inputs[0].origins[0].action, Some(actions[1]));
    assert_eq!(views[3].inputs[0].origins[0].action, Some(actions[2]));
    assert_eq!(views[3].inputs[0].origins[1].action, Some(actions[1]));
    let primed = play(&before, &build("two"));
    assert!(primed.left.is_empty() && primed.skipped.is_empty(), "{primed:?}");
    assert_eq!(primed.changed, 4);
}

/// An output that happens to equal a source under another name is still to come, not that source.
#[test]
fn a_guess_does_not_jump_the_queue() {
    let build = |header: &str| {
        let mut build = Build::default();
        let lib = build.element("lib", &[], &vec![file("a.h", header)]);
        let inputs = vec![file("build/lib/a.h", header)];
        build.action(lib, "cp a.h a.o", &inputs, &["a.o"]);
        let first = build.elements[lib].subactions.clone().unwrap_or_default()[0];
        if let Some(action) = build.loaded.actions.get_mut(&first) {
            action.outputs = vec![file("build/lib/a.o", header)];
        }
        let inputs = vec![file("build/lib/a.o", header)];
        build.action(lib, "cp a.o b.o", &inputs, &["b.o"]);
        build
    };
    let before = build("one");
    let recorded = before.recorded(Mode::Full);
    let after = build("two").unbuilt();
    let mut loaded = before.loaded.clone();
    let root = after.elements()[0].sources.clone();
    let Some(Tree::Digest(_)) = root else { panic!("sources") };
    for directory in build("two").loaded.forest.take_made() {
        loaded.forest.insert_encoded(directory.0, &directory.1).expect("a directory");
    }
    let today = crate::today::Today::new(&after);
    let touched = crate::plan::touched(&after, &today, &recorded);
    let mut plan =
        crate::plan::Plan::new(&after, today, &recorded, &touched, &mut loaded, Mode::Full);
    assert!(matches!(plan.step(), Some(crate::plan::Step::Execute(0, _))));
    assert!(matches!(plan.step(), Some(crate::plan::Step::Deferred(1))));
}

/// Trees that are the same need nothing, also not what lies above them.
#[test]
fn what_is_unchanged_costs_nothing() {
    let build = |source: &str| {
        let mut build = Build::default();
        let a = build.element("a", &[], &vec![file("a.c", "a")]);
        build.action(a, "cc -c a.c", &vec![file("build/a/a.c", "a")], &["a.o"]);
        build.install(a, &vec![file("usr/lib/a.o", "a.o")]);
        let b = build.element("b", &[a], &vec![file("b.c", source)]);
        build.action(b, "cc -c b.c", &vec![file("build/b/b.c", source)], &["b.o"]);
        build
    };
    let (before, after) = (build("one"), build("two"));
    let recorded = before.recorded(Mode::Full);
    let today = crate::today::Today::new(&after.unbuilt());
    let touched = crate::plan::touched(&after.unbuilt(), &today, &recorded);
    assert_eq!(touched.into_iter().collect::<Vec<_>>(), [1]);
    let Some(Tree::Digest(_)) = after.elements[1].sources else { panic!("sources") };
}
