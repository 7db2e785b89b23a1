//! A root that is just enough for `sh`, `make` and `gcc -c`.

use std::path::Path;
use std::process::Command;

use forerunner_tests::run;

use super::{mirror, mirror_program, wrapper};

const APPLETS: &str =
    "sh ls cat id mkdir ln cp rm chmod echo seq dd sed test printf sleep setsid pwd";

pub(super) fn make(root: &Path, busybox: &Path, make: &Path, gcc: &Path) {
    std::fs::create_dir_all(root.join("bin")).expect("a folder");
    std::fs::create_dir(root.join("tmp")).expect("a folder");
    std::fs::copy(busybox, root.join("bin/busybox")).expect("a copy");
    for applet in APPLETS.split_whitespace() {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("a link");
    }
    mirror_program(root, make, "usr/bin/make");
    mirror_program(root, gcc, "usr/bin/gcc");
    let ask = |what: &str| {
        let answer = run(Command::new(gcc).arg(format!("-print-prog-name={what}")));
        answer.trim().to_owned()
    };
    let compiler = ask("cc1");
    mirror_program(root, Path::new(&compiler), compiler.trim_start_matches('/'));
    let assembler = match ask("as") {
        path if path.starts_with('/') => path,
        _ => "/usr/bin/as".to_owned(),
    };
    mirror_program(root, Path::new(&assembler), "usr/bin/as");
    // Read before every source.
    let header = Path::new("/usr/include/stdc-predef.h");
    if header.exists() {
        mirror(root, header);
    }
    std::fs::create_dir_all(root.join("usr/include")).expect("a folder");
    wrapper(&root.join("usr/bin/recc"));
}
