//! Edited files: what a compiler reads then is known without asking it, and only then.

use std::process::{Command, Output};
use std::time::UNIX_EPOCH;

use forerunner_tests::{on_path, peer};

use super::{Place, assert_same};
use crate::projects::spy;

/// One command, run by us and by the compiler alone.
struct Line<'a> {
    place: &'a Place,
    words: &'a [&'a str],
}

impl Line<'_> {
    fn ours(&self) -> Output {
        self.place.ours("recc").arg("gcc").args(self.words).output().expect("recc")
    }

    fn object(&self) -> Option<Vec<u8>> {
        let path = self.place.work().join("a.o");
        let bytes = std::fs::read(&path).ok();
        let _ = std::fs::remove_file(path);
        bytes
    }

    /// The same object, messages and status as the compiler's.
    fn step(&self, what: &str) {
        let ours = self.ours();
        let object = self.object();
        let mut plain = Command::new("gcc");
        self.place.dress(&mut plain);
        let plain = plain.args(self.words).output().expect("gcc");
        assert_same(what, &ours, &plain);
        assert!(object == self.object(), "{what}: another object");
    }

    /// How often the compiler proper ran.
    fn runs(&self) -> usize {
        let recc = forerunner_tests::bin("recc");
        let log = self.place.work().join("log");
        let mut words = vec!["gcc"];
        words.extend(self.words);
        let mut watched = spy::watch(&log, &recc.to_string_lossy(), &words);
        self.place.dress(&mut watched);
        let output = watched.output().expect("strace");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&std::fs::read(&log).expect("a log")).into_owned();
        text.lines().filter(|line| line.contains("/cc1\"") && line.contains("= 0")).count()
    }
}

/// The assembler comes when the compiler has read everything, and what it does to a header is done
/// before the command ends.
#[test]
fn what_is_asked_for_and_appears_meanwhile_is_noticed() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let place = Place::new();
    place.write("a.c", "#if __has_include(\"x.h\")\nint there;\n#else\nint gone;\n#endif\n");
    place.script("tools/as", "#!/bin/sh\n[ -e on ] && echo > x.h\nexec as \"$@\"\n");
    place.write("on", "");
    let line = Line { place: &place, words: &["-Btools", "-c", "a.c", "-o", "a.o"] };
    assert!(line.ours().status.success());
    assert!(place.work().join("x.h").exists(), "made by the assembler");
    std::fs::remove_file(place.work().join("on")).expect("the switch");
    line.step("it is there");
    line.step("it is there still");
    assert_eq!(line.runs(), 0, "cached at last");
}

#[test]
fn what_is_only_asked_for_decides() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let place = Place::new();
    let line = Line { place: &place, words: &["-c", "a.c", "-o", "a.o"] };
    place.write("a.c", "#if __has_include(\"x.h\")\nint there;\n#else\nint gone;\n#endif\n");
    line.step("it is not there");
    place.write("x.h", "");
    line.step("it is there");
    std::fs::remove_file(place.work().join("x.h")).expect("removed");
    line.step("it is gone");
    assert_eq!(place.figures(), (1, 2));
}

#[test]
fn an_edit_costs_one_run_of_the_compiler() {
    if !spy::available() {
        return;
    }
    for deps in ["-DNO_DEPS", "-MD", "-MMD"] {
        let place = Place::new();
        let line = Line { place: &place, words: &["-Iinc", deps, "-c", "a.c", "-o", "a.o"] };
        let header = |body: &str| place.write("inc/a.h", &format!("#define A 1\n{body}\n"));
        header("int f(void);");
        place.write("a.c", "#include <stdio.h>\n#include <a.h>\nint f(void) { return A; }\n");
        line.step("at first");
        place.write("a.c", "#include <stdio.h>\n#include <a.h>\n\nint f(void) { return 2; }\n");
        assert_eq!(line.runs(), 1, "{deps}: a function");
        line.step("an edited function");
        header("int g(void);");
        assert_eq!(line.runs(), 1, "{deps}: a declaration");
        line.step("a declaration");
        header("int f(void);");
        assert_eq!(line.runs(), 0, "{deps}: a stored combination");
        let (hits, misses) = place.figures();
        line.step("the same again");
        assert_eq!(place.figures(), (hits + 1, misses), "{deps}");
        place.write("inc/a.h", "#define A 5\nint f(void);\n");
        assert_eq!(line.runs(), 1, "{deps}: a macro");
        line.step("another macro");
        place.write("inc/b.h", "int b;\n");
        place.write("inc/a.h", "#include \"b.h\"\n#define A 5\nint f(void);\n");
        line.step("another header");
        place.write("inc/b.h", "int c;\n");
        line.step("its content");
    }
}

/// Where a macro decides what is included, an edit elsewhere may decide it.
#[test]
fn an_edit_may_include_something_else() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    for deps in ["-DNO_DEPS", "-MD", "-MMD"] {
        let place = Place::new();
        let words = ["-I1", "-I2", deps, "-c", "a.c", "-o", "a.o"];
        let line = Line { place: &place, words: &words };
        place.write("1/only.h", "int one;\n");
        place.write("2/x.h", "int of_two;\n");
        place.write("m.h", "#define DEEP\n");
        let text = "#include \"m.h\"\n#include \"2/x.h\"\n#ifdef DEEP\n#include <x.h>\n#endif\n";
        place.write("a.c", text);
        line.step("the only one");
        place.write("m.h", "");
        place.write("1/x.h", "int of_one;\n");
        line.step("not included");
        // As at first, but for what now stands before it.
        place.write("m.h", "#define DEEP\n");
        line.step("the first one");

        let lines = |more: &str| {
            let text = format!("#define L __LINE__\n{more}#if L > 2\n#include <only.h>\n#endif\n");
            place.write("a.c", &text);
        };
        lines("");
        line.step("too early");
        lines("\n");
        line.step("late enough");
        place.write("1/only.h", "int only;\n");
        line.step("its content");

        place.write("a.c", "/*\n#include <only.h>\n*/ int a;\n");
        line.step("a comment");
        place.write("a.c", "/**/\n#include <only.h>\n/**/ int a;\n");
        line.step("no comment");
        place.write("1/only.h", "int other;\n");
        line.step("its content again");

        let counted = |first: &str| {
            place.write(
                "a.c",
                &format!("int a{first};\n#if __COUNTER__\n#include <only.h>\n#endif\n"),
            );
        };
        counted("");
        line.step("not counted");
        counted(" = __COUNTER__");
        line.step("counted");
        place.write("1/only.h", "int last;\n");
        line.step("its last content");
    }
}

/// Directives that are what they were may lead elsewhere: a counter stands where it did not.
#[test]
fn a_counter_decides_what_an_edit_includes() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let place = Place::new();
    let line = Line { place: &place, words: &["-c", "a.c", "-o", "a.o"] };
    let source = |limit: &str, body: &str| {
        let text =
            format!("{body}\n#define LIMIT {limit}\n#if LIMIT > 6\n#include \"x.h\"\n#endif\n");
        place.write("a.c", &text);
    };
    place.write("x.h", "int x = 1;\n");
    source("9", "int a = __COUNTER__;");
    line.step("x.h is read");
    source("(__COUNTER__ + 5)", "int a = __COUNTER__;");
    line.step("other directives: it is not");
    source("(__COUNTER__ + 5)", "int a = __COUNTER__ + __COUNTER__;");
    line.step("the same directives: it is again");
    place.write("x.h", "int x = 2;\n");
    line.step("another x.h");
    line.step("a hit");
    assert_eq!(place.figures(), (1, 4));
}

/// What is read once only is read where its content is another's no more.
#[test]
fn a_twin_that_is_edited_is_read() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let place = Place::new();
    let line = Line { place: &place, words: &["-c", "a.c", "-o", "a.o"] };
    let twin = |name: &str, body: &str| place.write(name, &format!("#pragma once\n{body}\n"));
    place.write("a.c", "#include \"one.h\"\n#include \"two.h\"\nint a = sizeof(int);\n");
    twin("one.h", "typedef int one;");
    twin("two.h", "#include \"x.h\"\ntypedef int two;");
    place.write("x.h", "int x = 1;\n");
    line.step("both");
    for body in ["typedef int one;", "#include \"x.h\"\ntypedef int two;", "typedef int three;"] {
        // Times decide as well whether gcc takes them for one.
        twin("two.h", body);
        for name in ["one.h", "two.h"] {
            let file = std::fs::File::options().write(true).open(place.work().join(name));
            file.and_then(|file| file.set_modified(UNIX_EPOCH)).expect("a time");
        }
        line.step(body);
        place.write("x.h", &format!("int x = {};\n", body.len()));
        line.step("another x.h");
    }
}

/// Also where nothing was found in it, and nothing was looked for.
#[test]
fn a_directory_that_cannot_be_searched_is_noticed() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    for order in [["-Iinc0", "-Iinc1"], ["-Iinc1", "-Iinc0"]] {
        let place = Place::new();
        let words = [&order[..], &["-c", "a.c", "-o", "a.o"]].concat();
        let line = Line { place: &place, words: &words };
        let inc0 = place.work().join("inc0");
        place.write("a.c", "#include <h.h>\n");
        place.write("inc1/h.h", "int h;\n");
        place.write("inc0/other.h", "");
        line.step("two directories");
        std::fs::remove_dir_all(&inc0).expect("removed");
        line.step("one is gone");
        assert_eq!(place.figures(), (1, 1));
        std::os::unix::fs::symlink("inc0", &inc0).expect("a link");
        line.step("a link to itself");
        std::fs::remove_file(&inc0).expect("removed");
        line.step("gone again");
        assert_eq!(place.figures().0, 2);
    }
}

/// gcc searches a directory once, whatever it is called, until a link leads elsewhere.
#[test]
fn a_directory_that_is_another_by_a_link_is_watched() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let place = Place::new();
    let words = ["-Ilink", "-isystem", "inc", "-c", "a.c", "-o", "a.o"];
    let line = Line { place: &place, words: &words };
    let link = place.work().join("link");
    place.write("a.c", "#include <h.h>\n");
    place.write("inc/h.h", "int h;\n");
    place.write("other/h.h", "int other;\n");
    std::os::unix::fs::symlink("inc", &link).expect("a link");
    line.step("the same directory");
    line.step("again");
    assert_eq!(place.figures(), (1, 1));
    std::fs::remove_file(&link).expect("removed");
    std::os::unix::fs::symlink("other", &link).expect("a link");
    line.step("another");
}

/// A directory is no header, and in a file there is none, until one takes the place of the other.
#[test]
fn files_and_directories_take_each_others_place() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    for (wanted, in_the_way, is_directory) in
        [("h.h", "inc0/h.h", true), ("d/h.h", "inc0/d", false)]
    {
        let place = Place::new();
        let words = ["-Iinc0", "-Iinc1", "-c", "a.c", "-o", "a.o"];
        let line = Line { place: &place, words: &words };
        let at = place.work().join(in_the_way);
        place.write("a.c", &format!("#include <{wanted}>\n"));
        place.write(&format!("inc1/{wanted}"), "int in1;\n");
        place.write("inc0/other.h", "");
        match is_directory {
            true => std::fs::create_dir(&at).expect("made"),
            false => std::fs::write(&at, "").expect("written"),
        }
        line.step("found in inc1");
        line.step("again");
        assert_eq!(place.figures(), (1, 1), "{wanted}");
        let _ = std::fs::remove_dir(&at);
        let _ = std::fs::remove_file(&at);
        place.write(&format!("inc0/{wanted}"), "int in0;\n");
        line.step("found in inc0");
    }
}
