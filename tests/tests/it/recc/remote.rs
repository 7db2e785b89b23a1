//! Misses that are executed elsewhere, beside the reference where it is there.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use forerunner_tests::{bin, newest};

use super::Place;
use crate::runner::Lab;

/// Ours, and the reference if it is there.
pub(super) fn both() -> Vec<(&'static str, Command)> {
    let mut found = vec![("ours", Command::new(bin("recc")))];
    found.extend(newest("recc").map(|command| ("the reference", command)));
    found
}

#[test]
fn a_server_that_is_gone_fails_the_command_unless_told_otherwise() {
    let gone = "unix:/nonexistent/socket";
    for (fallback, expected) in [("", 102), ("1", 0)] {
        for (name, mut recc) in both() {
            let place = Place::new();
            place.write("a.c", "int a;\n");
            place.dress(&mut recc);
            let output = recc
                .env("RECC_SERVER", gone)
                .env("RECC_FALLBACK_TO_LOCAL", fallback)
                .env("RECC_REMOTE_PLATFORM_OSFamily", "linux")
                .args(["gcc", "-c", "a.c", "-o", "a.o"])
                .output()
                .expect("recc");
            let shown = format!("{name}, fallback `{fallback}`: {output:?}");
            assert_eq!(output.status.code(), Some(expected), "{shown}");
            assert_eq!(place.work().join("a.o").exists(), expected == 0, "{shown}");
        }
    }
}

#[test]
fn the_slot_of_make_is_free_while_work_is_done_elsewhere() {
    let Some(lab) = Lab::casd_with(&[format!("--buildbox-run={}", bin("buildbox-run").display())])
    else {
        return;
    };
    let casd = lab.casd.as_ref().expect("casd");
    for (name, mut recc) in both() {
        let place = Place::new();
        place.write("a", name);
        let fifo = place.folder.path().join("tokens");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
        let mut tokens =
            std::fs::File::options().read(true).write(true).open(&fifo).expect("the fifo");
        place.dress(&mut recc);
        let child = recc
            .env("MAKEFLAGS", format!(" -j2 --jobserver-auth=fifo:{}", fifo.display()))
            .env("RECC_USE_JOBSERVER", "1")
            .env("RECC_SERVER", casd.url())
            .env("RECC_FORCE_REMOTE", "1")
            .env("RECC_DEPS_OVERRIDE", "a")
            .env("RECC_OUTPUT_FILES_OVERRIDE", "b")
            .env("RECC_REMOTE_PLATFORM_OSFamily", "linux")
            // No such program is there: what becomes of the command does not matter.
            .args(["/bin/false", "a"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("recc");
        let mut token = [0];
        tokens.read_exact(&mut token).expect("a token");
        assert_eq!(&token, b"+", "{name}");
        // It does not end before it has its slot again.
        tokens.write_all(&token).expect("room");
        let output = child.wait_with_output().expect("an end");
        assert!(!output.status.success(), "{name}: {output:?}");
        nix::fcntl::fcntl(&tokens, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))
            .expect("a flag");
        assert!(tokens.read(&mut token).is_err(), "{name}: the slot was taken again");
    }
}
