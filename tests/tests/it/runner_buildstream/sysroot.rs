//! A root that is just enough for `sh`, `make` and `gcc`.

use std::path::Path;
use std::process::Command;

use forerunner_tests::run;

use super::{mirror, mirror_program, wrapper};

const APPLETS: &str =
    "sh ls cat id mkdir ln cp rm chmod echo seq dd sed test printf sleep setsid pwd";

const LINKED: &[&str] = &[
    "Scrt1.o",
    "crt1.o",
    "crti.o",
    "crtn.o",
    "crtbegin.o",
    "crtbeginS.o",
    "crtend.o",
    "crtendS.o",
    "libgcc.a",
    "libgcc_s.so",
    "libgcc_s.so.1",
    "libc.so",
    "libc.so.6",
    "libc_nonshared.a",
    "ld-linux-x86-64.so.2",
    "liblto_plugin.so",
];

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
    for program in ["collect2", "ld"] {
        let found = ask(program);
        let path = if found.starts_with('/') { found } else { format!("/usr/bin/{found}") };
        mirror_program(root, Path::new(&path), path.trim_start_matches('/'));
    }
    // What every program is linked with.
    for name in LINKED {
        let answer = run(Command::new(gcc).arg(format!("-print-file-name={name}")));
        let Ok(path) = Path::new(answer.trim()).canonicalize() else { continue };
        // By the directory that gcc finds it in, without the links on the way to the file.
        let folder = Path::new(answer.trim()).parent().and_then(|it| it.canonicalize().ok());
        let Some(folder) = folder else { continue };
        let to = root.join(folder.strip_prefix("/").expect("an absolute path"));
        std::fs::create_dir_all(&to).expect("a folder");
        std::fs::copy(path, to.join(name)).expect("a copy");
    }
    // Read before every source.
    let header = Path::new("/usr/include/stdc-predef.h");
    if header.exists() {
        mirror(root, header);
    }
    std::fs::create_dir_all(root.join("usr/include")).expect("a folder");
    wrapper(&root.join("usr/bin/recc"));
}
