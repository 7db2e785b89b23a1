//! Precompiled headers: made, stored, taken, and used only where the compiler would use them.

use std::process::{Command, Output};

use forerunner_tests::{on_path, peer};

use super::Place;

fn run(command: &mut Command, words: &str) -> Output {
    command.args(words.split(' ')).output().expect("a program")
}

/// gcc's are not the same twice, so those of a hit are not compared but used: for the same object.
#[test]
fn a_stored_header_of_gcc_is_one_that_gcc_takes() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    for manifest in ["1", ""] {
        let place = Place::new();
        let work = place.work();
        let ours = |words: &str| {
            let output = run(place.ours("recc").env("RECC_MANIFEST", manifest).arg("gcc"), words);
            assert!(output.status.success() && output.stderr.is_empty(), "{words}: {output:?}");
        };
        let object = |name: &str| std::fs::read(work.join(name)).expect("an object");
        let plain = || {
            let mut gcc = Command::new("gcc");
            place.dress(&mut gcc);
            assert!(run(&mut gcc, "-Iinc -O1 -c a.c -o plain.o").status.success());
            object("plain.o")
        };
        let use_it = || {
            let _ = std::fs::remove_file(work.join("a.o"));
            // It says if it does not take what is there.
            ours("-Winvalid-pch -Iinc -O1 -c a.c -o a.o");
            object("a.o")
        };
        place.write("inc/deep.h", "#define VALUE 1\n");
        place
            .write("inc/all.h", "#include \"deep.h\"\nstatic int f(int x) { return x + VALUE; }\n");
        place.write("a.c", "#include <all.h>\nint a(int x) { return f(x); }\n");
        let make = "-O1 -c inc/all.h -o inc/all.h.gch";
        for value in 1..3 {
            place.write("inc/deep.h", &format!("#define VALUE {value}\n"));
            let _ = std::fs::remove_file(work.join("inc/all.h.gch"));
            // The source alone, then with the header made by us, then with the one that was stored.
            let expected = plain();
            ours(make);
            assert_eq!(use_it(), expected);
            let made = object("inc/all.h.gch");
            std::fs::remove_file(work.join("inc/all.h.gch")).expect("removed");
            assert_eq!(use_it(), expected);
            place.write("inc/deep.h", &format!("#define VALUE {value}\n"));
            let (hits, _) = place.figures();
            ours(make);
            assert_eq!(place.figures().0, hits + 1);
            assert!(object("inc/all.h.gch") == made, "another than the stored one");
            assert_eq!(use_it(), expected);
        }
        // One that is stale is used all the same by gcc, and so by us.
        place.write("inc/deep.h", "#define VALUE 9\n");
        let stale = plain();
        assert_eq!(use_it(), stale);
        std::fs::remove_file(work.join("inc/all.h.gch")).expect("removed");
        let fresh = plain();
        assert!(fresh != stale && use_it() == fresh);
    }
}

/// clang's have the times of the headers in them, and another time makes them useless.
#[test]
fn headers_of_clang_are_stored_only_without_times() {
    if peer("clang", on_path("clang")).is_none() {
        return;
    }
    let place = Place::new();
    place.write("all.h", "static int f(void) { return 1; }\n");
    place.write("a.c", "int a(void) { return f(); }\n");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(1000);
    let age = |seconds: u64| {
        let file = std::fs::File::options().write(true).open(place.work().join("all.h"));
        let time = old + std::time::Duration::from_secs(seconds);
        file.and_then(|file| file.set_modified(time)).expect("a time");
    };
    for (option, stored) in [("-DTIMES", false), ("-Xclang -fno-pch-timestamp", true)] {
        for round in 0..3 {
            age(10 * round);
            let words = format!("{option} -x c-header all.h -o all.h.pch");
            let (hits, _) = place.figures();
            let made = run(place.ours("recc").arg("clang"), &words);
            assert!(made.status.success(), "{made:?}");
            assert_eq!(place.figures().0 > hits, stored && round > 0, "{option}");
            let used =
                run(place.ours("recc").arg("clang"), &format!("{option} -include all.h -c a.c"));
            assert!(used.status.success(), "{option}: {used:?}");
        }
        std::fs::remove_file(place.work().join("all.h.pch")).expect("removed");
    }
}

/// A precompiled header that appears beside a header takes its place, also for `-include`.
#[test]
fn one_that_appears_is_noticed() {
    if peer("clang", on_path("clang")).is_none() {
        return;
    }
    let place = Place::new();
    place.write("all.h", "static int f(void) { return 1; }\n");
    place.write("a.c", "int a(void) { return f(); }\n");
    let words = "-include all.h -c a.c";
    for _ in 0..2 {
        assert!(run(place.ours("recc").arg("clang"), words).status.success());
    }
    assert_eq!(place.figures().0, 1);
    place.write("all.h.pch", "this is none\n");
    let mut clang = Command::new("clang");
    place.dress(&mut clang);
    let plain = run(&mut clang, words);
    assert!(!plain.status.success());
    let ours = run(place.ours("recc").arg("clang"), words);
    assert_eq!((ours.status, ours.stderr), (plain.status, plain.stderr));
}
