//! `buildbox-run --speculate`: what the last build asked for is there before this one asks.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use forerunner_merkle::Digest;
use forerunner_proto::Kept;
use forerunner_reapi::record;
use forerunner_tests::bin;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::runner::{Case, Lab, Outcome, sh};
use crate::runner_kill::{processes, wait_until};
use crate::runner_socket::{subactions, waiting, with_runner, with_socket};

/// Waits within a build for what must happen sooner or later.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(900), wait).await.is_ok(), "{what}");
}

/// A number for `sleep` that nobody else's processes have.
fn mark() -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("2{:07}{count:02}", std::process::id() % 10_000_000)
}

/// The two steps of a build whose header says `header`.
fn steps(header: &str) -> [Case; 2] {
    let compile = sh("cat a.h a.c > a.o").file("w/a.h", header).file("w/a.c", "source");
    let object = format!("{header}source");
    let link = sh("cat a.o a.o > lib").file("w/a.o", &object);
    [compile.out(&["a.o"]), link.out(&["lib"])]
}

/// A build over the sources of [`steps`].
fn build(header: &str) -> Case {
    waiting("true").file("w/a.h", header).file("w/a.c", "source")
}

/// Lets a first build ask for `cases`, whose results are made beforehand.
fn recorded(lab: &Lab, build: &Case, cases: &[Case]) -> Vec<Digest> {
    let mut actions = Vec::new();
    for case in cases {
        let result = Kept::new(&lab.ours(case).result.expect("a result"));
        let (action, _) = lab.upload(case);
        let update = lab.endpoint.update_action_result(&action, &result);
        lab.runtime.block_on(update).expect("an update");
        actions.push(action);
    }
    let outcome = with_socket(lab, build, async |socket| {
        for action in &actions {
            socket.action_result(action, &[]).await.expect("an answer").expect("a hit");
        }
    });
    assert_eq!(subactions(&outcome), actions, "{outcome:#?}");
    actions
}

fn is_fine(outcome: &Outcome) {
    assert_eq!((outcome.exit_status, outcome.code()), (0, 0), "{outcome:#?}");
}

/// Nothing is left that has this in its command line.
fn is_gone(mark: &str) {
    wait_until("its processes go", || processes(mark).is_empty());
}

#[test]
fn the_next_build_finds_its_actions_primed() {
    let labs = [Lab::embedded(), Lab::casd()];
    for lab in labs.into_iter().flatten() {
        recorded(&lab, &build("one "), &steps("one "));
        let [_, link] = steps("two ").map(|case| lab.upload(&case).0);
        let case = build("two ").option("--speculate").option("--log-level=debug");
        let outcome = with_socket(&lab, &case, async |socket| {
            // No clock decides: the build waits until it is there, and asks then.
            until("it is primed", async || {
                lab.endpoint.action_result(&link, &[]).await.expect("an answer").is_some()
            })
            .await;
            let result = socket.action_result(&link, &[]).await.expect("an answer");
            let result = result.expect("a hit").message().expect("a result");
            let digest = Digest::required(result.output_files[0].digest.as_ref());
            let content = socket.get(&digest.expect("a digest")).await.expect("the output");
            assert_eq!(content, "two sourcetwo source");
        });
        is_fine(&outcome);
        // What was executed and not asked for is no part of the build.
        assert_eq!(subactions(&outcome), [link]);
        let record = lab.runtime.block_on(record::read(&lab.endpoint, "w"));
        let record = record.expect("an answer").expect("a record");
        assert_eq!((record.subactions, record.partial), (vec![link], false));
        is_gone(&lab.folder.path().display().to_string());
    }
}

#[test]
fn without_the_option_or_a_record_nothing_is_started() {
    let Some(lab) = Lab::embedded() else { return };
    let said = |case: &Case| {
        let outcome = with_socket(&lab, &case.clone().option("--log-level=debug"), async |_| ());
        is_fine(&outcome);
        outcome.log
    };
    assert!(said(&build("one ").option("--speculate")).contains("nothing is known"));
    recorded(&lab, &build("one "), &steps("one "));
    assert!(!said(&build("two ")).contains("priming"));
    assert!(!said(&build("two ").option("--speculate=0")).contains("priming"));
    // It says so once the program runs, which stands back: the build goes on until something is primed.
    let [compile, _] = steps("two ").map(|case| lab.upload(&case).0);
    let case = build("two ").option("--speculate").option("--log-level=debug");
    let outcome = with_socket(&lab, &case, async |_| {
        until("it is primed", async || {
            lab.endpoint.action_result(&compile, &[]).await.expect("an answer").is_some()
        })
        .await;
    });
    is_fine(&outcome);
    assert!(outcome.log.contains("priming"), "{}", outcome.log);
    // One that cannot ask gains nothing.
    let mute = build("two ").option("--speculate").option("--log-level=debug");
    let mute = Case { properties: Vec::new(), ..mute };
    let mute = lab.ours(&Case { arguments: sh("true").arguments, ..mute });
    is_fine(&mute);
    assert!(!mute.log.contains("priming") && !mute.log.contains("nothing is known"));
}

/// A program in place of `speculate`.
fn script(lab: &Lab, text: &str) -> PathBuf {
    let path = lab.folder.path().join("speculate.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a file");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("permissions");
    path
}

#[test]
fn a_speculation_that_fails_or_hangs_is_nothing_to_the_build() {
    let Some(lab) = Lab::embedded() else { return };
    let actions = recorded(&lab, &build("one "), &steps("one "));
    let unknown: Vec<Digest> =
        (0..300).map(|number| lab.upload(&sh(&format!("echo {number}"))).0).collect();
    let number = mark();
    let log = lab.folder.path().join("log");
    let written = || std::fs::read_to_string(&log).unwrap_or_default();
    let hanging = format!(
        "trap '' TERM HUP PIPE; (trap '' TERM; exec sleep {number}) & echo x > {}; sleep {number}",
        log.display()
    );
    for text in ["", "exit 3", "kill -9 $$", "exec 0<&-; exit 0", &hanging] {
        let program = match text {
            "" => PathBuf::from("/nowhere/speculate"),
            text => script(&lab, text),
        };
        let case = build("two ").option(&format!("--speculate={}", program.display()));
        let outcome = with_socket(&lab, &case, async |socket| {
            if text == hanging {
                until("it hangs", async || !written().is_empty()).await;
            }
            // More than a pipe holds, which nobody reads.
            for _ in 0..20 {
                for action in &unknown {
                    assert!(socket.action_result(action, &[]).await.expect("an answer").is_none());
                }
                if text != hanging {
                    break;
                }
            }
            socket.action_result(&actions[0], &[]).await.expect("an answer").expect("a hit");
        });
        is_fine(&outcome);
        assert_eq!(subactions(&outcome), [actions[0]], "{text}");
        assert_eq!(outcome.log.contains("cannot start `/nowhere/speculate`"), text.is_empty());
        is_gone(&number);
    }
}

/// One step that never ends once its header says `two`.
fn endless(number: &str, header: &str) -> Case {
    let script = format!("if grep -q two a.h; then sleep {number}; fi; cp a.h a.o");
    sh(&script).file("w/a.h", header).out(&["a.o"])
}

fn sleeping(number: &str) -> Vec<String> {
    processes(&format!("sleep\0{number}"))
}

#[test]
fn an_action_that_the_build_asks_for_is_left_to_it() {
    let Some(lab) = Lab::embedded() else { return };
    let number = mark();
    recorded(&lab, &build("one "), &[endless(&number, "one ")]);
    let (action, _) = lab.upload(&endless(&number, "two "));
    let outcome = with_socket(&lab, &build("two ").option("--speculate"), async |socket| {
        until("it executes", async || !sleeping(&number).is_empty()).await;
        assert!(socket.action_result(&action, &[]).await.expect("an answer").is_none());
        until("it gives way", async || sleeping(&number).is_empty()).await;
    });
    is_fine(&outcome);
    assert!(subactions(&outcome).is_empty());
}

#[test]
fn it_ends_with_the_build_and_with_a_runner_that_is_killed() {
    let labs = [Lab::embedded(), Lab::casd()];
    for lab in labs.into_iter().flatten() {
        let number = mark();
        recorded(&lab, &build("one "), &[endless(&number, "one ")]);
        for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGKILL)] {
            let case = build("two ").option("--speculate");
            let outcome = with_runner(&lab, &case, async |_, runner| {
                until("it executes", async || !sleeping(&number).is_empty()).await;
                if let Some(signal) = signal {
                    kill(Pid::from_raw(runner.cast_signed()), signal).expect("a signal");
                }
            });
            let expected = signal.map_or(0, |signal| match signal {
                Signal::SIGTERM => 143,
                signal => -(signal as i32),
            });
            assert_eq!(outcome.exit_status, expected, "{outcome:#?}");
            is_gone(&number);
            is_gone(&lab.folder.path().display().to_string());
        }
    }
}

#[test]
fn it_stands_back() {
    let Some(lab) = Lab::embedded() else { return };
    recorded(&lab, &build("one "), &steps("one "));
    let number = mark();
    let report = lab.folder.path().join("report");
    let program = script(
        &lab,
        &format!(
            "{{ cut -d' ' -f5,19,41 /proc/self/stat; cat /proc/self/oom_score_adj; echo $$; \
             echo \"$*\"; env; }} > {0}.new; mv {0}.new {0}; exec sleep {number}",
            report.display()
        ),
    );
    let case = build("two ").option(&format!("--speculate={}", program.display()));
    let outcome = with_socket(&lab, &case, async |_| {
        until("it reports", async || report.exists()).await;
    });
    is_fine(&outcome);
    let text = std::fs::read_to_string(&report).expect("a report");
    let lines: Vec<&str> = text.lines().collect();
    let [stat, out_of_memory, leader, arguments, environment @ ..] = &lines[..] else {
        panic!("{text}");
    };
    // Its own process group, niceness 19, SCHED_IDLE (5).
    assert_eq!(*stat, format!("{leader} 19 5"));
    assert_eq!(*out_of_memory, "1000");
    assert!(arguments.starts_with("prime --quiet --follow --element=w --action="), "{arguments}");
    let ours = format!("FORERUNNER_RUNNER={}", bin("buildbox-run").display());
    assert!(environment.contains(&ours.as_str()), "{text}");
    assert!(environment.contains(&"FORERUNNER_RUNNER_ARGS="), "{text}");
    is_gone(&number);
}

#[test]
fn a_runner_ends_with_the_process_that_waits_for_it() {
    let Some(lab) = Lab::embedded() else { return };
    let number = mark();
    let (command, _files) = lab.command(&bin("buildbox-run"), &sh(&format!("sleep {number}")));
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let line = format!("FORERUNNER_PARENT=$$ {} & wait", words.join(" "));
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", &line]).stderr(Stdio::null());
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let mut shell = shell.spawn().expect("a shell");
    wait_until("the command starts", || !sleeping(&number).is_empty());
    shell.kill().expect("a signal");
    shell.wait().expect("an end");
    is_gone(&number);
    is_gone(&lab.folder.path().display().to_string());
}
