//! Headers that begin to include others, and headers that cease to: the adapted action has the files
//! that the compiler reads, no more and no fewer.

use std::process::Command;

use forerunner_tests::{bin, bin_dir, on_path, peer, run, script, temp};
use serde_json::{Value, json};

use crate::speculate_prime::{Files, Home, prepared};

fn primed(home: &Home, graph: &str) -> Value {
    let text = run(&mut home.speculate(&["prime", "--json", "--graph", graph]));
    serde_json::from_str(&text).expect("JSON")
}

/// A header begins to include one that is there, and that includes a new one; it no longer includes
/// one that is gone. The action that the build will ask for has exactly the new files.
#[test]
fn new_includes_are_found() {
    let home = Home::new();
    // Says what gcc says of what is missing.
    let text = "for h in b.h sub/c.h; do if grep -q two a.h && ! test -e inc/$h; then \
        echo \"a.h:1:10: fatal error: $h: No such file or directory\" >&2; exit 1; fi; done; \
        cat a.c a.h inc/b.h inc/sub/c.h > a.o";
    let mut command = script(text, "a.o");
    command.arguments.extend(["cc", "-Iinc"].map(str::to_owned));
    let record =
        |output: &str, inputs: Files<'_>| home.recorded_command(&command, ("a.o", output), inputs);
    let base = record("x", &[("work/a.c", "a"), ("work/a.h", "one"), ("work/inc/gone.h", "gone")]);
    let graph = prepared(
        &home,
        &[base],
        &[("a.c", "a"), ("a.h", "one"), ("inc/gone.h", "gone"), ("inc/sub/c.h", "c")],
        &[("a.c", "a"), ("a.h", "two"), ("inc/b.h", "b"), ("inc/sub/c.h", "c")],
    );
    let value = primed(&home, &graph);
    assert_eq!((&value["total"]["executed"], &value["total"]["tries"]), (&json!(1), &json!(2)));
    assert_eq!(value["total"]["recorded"], 1, "{value}");
    let inputs =
        [("work/a.c", "a"), ("work/a.h", "two"), ("work/inc/b.h", "b"), ("work/inc/sub/c.h", "c")];
    let asked = home.command(&command, &inputs);
    assert_eq!(home.output(&asked).as_deref(), Some("atwobc"));
}

/// What a compiler would do: follows the directives from `a.c` on, the word HEADER standing for `b.h`,
/// says what gcc says of what is missing, and makes an object of what it read.
const COMPILE: &str = "read_it() { cat $1 >> a.o; \
    for h in $(sed -n 's/^#include HEADER$/b.h/p; s/^#include \"\\(.*\\)\"$/\\1/p' $1); do \
    for f in inc/$h inc/sub/$h none; do test -e $f && break; done; \
    if test $f = none; then echo \"$1:1:10: fatal error: $h: No such file or directory\" >&2; \
    exit 1; fi; (read_it $f); done; }; read_it a.c";

/// A unit that includes `a.h`, which includes what is given; `b.h` includes `sub/d.h`.
fn compile(home: &Home, header: &str, others: &[&str], output: Option<&str>) -> String {
    let mut command = script(COMPILE, "a.o");
    command.arguments.extend(["cc", "-Iinc", "-Iinc/sub", "a.c"].map(str::to_owned));
    let files = inputs(header);
    let wanted = |path: &str| matches!(path, "a.c" | "inc/a.h") || others.contains(&path);
    let files = files.iter().filter(|(path, _)| wanted(path));
    let named: Vec<(String, &str)> =
        files.map(|(path, content)| (format!("work/{path}"), *content)).collect();
    let named: Vec<(&str, &str)> =
        named.iter().map(|(path, content)| (path.as_str(), *content)).collect();
    let action = match output {
        Some(output) => home.recorded_command(&command, ("a.o", output), &named),
        None => home.command(&command, &named),
    };
    action.to_string()
}

fn inputs(header: &str) -> [(&str, &str); 5] {
    [
        ("a.c", "#include \"a.h\"\n"),
        ("inc/a.h", header),
        ("inc/b.h", "#include \"d.h\"\n"),
        ("inc/c.h", "c\n"),
        ("inc/sub/d.h", "d\n"),
    ]
}

const BOTH: &str = "#include \"b.h\"\n#include \"c.h\"\n";

/// Records the compile of `before`, primes that of `after`; answers with the counts, and whether the
/// action that reads just `others` has a result.
fn change(before: &str, read: &[&str], after: &str, others: &[&str]) -> (Value, bool) {
    let home = Home::new();
    let base = compile(&home, before, read, Some("x")).parse().expect("a digest");
    let graph = prepared(&home, &[base], &inputs(before), &inputs(after));
    // The dry run says the same.
    let dry = run(&mut home.speculate(&["instantiate", "--graph", &graph]));
    let value = primed(&home, &graph);
    let asked = compile(&home, after, others, None);
    assert_eq!(dry.contains(&asked), value["total"]["tries"] == 0, "{dry}\n{value}");
    let hit = home.output(&asked.parse().expect("a digest")).is_some();
    (value["total"].clone(), hit)
}

/// `a.h` no longer includes `b.h`, so neither that nor what only it includes is read.
#[test]
fn what_is_no_longer_included_is_left_out() {
    let all = ["inc/b.h", "inc/c.h", "inc/sub/d.h"];
    let (total, hit) = change(BOTH, &all, "new\n#include \"c.h\"\n", &["inc/c.h"]);
    assert!(hit, "{total}");
    assert_eq!((&total["executed"], &total["tries"]), (&json!(1), &json!(0)));
    // It may still come another way.
    let (total, hit) =
        change(BOTH, &all, "#include \"c.h\"\n#include \"d.h\"\n", &["inc/c.h", "inc/sub/d.h"]);
    assert!(hit, "{total}");
}

/// An include that only the compiler understands takes the place of one that everybody does.
#[test]
fn what_was_left_out_wrongly_is_put_back() {
    let all = ["inc/b.h", "inc/c.h", "inc/sub/d.h"];
    let after = "#include HEADER\n#include \"c.h\"\n";
    let (total, hit) = change(BOTH, &all, after, &all);
    assert!(hit, "{total}");
    assert_eq!((&total["executed"], &total["tries"]), (&json!(1), &json!(2)));
}

/// What no directive led to before is an input for a reason that is not ours to judge.
#[test]
fn what_was_never_included_stays() {
    let (before, after) = ("#include \"c.h\"\n", "new\n");
    let (total, hit) = change(before, &["inc/b.h", "inc/c.h"], after, &["inc/b.h"]);
    assert!(hit, "{total}");
}

/// A new include of a file that no source is: nothing can be done, and that is said.
#[test]
fn what_is_nowhere_is_a_reason_of_its_own() {
    let all = ["inc/b.h", "inc/c.h", "inc/sub/d.h"];
    let (total, hit) = change(BOTH, &all, "#include \"nowhere.h\"\n", &[]);
    assert!(!hit, "{total}");
    assert_eq!(total["skipped"], json!({ "shape-changed": 1 }), "{total}");
}

/// With a real compiler, which is asked: headers of the toolchain that are new to a unit, headers behind
/// conditions, and headers that are included no longer. The build finds all of it, and no more was executed.
#[test]
fn a_compiler_is_asked_what_it_reads() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let home = temp();
    let work = home.path().join("work");
    std::fs::create_dir_all(work.join("inc")).expect("folders");
    let write = |path: &str, text: &str| std::fs::write(work.join(path), text).expect("a file");
    write("a.c", "#include \"inc/a.h\"\nint a;\n");
    write("b.c", "#include \"inc/a.h\"\n#include <stdlib.h>\nint b;\n");
    write("inc/a.h", "#include \"old.h\"\n#if 0\n#include \"never.h\"\n#endif\n");
    write("inc/old.h", "#include \"deep.h\"\n");
    write("inc/deep.h", "\n");
    let path = format!("{}:/usr/bin:/bin", bin_dir().display());
    let speculate = |words: &[&str]| -> (String, String) {
        let mut command = Command::new(bin("speculate"));
        command.args(words).current_dir(&work).env_clear().env("PATH", &path);
        command.env("HOME", home.path()).env("RECC_LOG_LEVEL", "info");
        let output = command.output().expect("speculate");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
        (String::from_utf8_lossy(&output.stdout).into_owned(), said)
    };
    let build = || {
        let script = "recc gcc -Iinc -MD -MF a.d -c a.c -o a.o; recc gcc -Iinc -c b.c -o b.o";
        let record = ["record", "--element=e", "--sources=.", "--", "sh", "-ec", script];
        speculate(&record).1.matches("Action Cache hit").count()
    };
    assert_eq!(build(), 0);
    speculate(&["generate", "--element=e"]);
    for product in ["a.o", "a.d", "b.o"] {
        std::fs::remove_file(work.join(product)).expect("a product");
    }
    let header = "#ifdef __GNUC__\n#include <stdlib.h>\n#include \"new.h\"\n#else\n\
        #include \"old.h\"\n#endif\n";
    write("inc/a.h", header);
    write("inc/new.h", "#include <never.h>\n");
    write("inc/never.h", "int never;\n");
    let (counts, said) = speculate(&["prime", "--json", "--element=e", "--sources=."]);
    let counts: Value = serde_json::from_str(&counts).expect("JSON");
    let total = &counts["total"];
    assert_eq!((&total["executed"], &total["tries"]), (&json!(2), &json!(2)), "{said}");
    // What was answered is known, also to a dry run.
    let (dry, _) = speculate(&["instantiate", "--element=e", "--sources=."]);
    assert_eq!(build(), 2, "{said}");
    let (graph, _) = speculate(&["generate", "--element=e"]);
    let graph: Value = serde_json::from_str(&graph).expect("JSON");
    for action in graph["elements"][0]["subactions"].as_array().expect("actions") {
        assert!(dry.contains(action.as_str().expect("a digest")), "{dry}");
    }
}

/// A home, and the folder of a project in it, where there is a compiler.
fn home_with_gcc() -> Option<(tempfile::TempDir, std::path::PathBuf)> {
    peer("gcc", on_path("gcc"))?;
    let home = temp();
    let work = home.path().join("work");
    std::fs::create_dir_all(&work).expect("a folder");
    Some((home, work))
}

/// The words of a compile of `unit` in the project below.
fn build_line(unit: usize) -> String {
    format!("recc gcc -c u{unit}.c -o u{unit}.o")
}

/// Headers that a macro switches, with a real compiler, over several steps of a history. Every action that
/// the build asks for is there, and compilers are asked only where it may matter.
#[test]
fn macros_that_switch_includes_are_found() {
    let Some((home, work)) = home_with_gcc() else { return };
    let write = |path: &str, text: &str| std::fs::write(work.join(path), text).expect("a file");
    let config = |macros: &str| {
        write("config.h", &format!("#ifndef CONFIG\n#define CONFIG\n{macros}#endif\n"));
    };
    config("#define VERSION 1\n#define BASE 1\n");
    // Its own condition.
    write(
        "u0.c",
        "#include \"config.h\"\n#ifdef HAVE_X\n#include \"x.h\"\n#endif\nint u0 = VERSION;\n",
    );
    // That of a header, on a macro that is made of another.
    write("u1.c", "#include \"common.h\"\nint u1 = VERSION;\n");
    write(
        "common.h",
        "#include \"config.h\"\n#define LEVEL \\\n  (BASE + 1)\n#if LEVEL > 2\n#include \"deep.h\"\n#endif\n",
    );
    // None, and one that only asks whether it is defined.
    write(
        "u2.c",
        "#include \"config.h\"\n#ifdef VERSION\n#include \"always.h\"\n#endif\nint u2 = VERSION;\n",
    );
    write("always.h", "int always;\n");
    write("x.h", "int x;\n");
    write("deep.h", "int deep;\n");
    let speculate = |words: &[&str]| -> (String, String) {
        let mut command = forerunner_tests::at_home("speculate", &work, home.path());
        command.args(words).env("RECC_LOG_LEVEL", "info");
        let output = command.output().expect("speculate");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
        (String::from_utf8_lossy(&output.stdout).into_owned(), said)
    };
    let build = || {
        let script = (0..3).map(build_line).collect::<Vec<_>>().join("; ");
        let record = ["record", "--element=e", "--sources=.", "--", "sh", "-ec", &script];
        let hits = speculate(&record).1.matches("Action Cache hit").count();
        speculate(&["generate", "--element=e"]);
        for unit in 0..3 {
            std::fs::remove_file(work.join(format!("u{unit}.o"))).expect("an object");
        }
        hits
    };
    assert_eq!(build(), 0);
    let step = |what: &str, asked: usize, useful: usize, executed: usize| {
        let (counts, said) = speculate(&["prime", "--json", "--element=e", "--sources=."]);
        let counts: Value = serde_json::from_str(&counts).expect("JSON");
        let expected = json!({ "asked": asked, "useful": useful });
        assert_eq!(counts["macros"], expected, "{what}: {counts}\n{said}");
        assert_eq!(counts["total"]["executed"], executed, "{what}: {counts}\n{said}");
        assert_eq!(build(), 3, "{what}: {said}");
    };
    config("#define VERSION 2\n#define BASE 1\n");
    step("a value that no condition depends on", 0, 0, 3);
    config("#define VERSION 2\n#define BASE 1\n#define HAVE_X 1\n");
    step("a macro is defined", 1, 1, 3);
    config("#define VERSION 2\n#define BASE 3\n#define HAVE_X 1\n");
    step("a macro of which another is made", 1, 1, 3);
    config("#define VERSION 3\n#define BASE 4\n#define HAVE_X 2\n");
    step("values only, of which one may matter", 1, 0, 3);
    config("#define VERSION 3\n#define BASE 4\n#undef HAVE_X\n");
    step("a macro is undefined", 1, 1, 3);
    write(
        "common.h",
        "#include \"config.h\"\n#define LEVEL (BASE + 1)\n#if LEVEL > 8\n#include \"deep.h\"\n#endif\n",
    );
    step("a condition is another", 1, 1, 1);
}

/// So many units in doubt for one reason, and none of them reads anything else: few are asked about.
#[test]
fn questions_in_vain_end() {
    let Some((home, work)) = home_with_gcc() else { return };
    let write = |path: &str, text: &str| std::fs::write(work.join(path), text).expect("a file");
    write("config.h", "#define LEVEL 1\n");
    write("common.h", "#if LEVEL > 5\n#include \"deep.h\"\n#endif\n");
    write("deep.h", "\n");
    for unit in 0..20 {
        let text = format!("#include \"config.h\"\n#include \"common.h\"\nint u{unit} = LEVEL;\n");
        write(&format!("u{unit}.c"), &text);
    }
    let speculate = |words: &[&str]| {
        let mut command = forerunner_tests::at_home("speculate", &work, home.path());
        run(command.args(words).env("FORERUNNER_JOBS", "4"))
    };
    let script = (0..20).map(build_line).collect::<Vec<_>>().join("; ");
    speculate(&["record", "--element=e", "--sources=.", "--", "sh", "-ec", &script]);
    speculate(&["generate", "--element=e"]);
    write("config.h", "#define LEVEL 2\n");
    let prime = ["prime", "--json", "--element=e", "--sources=."];
    let counts: Value = serde_json::from_str(&speculate(&prime)).expect("JSON");
    assert_eq!(counts["macros"], json!({ "asked": 8, "useful": 0 }), "{counts}");
    let total = &counts["total"];
    assert_eq!((&total["executed"], &total["tries"]), (&json!(20), &json!(8)), "{counts}");
    // The dry run finds the same actions.
    let dry = speculate(&["instantiate", "--element=e", "--sources=."]);
    let counts: Value = serde_json::from_str(&speculate(&prime)).expect("JSON");
    assert_eq!(counts["total"]["cached"], 20, "{counts}\n{dry}");
    assert_eq!(dry.matches("\"changed\"").count(), 20, "{dry}");
}
