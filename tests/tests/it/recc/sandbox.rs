//! In the sandbox of a build element: nothing lasts there but what the endpoint keeps.

use forerunner_tests::{bin, on_path, peer};

use crate::projects::spy;
use crate::runner::{Case, Lab, sh};

/// A compiler of a few lines that tells when it is run.
const COMPILER: &str = r#"#!/bin/sh
echo "$@" >> /w/log
case "$*" in
    *-MF*)
        cat a.c inc/a.h > a.o
        for file; do :; done
        echo "a.o: a.c inc/a.h" > "$file" ;;
    *-M*) echo "a.o: a.c inc/a.h" ;;
    *-E*)
        echo '#include "..." search starts here:' >&2
        echo '#include <...> search starts here:' >&2
        echo 'End of search list.' >&2 ;;
    *) cat a.c inc/a.h > a.o ;;
esac
"#;

fn compile(recc: &[u8], header: &str) -> Case {
    sh("recc gcc -c a.c -o a.o && cat a.o")
        .env(&[
            ("PATH", "/bin"),
            ("RECC_SERVER", "unix:/run/reapi.sock"),
            ("RECC_CACHE_ONLY", "1"),
            ("RECC_CACHE_UPLOAD_LOCAL_BUILD", "1"),
            ("RECC_DEPS_GLOBAL_PATHS", "1"),
            ("RECC_NO_PATH_REWRITE", "1"),
            ("RECC_REMOTE_PLATFORM_chrootRootDigest", "abc/1"),
        ])
        .property("remoteApisSocketPath", "run/reapi.sock")
        .option("--nested-ac-enable-update")
        .option("--staging-mode=fuse")
        .out(&["log", "a.o"])
        .program("bin/recc", recc)
        .program("bin/gcc", COMPILER.as_bytes())
        .file("w/a.c", "#include \"inc/a.h\"\nint a(void) { return A; }\n")
        .file("w/inc/a.h", header)
        .folder("tmp")
}

#[test]
fn the_first_command_in_a_fresh_sandbox_runs_no_compiler_and_reads_no_input() {
    let Some(lab) = Lab::casd() else { return };
    if !spy::available() || peer("fusermount3", on_path("fusermount3")).is_none() {
        return;
    }
    let recc = std::fs::read(bin("recc")).expect("recc");
    let first = lab.ours(&compile(&recc, "#define A 1\n"));
    assert_eq!(first.code(), 0, "{first:#?}");
    assert!(first.stdout().ends_with("#define A 1\n"));
    assert_eq!(first.files(), ["log", "a.o"]);

    let (command, files) = lab.command(&bin("buildbox-run"), &compile(&recc, "#define A 1\n"));
    let log = lab.folder.path().join("calls");
    let arguments: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    let words: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    let mut watched = spy::watch_calls(
        "openat,open,getxattr,lgetxattr",
        &log,
        &bin("buildbox-run").to_string_lossy(),
        &words,
    );
    let output = watched.output().expect("a runner");
    let second = lab.read(&files);
    assert_eq!(second.code(), 0, "{second:#?} {output:?}");
    assert_eq!(second.stdout(), first.stdout());
    assert_eq!(second.files(), ["a.o"], "the compiler was run");
    let calls = String::from_utf8_lossy(&std::fs::read(&log).expect("a log")).into_owned();
    let about: Vec<&str> = calls.lines().filter(|line| line.contains("inc/a.h\"")).collect();
    assert!(about.iter().any(|line| line.contains("user.checksum.sha256")), "{about:#?}");
    let read: Vec<_> = about.iter().filter(|line| line.contains("open")).collect();
    assert!(read.is_empty(), "{read:#?}");

    // Staged files have the same stamp in every sandbox, whatever is in them.
    let third = lab.ours(&compile(&recc, "#define A 2\n"));
    assert!(third.stdout().ends_with("#define A 2\n"), "{third:#?}");
}
