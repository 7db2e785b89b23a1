//! A tool that is ended by a signal: so is the wrapper.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use forerunner_tests::{on_path, peer};

use super::Place;

/// Passes all on to `real`, but ends by the signal when it is to make something.
fn crashing(place: &Place, name: &str, real: &Path, signal: i32) -> String {
    let text = format!(
        "#!/bin/sh\ncase \" $* \" in *' -o out '*|*' rcD '*) ulimit -c 0; kill -{signal} $$;; esac\n\
         exec {} \"$@\"\n",
        real.display()
    );
    place.script(name, &text)
}

#[test]
fn a_wrapper_ends_by_the_signal_of_its_tool() {
    let Some((gcc, ar)) = peer("gcc and ar", on_path("gcc").zip(on_path("ar"))) else { return };
    // Of these, Rust's library handles SIGSEGV itself.
    for signal in [6, 9, 11, 15] {
        let place = Place::new();
        place.write("a.c", "int a;\n");
        let gcc = crashing(&place, "bin/gcc", &gcc, signal);
        let ar = crashing(&place, "bin/ar", &ar, signal);
        let lines: [(&str, &[&str]); 2] =
            [("recc", &[&gcc, "-c", "a.c", "-o", "out"]), ("rear", &[&ar, "rcD", "out", "a.c"])];
        for (program, words) in lines {
            let output = place.ours(program).args(words).output().expect("a program");
            assert_eq!(output.status.signal(), Some(signal), "{program}: {output:?}");
            assert!(!place.work().join("out").exists(), "{program}");
            // It was run by us, not in our place.
            assert_ne!(place.figures(), (0, 0), "{program}");
        }
    }
}
