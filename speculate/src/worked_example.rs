//! libA -> libB -> appC: the worked example of the method, overlay by overlay.

use std::collections::HashMap;

use crate::mode::Mode;
use crate::place::Kind;
use crate::simulated::{Build, Files, digest, prime};
use crate::view::{ActionView, view};

/// The project with `math_utils.h` of this content.
fn chain(header: &str) -> Build {
    let file = |path: &str, content: &str| (path.to_owned(), digest(content));
    let mut build = Build::default();

    let sources: Files =
        vec![file("src/math_utils.h", header), file("src/math_utils.cpp", "math_utils.cpp")];
    let a = build.element("libA.bst", &[], &sources);
    let inputs = vec![
        file("build/libA.bst/src/math_utils.h", header),
        file("build/libA.bst/src/math_utils.cpp", "math_utils.cpp"),
        file("usr/include/stdlib.h", "of the toolchain"),
    ];
    let object = build.action(a, "g++ -c src/math_utils.cpp", &inputs, &["math_utils.o"])[0];
    let inputs = vec![("build/libA.bst/math_utils.o".to_owned(), object)];
    let archive_a = build.action(a, "ar rcs", &inputs, &["libmath_utils.a"])[0];
    let installed = vec![
        file("usr/include/math_utils.h", header),
        ("usr/lib/libmath_utils.a".to_owned(), archive_a),
    ];
    build.install(a, &installed);

    let sources = vec![
        file("src/vector_math.h", "vector_math.h"),
        file("src/vector_math.cpp", "vector_math.cpp"),
    ];
    let b = build.element("libB.bst", &[a], &sources);
    let inputs = vec![
        file("build/libB.bst/src/vector_math.h", "vector_math.h"),
        file("build/libB.bst/src/vector_math.cpp", "vector_math.cpp"),
        file("usr/include/math_utils.h", header),
        ("build/libB.bst/out/".to_owned(), digest("")),
    ];
    let object = build.action(b, "g++ -c src/vector_math.cpp", &inputs, &["vector_math.o"])[0];
    let inputs = vec![("build/libB.bst/vector_math.o".to_owned(), object)];
    let archive_b = build.action(b, "ar rcs", &inputs, &["libvector_math.a"])[0];
    let installed = vec![
        file("usr/include/vector_math.h", "vector_math.h"),
        ("usr/lib/libvector_math.a".to_owned(), archive_b),
    ];
    build.install(b, &installed);

    let c = build.element("appC.bst", &[b], &vec![file("src/main.cpp", "main.cpp")]);
    let inputs = vec![
        file("build/appC.bst/src/main.cpp", "main.cpp"),
        file("usr/include/math_utils.h", header),
        file("usr/include/vector_math.h", "vector_math.h"),
    ];
    let object = build.action(c, "g++ -c src/main.cpp", &inputs, &["main.o"])[0];
    let inputs = vec![
        ("build/appC.bst/main.o".to_owned(), object),
        ("usr/lib/libvector_math.a".to_owned(), archive_b),
        ("usr/lib/libmath_utils.a".to_owned(), archive_a),
    ];
    let app = build.action(c, "g++ -o app", &inputs, &["app"])[0];
    build.install(c, &vec![("usr/bin/app".to_owned(), app)]);
    build
}

fn overlays(action: &ActionView) -> Vec<String> {
    let mut lines = Vec::new();
    for input in &action.inputs {
        let origins = input
            .origins
            .iter()
            .map(|origin| format!("{} {}:{}", origin.kind.name(), origin.element, origin.path));
        let origins: Vec<String> = origins.collect();
        lines.push(format!("{} <- {}", input.path, origins.join(" | ")));
    }
    lines
}

#[test]
fn overlay_by_overlay() {
    let build = chain("one");
    let recorded = build.recorded(Mode::Full);
    let views: HashMap<usize, Vec<ActionView>> =
        recorded.iter().map(|(index, one)| (*index, view(one, &build.loaded))).collect();
    assert_eq!(
        overlays(&views[&0][0]),
        [
            "build/libA.bst/src/math_utils.cpp <- SOURCE libA.bst:src/math_utils.cpp",
            "build/libA.bst/src/math_utils.h <- SOURCE libA.bst:src/math_utils.h",
        ]
    );
    assert_eq!(views[&0][0].without_origin, 1);
    assert_eq!(
        overlays(&views[&0][1]),
        ["build/libA.bst/math_utils.o <- ACTION libA.bst:build/libA.bst/math_utils.o"]
    );
    assert_eq!(
        overlays(&views[&1][0]),
        [
            "build/libB.bst/src/vector_math.cpp <- SOURCE libB.bst:src/vector_math.cpp",
            "build/libB.bst/src/vector_math.h <- SOURCE libB.bst:src/vector_math.h",
            "usr/include/math_utils.h <- SOURCE libA.bst:src/math_utils.h | ARTIFACT libA.bst:usr/include/math_utils.h",
        ]
    );
    assert_eq!(
        overlays(&views[&2][1]),
        [
            "build/appC.bst/main.o <- ACTION appC.bst:build/appC.bst/main.o",
            "usr/lib/libmath_utils.a <- ACTION libA.bst:build/libA.bst/libmath_utils.a | ARTIFACT libA.bst:usr/lib/libmath_utils.a",
            "usr/lib/libvector_math.a <- ACTION libB.bst:build/libB.bst/libvector_math.a | ARTIFACT libB.bst:usr/lib/libvector_math.a",
        ]
    );
    let artifact: Vec<(Kind, &str)> =
        recorded[&0].artifact_overlays.iter().map(|(p, _)| (p.kind, &*p.path)).collect();
    assert_eq!(artifact.len(), 2);
    assert!(artifact.contains(&(Kind::Source, "src/math_utils.h")));
    assert!(artifact.contains(&(Kind::Action, "build/libA.bst/libmath_utils.a")));
}

#[test]
fn a_header_change_is_primed_from_end_to_end() {
    let before = chain("one");
    let after = chain("two");
    let recorded = before.recorded(Mode::Full);
    let today = after.unbuilt();
    let primed = prime(&before, &recorded, &today, &after.loaded.forest, Mode::Full);
    assert!(primed.left.is_empty() && primed.skipped.is_empty(), "{primed:?}");
    assert_eq!(primed.changed, 6);
    for element in 0..3 {
        for action in after.elements[element].subactions.iter().flatten() {
            let found = primed.ready.iter().any(|((e, _), d)| *e == element && d == action);
            assert!(found, "element {element} will ask for {action}");
        }
    }
}

#[test]
fn nothing_changed_nothing_done() {
    let before = chain("one");
    let recorded = before.recorded(Mode::Full);
    let primed = prime(&before, &recorded, &before.unbuilt(), &before.loaded.forest, Mode::Full);
    assert_eq!((primed.changed, primed.ready.len()), (0, 6));
}

#[test]
fn each_mode_goes_as_far_as_it_says() {
    let before = chain("one");
    let after = chain("two");
    let changed = |mode| {
        let recorded = before.recorded(mode);
        prime(&before, &recorded, &after.unbuilt(), &after.loaded.forest, mode).changed
    };
    assert_eq!(changed(Mode::Full), 6);
    // The link waits for the archives of other elements.
    assert_eq!(changed(Mode::IntraElement), 5);
    // Only the compiles: objects come from nowhere known, so archives stay as they are.
    assert_eq!(changed(Mode::SourceArtifact), 3);
    assert_eq!(changed(Mode::None), 0);
    let recorded = before.recorded(Mode::Full);
    let primed = prime(&before, &recorded, &after.unbuilt(), &after.loaded.forest, Mode::PrimeOnly);
    assert_eq!(primed.changed, 6);
}
