//! `-MMD` and several sources: the first run tells what was read, and the user's dependency file is
//! the compiler's byte for byte.

use std::process::Command;

use forerunner_tests::{bin, on_path, peer};

use super::{Place, assert_same, files};
use crate::projects::spy;

struct Case {
    name: &'static str,
    words: &'static str,
    /// Runs of the compiler proper at first, if that is the point.
    runs: Option<usize>,
}

const fn case(name: &'static str, words: &'static str, runs: usize) -> Case {
    Case { name, words, runs: Some(runs) }
}

const CASES: &[Case] = &[
    case("plain", "gcc -Iinc -MMD -c a.c -o o/a.o", 1),
    case("no output named", "gcc -Iinc -MMD -c a.c", 1),
    case("phony rules", "gcc -Iinc -MMD -MP -c a.c -o o/a.o", 1),
    case("a file named", "gcc -Iinc -MMD -MF o/named.d -MT one -MQ t$o -c a.c -o o/a.o", 1),
    case(
        "long names",
        "gcc -Iinc -Iinc/a-rather-long/name-of/a-directory -MMD -MP -DLONG -c a.c",
        1,
    ),
    case("C++", "g++ -Iinc -MMD -c c.cc -o o/c.o", 1),
    case("a system directory of the user", "gcc -Iinc -isystem sys -MMD -DSYS -c a.c", 1),
    case("after the system", "gcc -Iinc -idirafter sys -MMD -DSYS -c a.c", 1),
    case("included first", "gcc -Iinc -include inc/b.h -include stdint.h -MMD -c a.c", 1),
    // Where it does not follow, the compiler is asked again.
    case("beside and in the system", "gcc -Iinc -isystem sys -I. -MMD -DSYS -DNEAR -c a.c", 2),
    case("the system names the user's", "gcc -Iinc -isystem sys -MMD -DSYS -DBACK -MP -c a.c", 2),
    case("it says so itself", "gcc -Iinc -MMD -DSELF -c a.c", 2),
    Case { name: "by the preprocessor", words: "gcc -Iinc -Wp,-MMD,o/wp.d -c a.c", runs: None },
    Case { name: "clang", words: "clang -Iinc -MMD -c a.c -o o/a.o", runs: None },
    Case { name: "an error", words: "gcc -Iinc -MMD -DWRONG -c a.c", runs: None },
    case("several sources", "gcc -Iinc -c a.c b.c d.c", 3),
    Case { name: "several rules", words: "gcc -Iinc -MMD -c a.c b.c d.c", runs: None },
];

fn world() -> Place {
    let place = Place::new();
    std::fs::create_dir(place.work().join("o")).expect("a folder");
    for (name, text) in [
        (
            "a.c",
            "#include <stdio.h>\n#include <b.h>\n#include \"n.h\"\n\
             #ifdef SYS\n#include <s.h>\n#ifdef NEAR\n#include \"near.h\"\n#endif\n#endif\n\
             #ifdef LONG\n#include <so-that-lines-are-broken.h>\n#include \"inc/sp ace.h\"\n#endif\n\
             #ifdef SELF\n#include \"self.h\"\n#endif\n\
             #ifdef WRONG\nint x = nowhere;\n#endif\nint a(void) { return B; }\n",
        ),
        ("b.c", "#include <b.h>\n#include <string.h>\nint b;\n"),
        ("d.c", "#include <stdlib.h>\nint d;\n"),
        ("c.cc", "#include <string>\n#include <b.h>\nstd::string c;\n"),
        ("n.h", "#include <stddef.h>\n"),
        ("inc/b.h", "#define B 1\n"),
        ("inc/sp ace.h", ""),
        ("inc/a-rather-long/name-of/a-directory/so-that-lines-are-broken.h", ""),
        ("sys/s.h", "#include \"t.h\"\n#ifdef BACK\n#include <back.h>\n#endif\n"),
        ("sys/t.h", "int t;\n"),
        ("near.h", "#include \"sys/t.h\"\n"),
        ("inc/back.h", ""),
        ("self.h", "#pragma GCC system_header\n#include <inner.h>\n"),
        ("inc/inner.h", "int inner;\n"),
    ] {
        place.write(name, text);
    }
    place
}

#[test]
fn one_run_writes_the_users_rule_and_ours() {
    if !spy::available() || peer("clang", on_path("clang")).is_none() {
        return;
    }
    for Case { name, words, runs } in CASES {
        let (ours, plain) = (world(), world());
        let words: Vec<&str> = words.split(' ').collect();
        let log = ours.folder.path().join("log");
        let recc = bin("recc");
        let mut watched = spy::watch(&log, &recc.to_string_lossy(), &words);
        ours.dress(&mut watched);
        let first = watched.output().expect("strace");
        let mut alone = Command::new(words[0]);
        plain.dress(&mut alone);
        let alone = alone.args(&words[1..]).output().expect("a compiler");
        assert_same(name, &first, &alone);
        let seen = |place: &Place| -> Vec<_> {
            let root = place.work();
            let all = files(&root).into_iter();
            all.map(|(path, content, _)| {
                let name = path.strip_prefix(&root).expect("below").to_owned();
                (name, String::from_utf8_lossy(&content).into_owned())
            })
            .filter(|(name, _)| name.extension().is_some_and(|e| e == "d" || e == "o"))
            .collect()
        };
        let expected = seen(&plain);
        assert_eq!(seen(&ours), expected, "{name}");
        let text = String::from_utf8_lossy(&std::fs::read(&log).expect("a log")).into_owned();
        // Where headers are searched is asked once per project, with an empty source.
        let proper = |line: &str| line.contains("/cc1\"") || line.contains("/cc1plus\"");
        let compiles = |line: &&str| proper(line) && !line.contains("/dev/null");
        let started = text.lines().filter(compiles).filter(|line| line.contains("= 0"));
        if let Some(runs) = runs {
            assert_eq!(started.count(), *runs, "{name}:\n{text}");
        }
        if !first.status.success() {
            continue;
        }
        // And once more, without the compiler.
        for (path, _) in &expected {
            std::fs::remove_file(ours.work().join(path)).expect("removed");
        }
        let again = ours.ours("recc").args(&words).output().expect("recc");
        assert_same(name, &again, &alone);
        assert_eq!(seen(&ours), expected, "{name}, again");
        assert_eq!(ours.figures(), (1, 1), "{name}");
    }
}
