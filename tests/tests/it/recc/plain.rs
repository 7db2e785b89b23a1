//! File for file as the compiler itself, when its result is made and when it is taken.

use std::process::Command;

use forerunner_tests::{on_path, peer};

use super::{Place, assert_same, files};

/// Command lines without the compiler.
const COMPILES: &[&str] = &[
    "-c a.c",
    "-c a.c -o out/a.o",
    "-c -O2 -g a.c -o a.o",
    "-g3 -O0 -c a.c -o a.o",
    "-c a.c b.c",
    "-Iinc -c i.c",
    "-I inc -isystem sys -c i.c -o i.o",
    "-Iinc -c i.c -MD",
    "-Iinc -c i.c -MMD -MF deps/i.d -o i.o",
    "-Iinc -c i.c -MD -MP -MT target -MF i.d -o i.o",
    "-Iinc -Wp,-MMD,i.d -c i.c -o i.o",
    "-include inc/i.h -c a.c -o a.o",
    "-Wall -Wextra -c w.c -o w.o",
    "-DNAME=\"two words\" -UOTHER -c a.c -o a.o",
    "-fPIC -fvisibility=hidden -c a.c -o a.o",
    "--coverage -frandom-seed=1 -c a.c -o a.o",
    "-gsplit-dwarf -g -c a.c -o out/a.o",
    "-x c++ -c a.c -o a.o",
    "-c s.S -o s.o",
    "-c @words.rsp -o a.o",
    "-march=native -c a.c -o a.o",
    "-flto -frandom-seed=1 -c a.c -o a.o",
    "-ffunction-sections -fdata-sections -c a.c -o a.o",
    "-c ./out/../a.c -o ./a.o",
    "-std=gnu11 -pedantic -c a.c -o a.o",
    "-D_FORTIFY_SOURCE=2 -O2 -c a.c -o a.o",
    "-c a.c -o exec.o -fno-ident",
    "-Iinc -c i.c a.c -MMD",
    "-Iinc -MMD -MP -c i.c -o out/i.o",
    "-O2 -fprofile-use -c a.c -o a.o",
    "-E a.c",
    "-c broken.c -o broken.o",
    "-c gone.c",
    "-fsyntax-only -c a.c",
    "--version",
    "-S a.c -o a.s",
    "-M -Iinc i.c",
];

const LINKS: &[&str] = &[
    "main.o b.o -o prog",
    "main.o b.o",
    "main.o -L. -lb -o prog",
    "main.o libb.a -lm -o prog",
    "-shared b.o -o libx.so",
    "-shared -Wl,-soname,libx.so.1 -Wl,--version-script=v.map b.o -o libx.so.1",
    "-static main.o b.o -o prog",
    "main.o thin.a -o prog",
    "main.c b.c -o prog",
    "main.o b.c -o prog",
    "-Wl,--gc-sections -s main.o b.o -o prog",
    "-Wl,-rpath,$ORIGIN main.o -L. -ls -o prog",
    "-r main.o b.o -o both.o",
    "-Wl,-Map,x.map main.o b.o -o prog",
    "@link.rsp -o prog",
    "-fuse-ld=gold main.o b.o -o prog",
    "-fuse-ld=lld main.o b.o -o prog",
    "-fuse-ld=mold main.o b.o -o prog",
    "-flto main.o b.o -o prog",
    "--sysroot=/ main.o b.o -o prog",
    "main.o -o prog",
    "main.o -lnothing -o prog",
];

fn fill(place: &Place) {
    for (name, text) in [
        ("a.c", "int a(int x) { return x + 1; }\nconst char *where = __FILE__;\n"),
        ("b.c", "int g(void) { return 2; }\n"),
        ("i.c", "#include <i.h>\n#include <stddef.h>\nint i(void) { return I; }\n"),
        ("inc/i.h", "#include \"deep/d.h\"\n#define I D\n"),
        ("inc/deep/d.h", "#define D 4\n"),
        ("sys/s.h", "#define S 5\n"),
        ("w.c", "static int unused(int x) { int y; return x; }\n"),
        ("broken.c", "int broken( { }\n"),
        ("s.S", "#define VALUE 3\n.data\n.long VALUE\n"),
        ("main.c", "int g(void);\nint main(void) { return g(); }\n"),
        ("words.rsp", "-O1 'a.c' -DX=\"1 2\"\n"),
        ("link.rsp", "main.o\nb.o\n"),
        ("v.map", "{ global: g; local: *; };\n"),
        ("out/.keep", ""),
        ("deps/.keep", ""),
    ] {
        place.write(name, text);
    }
}

/// Runs a line plainly, then cold, then warm, each from the same state.
fn compare(place: &Place, compiler: &str, line: &str, prepare: &str) {
    let words = shlex(line);
    let reset = || {
        std::fs::remove_dir_all(place.work()).expect("removed");
        fill(place);
        let mut shell = Command::new("/bin/sh");
        place.dress(&mut shell);
        assert!(shell.args(["-ec", prepare]).status().expect("sh").success(), "{prepare}");
    };
    reset();
    let mut plain = Command::new(compiler);
    place.dress(&mut plain);
    let plain = plain.args(&words).output().expect("the compiler");
    let expected = files(&place.work());
    for round in ["cold", "warm"] {
        reset();
        let ours = place.ours("recc").arg(compiler).args(&words).output().expect("recc");
        let name = format!("{compiler} {line} ({round})");
        assert_same(&name, &ours, &plain);
        assert!(files(&place.work()) == expected, "{name}: other files");
    }
}

/// Words between blanks; quotes hold blanks together and stay away.
fn shlex(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().expect("a word").push(other),
        }
    }
    words
}

fn both(compiler: &str) {
    for tool in [compiler, "ld.gold", "ld.lld", "ld.mold"] {
        if peer(tool, on_path(tool)).is_none() {
            return;
        }
    }
    let place = Place::new();
    for line in COMPILES {
        compare(&place, compiler, line, ":");
    }
    let (hits, _) = place.figures();
    // Those that are not cacheable, fail or write nothing are run each time.
    assert!(hits >= 24, "{hits} hits");
    let objects = format!(
        "{compiler} -c main.c b.c && ar rcs libb.a b.o && ar rcsT thin.a b.o && \
         {compiler} -shared -fPIC b.c -o libs.so"
    );
    for line in LINKS {
        compare(&place, compiler, line, &objects);
    }
    let (with_links, _) = place.figures();
    assert!(with_links >= hits + 13, "{with_links} hits");
}

#[test]
fn the_same_files_as_gcc() {
    both("gcc");
}

#[test]
fn the_same_files_as_clang() {
    both("clang");
}

#[test]
fn settings_are_helped_and_checked() {
    let place = Place::new();
    let help = place.ours("recc").arg("--help").output().expect("recc");
    assert!(String::from_utf8_lossy(&help.stdout).contains("RECC_CACHE_ONLY (flag;"));
    let mut wrong = place.ours("recc");
    wrong.env("RECC_LOG_LEVLE", "debug").args(["true"]);
    let output = wrong.output().expect("recc");
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("did you mean `RECC_LOG_LEVEL`"), "{text}");
    let output = place.ours("recc").arg("--frobnicate").output().expect("recc");
    assert_eq!(output.status.code(), Some(100));
    let output = place.ours("recc").output().expect("recc");
    assert_eq!(output.status.code(), Some(100));
    for (program, status) in [("no-such-program", 1), ("./no-such-program", 127)] {
        let output = place.ours("recc").arg(program).output().expect("recc");
        assert_eq!(output.status.code(), Some(status), "{output:?}");
    }
}

/// Changes that a manifest must see, and one that it must not mind.
#[test]
fn a_manifest_sees_every_change() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let place = Place::new();
    fill(&place);
    std::fs::create_dir(place.work().join("first")).expect("a directory");
    let line = ["-Ifirst", "-Iinc", "-c", "i.c", "-o", "i.o"];
    let step = |what: &str| {
        let ours = place.ours("recc").arg("gcc").args(line).output().expect("recc");
        let object = std::fs::read(place.work().join("i.o")).ok();
        let _ = std::fs::remove_file(place.work().join("i.o"));
        let mut plain = Command::new("gcc");
        place.dress(&mut plain);
        let plain = plain.args(line).output().expect("gcc");
        assert_same(what, &ours, &plain);
        assert!(object == std::fs::read(place.work().join("i.o")).ok(), "{what}");
    };
    step("at first");
    step("again");
    place.write("inc/deep/d.h", "#define D 5\n");
    step("a header of a header");
    place.write("first/i.h", "#define I 6\n");
    step("a header that comes first");
    std::fs::remove_file(place.work().join("first/i.h")).expect("removed");
    step("it is gone");
    place.write("first/deep/d.h", "#define D 7\n");
    step("not beside the header that asks");
    std::fs::remove_file(place.work().join("inc/deep/d.h")).expect("removed");
    step("now it is found there");
    place.write("first/stddef.h", "#define I2 1\ntypedef int broken;\n");
    step("instead of the compiler's own");
    let (hits, misses) = place.figures();
    place.write("i.c", "#include <i.h>\n#include <stddef.h>\nint i(void) { return I; }\n");
    step("the same content again");
    assert_eq!(place.figures(), (hits + 1, misses));
}
