//! Commands that reach recc in other ways than by its name, or that come from elsewhere.

use std::process::{Command, Output};

use forerunner_tests::{bin, bin_dir, on_path, peer};

use super::Place;

const HIT: &str = "Action Cache hit for [";

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_link_with_a_compilers_name_is_that_compiler() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let place = Place::new();
    place.write("a.c", "int a(void) { return 1; }\n");
    let links = place.folder.path().join("links");
    std::fs::create_dir(&links).expect("a folder");
    std::os::unix::fs::symlink(bin("recc"), links.join("gcc")).expect("a link");
    let run = |words: &[&str]| {
        let mut command = Command::new(links.join("gcc"));
        place.dress(&mut command);
        command.env("PATH", format!("{}:/usr/bin:/bin", links.display()));
        command.env("RECC_LOG_LEVEL", "info").args(words).output().expect("a compiler")
    };
    assert!(!said(&run(&["-c", "a.c"])).contains(HIT));
    assert!(said(&run(&["-c", "a.c"])).contains(HIT));
    // It is the same command as with the name before it.
    let mut named = place.ours("recc");
    named.env("PATH", format!("{}:/usr/bin:/bin", links.display())).env("RECC_LOG_LEVEL", "info");
    assert!(said(&named.args(["gcc", "-c", "a.c"]).output().expect("recc")).contains(HIT));
    // What is not cached is the compiler's too, and does not come back here.
    let version = run(&["--version"]);
    assert!(String::from_utf8_lossy(&version.stdout).contains("Free Software Foundation"));
    let output = run(&["-E", "-P", "a.c"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "int a(void) { return 1; }");
    let mut alone = Command::new(links.join("gcc"));
    place.dress(&mut alone);
    let output = alone.env("PATH", &links).args(["-c", "a.c"]).output().expect("a compiler");
    assert_eq!(output.status.code(), Some(127), "{output:?}");
}

#[test]
fn a_recorded_build_shares_its_actions_with_a_plain_one() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let place = Place::new();
    place.write("a.c", "int a(void) { return 1; }\n");
    let mut record = place.ours("speculate");
    record.env("PATH", format!("{}:/usr/bin:/bin", bin_dir().display()));
    said(&record.args(["record", "--", "recc", "gcc", "-c", "a.c"]).output().expect("speculate"));
    let mut plain = place.ours("recc");
    plain.env("PATH", format!("{}:/usr/bin:/bin", bin_dir().display()));
    plain.env("RECC_LOG_LEVEL", "info").args(["gcc", "-c", "a.c"]);
    // Only what the endpoint has counts, not what is remembered beside it.
    plain.env("RECC_MANIFEST", "");
    let text = said(&plain.output().expect("recc"));
    assert!(text.contains(HIT), "{text}");
}

#[test]
fn profile_data_of_clang_is_an_input() {
    let (Some(clang), Some(merge)) =
        (peer("clang", on_path("clang")), peer("llvm-profdata", on_path("llvm-profdata")))
    else {
        return;
    };
    let place = Place::new();
    place.write("a.c", "int main(int n, char **v) { return n > 3 ? v[0][0] : 0; }\n");
    let shell = |script: &str| {
        let mut command = Command::new("/bin/sh");
        place.dress(&mut command);
        assert!(command.args(["-ec", script]).status().expect("sh").success(), "{script}");
    };
    let profile = |arguments: &str| {
        shell(&format!(
            "{0} -fprofile-instr-generate a.c -o prog && LLVM_PROFILE_FILE=raw ./prog {arguments} || true; \
             {1} merge -o data raw",
            clang.display(),
            merge.display()
        ));
    };
    profile("");
    let line = ["clang", "-O2", "-fprofile-use=data", "-c", "a.c", "-o", "a.o"];
    let run = || {
        let output = place.ours("recc").env("RECC_LOG_LEVEL", "info").args(line).output();
        said(&output.expect("recc"))
    };
    assert!(!run().contains(HIT));
    let text = run();
    assert!(text.contains(HIT), "{text}");
    profile("1 2 3 4");
    assert!(!run().contains(HIT), "other data");
    shell(&format!("{} -O2 -fprofile-use=data -c a.c -o plain.o", clang.display()));
    let read = |name: &str| std::fs::read(place.work().join(name)).expect("an object");
    assert_eq!(read("a.o"), read("plain.o"));
}
