//! One run of the compiler tells what it reads, and is the only one; also if it fails.

use std::process::{Command, Output};

use forerunner_tests::{bin, on_path, peer};

use super::{Place, assert_same, files};
use crate::projects::spy;

/// A command line in a place, for us and for the compiler alone.
struct Line<'a> {
    place: &'a Place,
    compiler: &'a str,
    environment: &'a [(&'a str, &'a str)],
    words: Vec<&'a str>,
}

impl Line<'_> {
    fn plain(&self) -> Output {
        let mut command = Command::new(self.compiler);
        self.place.dress(&mut command);
        command.envs(self.environment.iter().copied()).args(&self.words);
        command.output().expect("the compiler")
    }

    /// Runs it through recc; answers how often the compiler was started for the source `a.c`.
    fn ours(&self) -> (usize, Output) {
        let log = self.place.folder.path().join("log");
        let mut words = vec![self.compiler];
        words.extend(&self.words);
        let mut watched = spy::watch(&log, &bin("recc").to_string_lossy(), &words);
        self.place.dress(&mut watched);
        watched.envs(self.environment.iter().copied());
        let output = watched.output().expect("strace");
        let text = String::from_utf8_lossy(&std::fs::read(&log).expect("a log")).into_owned();
        let started = |line: &&str| {
            let program = line.split_once("execve(\"").and_then(|(_, rest)| rest.split_once('"'));
            program.is_some_and(|(path, rest)| {
                path.rsplit('/').next() == Some(self.compiler)
                    && rest.contains("\"a.c\"")
                    && !rest.contains(") = -1 ")
                    && ["\"-###\"", "\"-cc1\""].iter().all(|word| !rest.contains(word))
            })
        };
        (text.lines().filter(started).count(), output)
    }

    /// Everything that it leaves, as the compiler alone leaves it.
    fn step(&self, what: &str, starts: usize) {
        let name =
            format!("{} {} {:?}: {what}", self.compiler, self.words.join(" "), self.environment);
        let before = files(&self.place.work());
        let plain = self.plain();
        let expected = files(&self.place.work());
        for (path, _, _) in &expected {
            if !before.iter().any(|(old, _, _)| old == path) {
                std::fs::remove_file(path).expect("removed");
            }
        }
        let (started, ours) = self.ours();
        assert_same(&name, &ours, &plain);
        let found = files(&self.place.work());
        for (ours, plain) in found.iter().zip(&expected) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert_eq!(ours.0, plain.0, "{name}");
            assert!(ours == plain, "{name}: {}\n{}", text(&ours.1), text(&plain.1));
        }
        assert_eq!(found.len(), expected.len(), "{name}");
        assert_eq!(started, starts, "{name}: starts of the compiler");
        for (path, _, _) in &found {
            if !before.iter().any(|(old, _, _)| old == path) {
                std::fs::remove_file(path).expect("removed");
            }
        }
    }
}

/// Options, and the environment.
const FORMS: &[(&str, &[(&str, &str)])] = &[
    ("-Iinc", &[]),
    ("-Iinc -MD", &[]),
    ("-Iinc -MMD", &[]),
    ("-Iinc -MMD -MP -MF deps/a.d -o out.o", &[]),
    ("-Iinc -MMD -MT target -MQ other$target -o out.o", &[]),
    ("-Iinc -Wp,-MD,deps/.a.o.d -o out.o", &[]),
    ("-Iinc -Wp,-MMD,deps/.a.o.d -o out.o", &[]),
    ("-Iinc -Wp,-MMD,deps/.a.o.d -Wp,-MP,-DUNUSED -o out.o", &[]),
    ("-nostdinc -include inc/first.h -Iinc -DPLAIN -Wp,-MMD,a.d", &[]),
    ("-MMD", &[("CPATH", "inc")]),
    ("-Iother -MMD", &[("CPATH", "inc:deps")]),
    ("-MMD", &[("C_INCLUDE_PATH", "inc")]),
    ("-isystem inc -Iother -MMD", &[]),
];

fn fill(place: &Place) {
    for (name, text) in [
        ("a.c", "#include <first.h>\n#ifndef PLAIN\n#include <stdio.h>\n#endif\nint a = FIRST;\n"),
        ("other.c", "#include <first.h>\nint other = FIRST;\n"),
        ("b.c", "#include \"inc/second.h\"\nint b = SECOND;\n"),
        ("main.c", "int main(void) { return 0; }\n"),
        (
            "inc/first.h",
            "#include \"a_header_with_a_rather_long_name_so_that_lines_are_broken.h\"\n#include \"second.h\"\n",
        ),
        ("inc/second.h", "#define SECOND 2\n"),
        ("inc/a_header_with_a_rather_long_name_so_that_lines_are_broken.h", "#define FIRST 1\n"),
        ("other/.keep", ""),
        ("deps/.keep", ""),
    ] {
        place.write(name, text);
    }
}

fn one_run_tells(compiler: &str) {
    if peer(compiler, on_path(compiler)).is_none() || !spy::available() {
        return;
    }
    for (form, environment) in FORMS {
        let place = Place::new();
        fill(&place);
        let options: Vec<&str> = form.split(' ').collect();
        let line = |source| Line {
            place: &place,
            compiler,
            environment,
            words: options.iter().copied().chain(["-c", source]).collect(),
        };
        // Where headers are searched is asked once for all.
        line("other.c").step("another source", 0);
        line("a.c").step("at first", 1);
        line("a.c").step("again", 0);
        place.write("inc/second.h", "#define SECOND 3\n");
        line("a.c").step("an edited macro", 1);
        assert_eq!(place.figures(), (1, 3), "{compiler} {form}");
    }
}

#[test]
fn one_run_of_gcc_tells_what_it_reads() {
    one_run_tells("gcc");
}

#[test]
fn one_run_of_clang_tells_what_it_reads() {
    one_run_tells("clang");
}

#[test]
fn one_run_tells_of_several_sources_and_of_links() {
    for compiler in ["gcc", "clang"] {
        if peer(compiler, on_path(compiler)).is_none() || !spy::available() {
            return;
        }
        for form in ["-MD -Iinc -c a.c b.c", "-Iinc -g -o prog a.c main.o", "-Iinc a.c main.o -lm"]
        {
            let place = Place::new();
            fill(&place);
            let line = |words: &'static str| Line {
                place: &place,
                compiler,
                environment: &[],
                words: words.split(' ').collect(),
            };
            assert!(line("-c main.c").plain().status.success());
            line("-Iinc -c other.c").step("another source", 0);
            line(form).step("at first", 1);
            line(form).step("again", 0);
            place.write("inc/second.h", "#define SECOND 3\n");
            place.write("b.c", "#include \"inc/second.h\"\nint b = SECOND + 1;\n");
            line(form).step("an edited source", 1);
        }
    }
}

/// What `configure` does: one file, again and again with another test.
#[test]
fn a_compile_that_fails_costs_one_run() {
    for compiler in ["gcc", "clang"] {
        if peer(compiler, on_path(compiler)).is_none() || !spy::available() {
            return;
        }
        for form in ["-c a.c", "-o prog a.c"] {
            let place = Place::new();
            let line = Line {
                place: &place,
                compiler,
                environment: &[],
                words: form.split(' ').collect(),
            };
            let main = "int main(void) { return 0; }\n";
            let tests = [
                "#include <stdio.h>\n",
                "#include <stdlib.h>\n",
                "#include <string.h>\n",
                "#include <limits.h>\n",
            ];
            let test = |text: &str| place.write("a.c", &format!("{text}{main}"));
            let broken =
                |text: &str| place.write("a.c", &format!("{text}int broken( {{ }}\n{main}"));
            broken(tests[0]);
            line.step("the first fails", 1);
            broken(tests[0]);
            line.step("and again", 1);
            for text in tests {
                test(text);
                line.step("a test", 1);
            }
            test("#include <nowhere/nothing.h>\n");
            line.step("a header that is missing", 1);
            broken("#include <ctype.h>\n");
            line.step("a test that fails", 1);
            test("#include <ctype.h>\n");
            line.step("a test like no other", 1);
            let (hits, misses) = place.figures();
            for text in tests {
                test(text);
                line.step("the same again", 0);
            }
            assert_eq!(place.figures(), (hits + tests.len() as u64, misses), "{form}");
        }
    }
}

/// What cannot be foreseen from the text has no manifest: its inputs are asked for each time.
#[test]
fn without_a_manifest_a_hit_costs_one_question() {
    if peer("gcc", on_path("gcc")).is_none() || !spy::available() {
        return;
    }
    let place = Place::new();
    let line = Line { place: &place, compiler: "gcc", environment: &[], words: vec!["-c", "a.c"] };
    let text = "#define X <stdio.h>\n#if __has_include(X)\nint a;\n#endif\n";
    place.write("a.c", text);
    line.step("at first", 1);
    line.step("again", 1);
    assert_eq!(place.figures(), (1, 1));
    place.write("a.c", &format!("{text}int b;\n"));
    line.step("edited", 1);
    place.write("a.c", text);
    line.step("as at first", 1);
    assert_eq!(place.figures(), (2, 2));
}

/// No word of a command line is taken for the name of our list.
#[test]
fn words_of_the_command_stay_as_they_are() {
    if peer("gcc", on_path("gcc")).is_none() || !spy::available() {
        return;
    }
    let place = Place::new();
    place.write("a.c", "struct s { int a, b; } s = INIT;\nconst char text[] = TEXT;\n");
    let words = vec!["-DINIT={}", "-DTEXT=\"{}\"", "-c", "a.c"];
    let line = Line { place: &place, compiler: "gcc", environment: &[], words };
    line.step("at first", 1);
    line.step("again", 0);
}
