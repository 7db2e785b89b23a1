//! Digest for digest as recc 1.4.30.

use std::path::Path;
use std::process::Command;

use forerunner_tests::{bin, checkout, long, peer, peers, temp};

/// The digest that a run logged.
fn logged(output: &std::process::Output) -> Option<String> {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let rest = text.split("Action Digest: ").nth(1)?;
    rest.split_whitespace().next().map(str::to_owned)
}

fn settings(command: &mut Command, settings: &str, root: &str) {
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("RECC_SERVER", "http://localhost:1")
        .env("RECC_LINK", "1")
        .env("RECC_NO_EXECUTE", "1")
        .env("RECC_LOG_LEVEL", "debug");
    for pair in settings.split_whitespace() {
        let (name, value) = pair.split_once('=').expect("a setting");
        command.env(name, value.replace("ROOT/", root));
    }
}

fn unpack(root: &Path) {
    let to = root.join("w/p");
    std::fs::create_dir_all(root.join("w")).expect("a directory");
    let from = checkout().join("testdata/recc/project");
    let status = Command::new("cp").arg("-a").arg(from).arg(&to).status().expect("cp");
    assert!(status.success());
    std::fs::create_dir(to.join("pre")).expect("a directory");
}

fn lines() -> Vec<(String, String, String)> {
    let list = checkout().join("testdata/recc/actions.tsv");
    let text = std::fs::read_to_string(list).expect("the list");
    text.lines()
        .map(|line| {
            let mut fields = line.splitn(3, '\t').map(str::to_owned);
            let mut next = || fields.next().expect("three fields");
            (next(), next(), next())
        })
        .collect()
}

#[test]
fn actions_are_those_of_the_committed_list() {
    let folder = temp();
    let root = folder.path().canonicalize().expect("a path");
    unpack(&root);
    let shown = format!("{}/", root.display());
    let has = |path: &str| Path::new(path).is_file().then_some(());
    let gcc = peer("/usr/bin/gcc", has("/usr/bin/gcc")).is_some();
    let clang = peer("/usr/bin/clang", has("/usr/bin/clang")).is_some();
    let (mut compared, mut wrong) = (0, Vec::new());
    for (digest, set, line) in lines() {
        if !(if line.starts_with("clang") { clang } else { gcc }) {
            continue;
        }
        let mut command = Command::new("/bin/sh");
        let script = format!("exec {} {}", bin("recc").display(), line.replace("ROOT/", &shown));
        command.arg("-c").arg(script).current_dir(root.join("w/p"));
        settings(&mut command, &set, &shown);
        let output = command.output().expect("recc");
        if logged(&output).as_ref() != Some(&digest) {
            wrong.push(format!("{set} {line}\n{}", String::from_utf8_lossy(&output.stderr)));
        }
        compared += 1;
    }
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared >= 150 || !gcc || !clang, "{compared}");
}

/// The setting of build systems with a sandbox: the input root mirrors the file system, so that
/// digests depend on the machine. Both run side by side where the reference is.
#[test]
fn actions_are_those_of_the_reference_beside_us() {
    if !long() {
        // A Debian unstable is made for it. The short form is the committed list.
        return;
    }
    let sid = peers().join("sid");
    let reference = sid.join("usr/bin/recc").is_file().then_some(());
    if peer("recc 1.4.30 in a chroot", reference).is_none() {
        return;
    }
    let folder = tempfile::tempdir_in(sid.join("tmp")).expect("a directory in the chroot");
    unpack(folder.path());
    std::fs::copy(bin("recc"), folder.path().join("ours")).expect("our recc");
    let inside = format!("/tmp/{}/", folder.path().file_name().expect("a name").to_string_lossy());
    // Objects that a linker would take, and what it searches for by itself.
    let make = "gcc -c b.c -o b.o && gcc -c m.cc -o m.o && gcc -c main.c -o main.o && \
                rm -f libb.a && ar rcs libb.a b.o && gcc -shared -o libs.so b.o";
    std::fs::write(folder.path().join("w/p/main.c"), "int g(void); int main(void){return g();}\n")
        .expect("a source");
    let run = |program: &str, set: &str, line: &str| {
        let mut command = Command::new("/usr/sbin/chroot");
        let script = format!("cd {inside}w/p && {program} {}", line.replace("ROOT/", &inside));
        command.arg(&sid).args(["/bin/sh", "-c", &script]);
        settings(&mut command, set, &inside);
        command.output().expect("chroot")
    };
    assert!(run("", "", make).status.success());
    let links = [
        "gcc main.o b.o -o prog",
        "gcc main.o -L. -lb -lm -o prog",
        "gcc main.o -L. -ls -o prog",
        "gcc -static main.o b.o -o prog",
        "gcc -shared -Wl,-soname,libx.so.1 b.o -o libx.so.1",
        "g++ m.o main.o b.o -o prog",
        "gcc -pthread main.o b.o -o prog -ldl",
        "gcc -flto main.o libb.a -o prog",
    ];
    let compiles: Vec<String> = lines()
        .into_iter()
        .filter(|(_, set, line)| {
            set.is_empty() && line.contains(" -c ") && !line.starts_with("clang")
        })
        .map(|(_, _, line)| line)
        .collect();
    let mirrored =
        "RECC_NO_PATH_REWRITE=1 RECC_DEPS_GLOBAL_PATHS=1 RECC_REMOTE_PLATFORM_OSFamily=linux";
    let mut compared = 0;
    for line in links.iter().map(|line| (*line).to_owned()).chain(compiles) {
        let theirs = run("recc", mirrored, &line);
        let Some(theirs) = logged(&theirs) else { continue };
        let output = run(&format!("{inside}ours"), mirrored, &line);
        assert_eq!(
            logged(&output),
            Some(theirs),
            "{line}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        compared += 1;
    }
    assert!(compared > 60, "{compared}");
}
