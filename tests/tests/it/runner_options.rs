//! What options do beside the action itself, on the reference and on ours.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use forerunner_proto::{Message, buildbox, reapi};
use forerunner_tests::{bin, buildbox as peers, peer, temp};
use nix::libc::SIGSEGV;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::runner::{Case, Lab, Outcome, exit_status, forgiving, sh};

/// Runs `look` with each of both runners; answers with what it saw.
fn both<T>(look: impl Fn(&Lab, &Path) -> T) -> Option<[T; 2]> {
    let reference = peer("buildbox-run of the reference", peers("buildbox-run"))?;
    let lab = Lab::casd()?;
    Some([look(&lab, &reference), look(&lab, &bin("buildbox-run"))])
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|_| "(no file)".to_owned())
}

#[test]
fn programs_say_what_they_can() {
    let seen = both(|_, program| {
        let run = |arguments: &[&str]| {
            let attempt = || {
                let output = Command::new(program).args(arguments).output().expect("a runner");
                (exit_status(output.status), String::from_utf8_lossy(&output.stdout).into_owned())
            };
            forgiving(program, attempt, |(status, _)| *status == -SIGSEGV)
        };
        let status = |arguments: &[&str]| run(arguments).0;
        (
            run(&["--capabilities"]),
            [
                status(&["--help"]),
                status(&["--version"]),
                status(&[]),
                status(&["--bogus"]),
                status(&["--remote=unix:/x", "--validate-parameters", "--action=a"]),
                status(&["--remote=unix:/x", "--validate-parameters", "--bogus"]),
            ],
        )
    });
    let Some([theirs, ours]) = seen else { return };
    assert_eq!(theirs, ours);
    assert!(ours.0.1.contains("platform:remoteApisSocketPath"));
}

#[test]
fn output_goes_to_files() {
    let seen = both(|lab, program| {
        let mut list = Vec::new();
        for more in ["--verbose", "--no-logs-capture"] {
            let folder = temp();
            let at = |name: &str| folder.path().join(name);
            let case = sh("echo out; echo err >&2; exit 3")
                .option(&format!("--stdout-file={}", at("out").display()))
                .option(&format!("--stderr-file={}", at("err").display()))
                .option(more);
            let outcome = lab.run(program, &case);
            let files = (text(&at("out")), text(&at("err")));

            list.push((files, outcome.stdout, outcome.stderr, outcome.own_stdout));
        }
        list
    });
    let Some([theirs, ours]) = seen else { return };
    assert_eq!(theirs, ours);
    assert_eq!(ours[0].0, ("out\n".to_owned(), "err\n".to_owned()));
}

#[test]
fn a_command_runs_after_the_action() {
    let seen = both(|lab, program| {
        let folder = temp();
        let script = folder.path().join("post");
        let said = folder.path().join("said");
        // The directory is that of the action, with what it left.
        let look = "ls \"$1\" | grep -v -e dev -e proc -e tmp; cat \"$1/w/x\"; echo $#";
        let write = format!("#!/bin/sh\n({look}) > {}\nexit 5\n", said.display());
        std::fs::write(&script, write).expect("a file");
        let status = Command::new("chmod").arg("755").arg(&script).status().expect("chmod");
        assert!(status.success());
        let case = sh("echo made > x")
            .out(&["x"])
            .option("--disable-localcas")
            .option(&format!("--post-action-command={}", script.display()));
        let outcome = lab.run(program, &case);
        (outcome.exit_status, outcome.code(), text(&said))
    });
    let Some([theirs, ours]) = seen else { return };
    assert_eq!(theirs, ours);
    assert_eq!(ours, (0, 0, "bin\nw\nmade\n1\n".to_owned()));
}

fn told(metadata: &reapi::ExecutedActionMetadata) -> [bool; 8] {
    [
        metadata.worker_start_timestamp.is_some(),
        metadata.input_fetch_start_timestamp.is_some(),
        metadata.input_fetch_completed_timestamp.is_some(),
        metadata.execution_start_timestamp.is_some(),
        metadata.execution_completed_timestamp.is_some(),
        metadata.output_upload_start_timestamp.is_some(),
        metadata.output_upload_completed_timestamp.is_some(),
        metadata.worker_completed_timestamp.is_some(),
    ]
}

#[test]
fn metadata_and_statistics_are_told() {
    let seen = both(|lab, program| {
        let folder = temp();
        let file = folder.path().join("metadata");
        let case = sh("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")
            .option("--collect-execution-stats")
            .option(&format!("--partial-execution-metadata-file={}", file.display()));
        let outcome = lab.run(program, &case);
        let result = outcome.result.expect("a result");
        let metadata = result.execution_metadata.expect("metadata");
        let [any] = &metadata.auxiliary_metadata[..] else { panic!("{metadata:#?}") };
        let digest = reapi::Digest::decode(&any.value[..]).expect("a digest");
        let blob = lab.get(&digest);
        // Wrapped once more, as the reference does it.
        let blob = forerunner_proto::Any::decode(blob).expect("an Any");
        assert!(blob.type_url.ends_with("/build.buildbox.ExecutionStatistics"), "{blob:?}");
        let statistics =
            buildbox::ExecutionStatistics::decode(&blob.value[..]).expect("statistics");
        let usage = statistics.command_rusage.expect("usage");
        let utime = usage.utime.expect("a time");
        // The reference now and then says that it took no time at all.
        let measured = utime.seconds > 0 || utime.nanos > 0;
        assert!(measured || program != bin("buildbox-run"), "{usage:?}");
        assert!(usage.maxrss > 0 && usage.minflt > 0, "{usage:?}");
        let partial = std::fs::read(&file).expect("the file");
        let partial = reapi::ExecutedActionMetadata::decode(&partial[..]).expect("metadata");
        // What is known when the command starts.
        (
            any.type_url.clone(),
            told(&metadata),
            usage.stime.is_some(),
            told(&partial)[1..4].to_vec(),
        )
    });
    let Some([theirs, ours]) = seen else { return };
    assert_eq!(theirs, ours);
}

#[test]
fn logs_have_the_form_of_the_reference() {
    let seen = both(|lab, program| {
        let folder = temp();
        let case = sh("true").option(&format!("--log-directory={}", folder.path().display()));
        let outcome = lab.run(program, &case.option("--log-level=trace"));
        assert_eq!(outcome.exit_status, 0);
        let files: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").flatten().collect();
        assert!(!files.is_empty(), "{}", program.display());
        for file in &files {
            let name = file.file_name().to_string_lossy().into_owned();
            assert!(name.starts_with("buildbox-run.") && name.contains(".log."), "{name}");
        }
        // `2026-11-22T10:11:12.123+0000 [PID:TID] [FILE:LINE] [LEVEL] TEXT`
        let level = |line: &str| {
            let mut parts = line.splitn(5, [' ']);
            let (time, ids, place) = (parts.next()?, parts.next()?, parts.next()?);
            let shape = time.len() == 28 && time.ends_with("+0000") && ids.contains(':');
            (shape && place.starts_with('[')).then(|| parts.next().map(str::to_owned))?
        };
        let log = lab.run(program, &sh("true").option("--log-level=info")).log;
        let lines: Vec<_> = log.lines().filter_map(level).collect();
        assert!(!lines.is_empty(), "{}: {log}", program.display());
        let quiet = lab.run(program, &sh("true").option("--log-level=error"));
        (lines.iter().all(|level| level == "[INFO]"), quiet.log)
    });
    let Some([theirs, ours]) = seen else { return };
    assert_eq!(theirs, ours);
}

#[test]
fn trees_are_staged_in_the_workspace() {
    let seen = both(|lab, program| {
        let mut list = Vec::new();
        for more in ["--verbose", "--disable-localcas", "--staging-mode=copy-or-link"] {
            let folder = temp();
            let case = sh("cat in; echo x > x; mkdir -p d/e")
                .file("w/in", "in\n")
                .out(&["x", "d"])
                .option(&format!("--workspace-path={}", folder.path().display()))
                .option(more);
            let outcome = lab.run(program, &case);
            let left = std::fs::read_dir(folder.path()).expect("the workspace").count();
            // The reference may end before its server has tidied up.
            assert!(left == 0 || program != bin("buildbox-run"), "{more}: {left}");
            list.push((outcome.stdout, outcome.exit_status));
        }
        list
    });
    let Some([theirs, ours]) = seen else { return };
    assert_eq!(theirs, ours);
}

#[test]
fn failures_have_the_codes_of_the_reference() {
    let nothing = "b".repeat(64) + "/7";
    let failing: Vec<(&str, Case)> = vec![
        ("a missing base", sh("true").property("chrootRootDigest", &nothing)),
        ("a missing tree as a base", sh("true").property("chrootTreeDigest", &nothing)),
        ("a base that is no digest", sh("true").property("chrootRootDigest", "x")),
        ("another system", sh("true").property("OSFamily", "windows")),
    ];
    let seen = both(|lab, program| {
        let run = |case: &Case| -> (i32, Option<i32>, bool) {
            let outcome: Outcome = lab.run(program, case);
            let code = outcome.status.as_ref().map(|status| status.code);
            (outcome.exit_status, code, outcome.result.is_some())
        };
        failing.iter().map(|(name, case)| (*name, run(case))).collect::<Vec<_>>()
    });
    let Some([theirs, ours]) = seen else { return };
    assert_eq!(theirs, ours);
    // More than the reference says: it has no status for the first two, and INTERNAL for the last.
    let lab = Lab::casd().expect("casd");
    let missing = Case { input_root: Some(nothing.parse().expect("a digest")), ..sh("true") };
    let nowhere = sh("true").option("--remote=unix:/nowhere/socket").option("--retry-limit=0");
    for (case, code) in [
        (sh("true").option("--instance=other"), tonic::Code::InvalidArgument),
        (nowhere, tonic::Code::Unavailable),
        (missing, tonic::Code::FailedPrecondition),
    ] {
        let outcome = lab.ours(&case);
        assert_eq!(outcome.exit_status, 1, "{outcome:#?}");
        assert_eq!(outcome.status.expect("a status").code, code as i32);
    }
}

#[test]
fn signals_end_both_alike() {
    let seen = both(|lab, program| {
        let end = |signal: Signal, more: &str| {
            let folder = temp();
            let sign = folder.path().join("out");
            let case = sh("trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done")
                .option(&format!("--stdout-file={}", sign.display()))
                .option(more);
            let (mut command, files) = lab.command(program, &case);
            let mut child = command.stderr(Stdio::null()).spawn().expect("a runner");
            let deadline = Instant::now() + Duration::from_secs(600);
            while !std::fs::read_to_string(&sign).unwrap_or_default().contains("ready") {
                assert!(Instant::now() < deadline, "{} does not start it", program.display());
                std::thread::sleep(Duration::from_millis(10));
            }
            kill(Pid::from_raw(child.id() as i32), signal).expect("a signal");
            let status = exit_status(child.wait().expect("an end"));
            let outcome = lab.read(&files);
            (status, outcome.status.map(|status| status.code), outcome.result.map(|r| r.exit_code))
        };
        [Signal::SIGTERM, Signal::SIGINT].map(|signal| {
            let attempt = || end(signal, "--verbose");
            forgiving(program, attempt, |(status, ..)| *status == -SIGSEGV)
        })
    });
    let Some([theirs, ours]) = seen else { return };
    assert_eq!(theirs, ours);
}
