//! What `--explain` and `--stats` say is so.

use forerunner_tests::{on_path, peer};

use super::Place;

#[test]
fn what_changed_is_named_and_what_was_saved_is_counted() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let place = Place::new();
    let line = ["gcc", "-Iinc", "-c", "a.c", "-o", "a.o"];
    let say = |words: &[&str]| {
        let output = place.ours("recc").args(words).output().expect("recc");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let explain = || say(&[&["--explain"][..], &line].concat());
    place.write("a.c", "#include <a.h>\nint a(void) { return A; }\n");
    place.write("inc/a.h", "#define A 1\n");
    assert!(explain().contains("manifest: none\n"));
    say(&line);
    let text = explain();
    assert!(text.contains("manifest: holds for action "), "{text}");
    assert!(text.contains("result: stored\n"), "{text}");

    for header in ["#define A 1\n\nint b;\n", "#define A 2\n"] {
        place.write("inc/a.h", header);
        let text = explain();
        assert!(text.contains(": `inc/a.h` changed\n"), "{text}");
        assert!(text.contains("result: not stored\n"), "{text}");
        say(&line);
        assert!(explain().contains("manifest: holds for action "));
    }

    say(&["--zero-stats"]);
    say(&line);
    place.write("inc/a.h", "#define A 1\n");
    say(&line);
    let object = std::fs::metadata(place.work().join("a.o")).expect("an object").len();
    let text = say(&["--stats"]);
    let since = text.split("since the last --zero-stats").nth(1).expect("the part");
    let since = since.split("since the store was made").next().expect("the part");
    let number = |name: &str| -> u64 {
        let line = since.lines().find(|line| line.trim().starts_with(name)).expect("a line");
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
    };
    assert_eq!((number("hits"), number("misses")), (2, 0), "{text}");
    assert_eq!(number("bytes"), 2 * object, "{text}");
}
