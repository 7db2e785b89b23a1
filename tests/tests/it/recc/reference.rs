//! Digest for digest as recc 1.4.30.

use std::path::Path;
use std::process::Command;

use forerunner_tests::{bin, checkout, peer, temp};

use super::Chroot;
use crate::dice::Dice;

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

/// Commands and settings put together at random, and the setting of build systems with a sandbox
/// (`BOTH`), whose digests depend on the machine. Both programs run side by side.
#[test]
fn actions_are_those_of_the_reference_beside_us() {
    const BOTH: &str = "RECC_NO_PATH_REWRITE=1 RECC_DEPS_GLOBAL_PATHS=1";
    // The short form is the committed list.
    let Some(chroot) = Chroot::new() else { return };
    let (folder, inside) = (&chroot.folder, format!("{}/", chroot.inside));
    unpack(folder.path());
    // Objects that a linker would take, libraries that need others, and links to all of it.
    let make = "cp -a . ../q && mkdir tool libd && ln -s /usr/bin/gcc tool/gcc && ln -s libd lk && \
                ln -s /usr/include outl && gcc -c b.c -o b.o && gcc -c m.cc -o m.o && \
                gcc -c main.c -o main.o && rm -f libb.a && ar rcs libb.a b.o && \
                gcc -shared -fPIC -o libs.so b.c && gcc -shared -fPIC -o libd/libinner.so b.c && \
                ln -s libinner.so libd/libinner2.so && \
                gcc -shared -fPIC -Wl,-soname,libinner2.so -o libd/libi3.so b.c && \
                gcc -shared -fPIC -Wl,--no-as-needed -o libouter2.so ex.c -Llibd -li3 && \
                cp libb.a b.o m.o main.o libs.so ../q";
    std::fs::write(folder.path().join("w/p/main.c"), "int g(void); int main(void){return g();}\n")
        .expect("a source");
    let run = |program: &str, set: &str, line: &str| {
        let script = format!("cd {inside}w/p && {program} {}", line.replace("ROOT/", &inside));
        let mut command = chroot.shell(&script);
        settings(&mut command, set, &inside);
        command.output().expect("chroot")
    };
    let made = run("", "", make);
    assert!(made.status.success(), "{made:?}");
    let read = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(checkout().join("testdata/recc").join(name));
        text.expect(name).lines().map(str::to_owned).collect()
    };
    let (commands, choices) = (read("lines.txt"), read("settings.txt"));
    let mut cases: Vec<(String, String)> =
        commands.iter().map(|line| (BOTH.to_owned(), line.clone())).collect();
    let committed = lines().into_iter().filter(|(_, set, _)| set.is_empty());
    cases.extend(committed.map(|(_, _, line)| (BOTH.to_owned(), line)));
    let mut dice = Dice::new(1);
    while cases.len() < 600 {
        let mut chosen: Vec<&str> = Vec::new();
        for _ in 0..=dice.below(3) {
            for pair in choices[dice.below(choices.len())].split(' ') {
                let name = pair.split('=').next();
                if !chosen.iter().any(|other| other.split('=').next() == name) {
                    chosen.push(pair);
                }
            }
        }
        cases.push((chosen.join(" "), commands[dice.below(commands.len())].clone()));
    }
    let (mut compared, mut wrong) = (0, Vec::new());
    for (set, line) in cases {
        let theirs = run("recc", &set, &line);
        // What it does not cache may be cached all the same.
        let Some(theirs) = logged(&theirs) else { continue };
        let output = run(&format!("{inside}ours"), &set, &line);
        if logged(&output) != Some(theirs) {
            wrong.push(format!("{set}\t{line}\n{}", String::from_utf8_lossy(&output.stderr)));
        }
        compared += 1;
    }
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 300, "{compared}");
}
