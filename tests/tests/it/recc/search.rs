//! How much of PATH is part of an action of the embedded store.

use forerunner_tests::{on_path, peer};

use super::Place;

/// What the compiler's programs are found by, and no more: another terminal, an environment of
/// Python or one of the build system's makes no miss.
#[test]
fn of_path_only_what_finds_the_compiler() {
    let Some((gcc, r#as)) = peer("gcc and as", on_path("gcc").zip(on_path("as"))) else { return };
    let place = Place::new();
    place.write("a.c", "int a;\n");
    let path = std::env::var("PATH").expect("PATH");
    let compile = |path: &str, compiler: &str| {
        let mut command = place.ours("recc");
        command.env("PATH", path).args([compiler, "-c", "a.c", "-o", "a.o"]);
        let output = command.output().expect("a program");
        assert!(output.status.success(), "{output:?}");
        place.figures()
    };
    std::fs::create_dir(place.work().join("more")).expect("a folder");
    let more = place.work().join("more").display().to_string();
    assert_eq!(compile(&path, "gcc"), (0, 1));
    assert_eq!(compile(&format!("/gone:{more}:{path}"), "gcc"), (1, 1));
    assert_eq!(compile(&format!("{path}:{more}"), "gcc"), (2, 1));
    // Another assembler, found first.
    let text = format!("#!/bin/sh\nexec {} \"$@\"\n", r#as.display());
    let other = place.script("other/as", &text);
    let other = other.strip_suffix("/as").expect("it ends so");
    assert_eq!(compile(&format!("{other}:{path}"), "gcc"), (2, 2));
    // It appears where PATH led before.
    assert_eq!(compile(&format!("{more}:{path}"), "gcc"), (3, 2));
    place.script("more/as", &format!("{text}# another\n"));
    assert_eq!(compile(&format!("{more}:{path}"), "gcc"), (3, 3));
    // What a script starts, nobody knows.
    let wrapper = place.script("bin/gcc", &format!("#!/bin/sh\nexec {} \"$@\"\n", gcc.display()));
    let before = compile(&path, &wrapper);
    let after = compile(&format!("{path}:/gone"), &wrapper);
    assert_eq!(after, (before.0, before.1 + 1));
    assert_eq!(compile(&path, &wrapper), (after.0 + 1, after.1));
}
