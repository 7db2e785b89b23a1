//! The same actions on the reference and on ours, compared field by field.

use forerunner_tests::{bin, buildbox, long, peer};

use crate::runner::{Case, Lab, Outcome, args, sh};
use crate::runner_socket::execute;

/// What is expected of a case.
enum Expect {
    /// Ours does the same as the reference.
    Same,
    /// Ours differs on purpose: why, and what it does (exit status, status code, exit code).
    Differs(&'static str, fn(&Outcome) -> bool),
}

use Expect::{Differs, Same};

/// A few files of all kinds.
const FILES: &str = "mkdir -p a/b a/e; echo hi > a/b/f; ln -s f a/b/l; chmod 755 a/b/f; echo z > z; \
    chmod 640 z; ";

fn table() -> Vec<(&'static str, Case, Expect)> {
    let files = |more: &str| sh(&format!("{FILES}{more}"));
    let mut list = exits();
    list.extend([
        // Outputs.
        ("a file", files("").out(&["z"]), Same),
        ("an executable file", sh("echo x > x; chmod 755 x").out(&["x"]), Same),
        ("executable for the group only", sh("echo x > x; chmod 654 x").out(&["x"]), Same),
        ("an empty file", sh(": > x").out(&["x"]), Same),
        ("a large file", sh("dd if=/dev/zero of=x bs=1M count=9 2>/dev/null").out(&["x"]), Same),
        ("a directory as a tree", files("").out(&["a"]), Same),
        ("a directory as directories", files("").out(&["a"]).format(1), Same),
        ("a directory as both", files("").out(&["a"]).format(2), Same),
        ("an empty directory", sh("mkdir d").out(&["d"]), Same),
        ("an empty directory as directories", sh("mkdir d").out(&["d"]).format(1), Same),
        ("equal directories", sh("mkdir -p d/1 d/2; echo x > d/1/x; echo x > d/2/x").out(&["d"]), Same),
        ("a deep directory", sh("mkdir -p d/1/2/3/4/5/6/7/8/9; echo x > d/1/2/3/4/5/6/7/8/9/x").out(&["d"]), Same),
        ("many files", sh("mkdir d; for i in $(seq 300); do echo $i > d/$i; done").out(&["d"]), Same),
        ("names that sort oddly", sh("mkdir d; for n in a-b a.b a A ab 'a b' é; do echo x > \"d/$n\"; done").out(&["d"]), Same),
        ("the working directory", files("").out(&["."]).format(1), Same),
        ("the working directory and what lies above", files("mkdir -p ../i/x; echo i > ../i/x/y").out(&[".", "../i"]).format(1), Same),
        ("as BuildStream does it", files("mkdir -p ../../../buildstream-install/usr; echo y > ../../../buildstream-install/usr/x").cd("buildstream/p/e.bst").out(&[".", "../../../buildstream-install"]).format(1), Same),
        ("a missing output", files("").out(&["none", "z"]), Same),
        ("all outputs missing", sh("true").out(&["none", "n/o/n/e"]), Same),
        ("the same output twice", files("").out(&["z", "z"]), Same),
        ("an output within another", files("").out(&["a", "a/b", "a/b/f"]), Same),
        ("an output above a file", files("").out(&["z/x"]), Same),
        ("outputs of a failed command", files("exit 3").out(&["z", "a"]), Same),
        ("outputs of a killed command", files("kill -9 $$").out(&["z", "a"]), Same),
        ("an input as an output", sh("true").file("w/in", "in").out(&["in"]), Same),
        ("a changed input as an output", sh("echo more >> in").file("w/in", "in").out(&["in"]), Same),
        ("a removed input as an output", sh("rm in").file("w/in", "in").out(&["in"]), Same),
        ("an input directory as an output", sh("rm d/x; echo y > d/y").file("w/d/x", "x").file("w/d/z", "z").out(&["d"]), Same),
        ("an input made executable", sh("chmod +x in").file("w/in", "in").out(&["in"]), Same),
        ("an input renamed", sh("mv in out").file("w/in", "in").out(&["in", "out"]), Same),
        ("an input directory replaced", sh("rm -r d; mkdir d; echo n > d/n").file("w/d/x", "x").out(&["d"]), Same),
        ("a hard link", sh("echo x > x; ln x y").out(&["x", "y"]), Same),
        ("hard links in a directory", sh("mkdir d; echo x > d/x; ln d/x d/y").out(&["d"]), Same),
        ("a symlink in a directory that leads nowhere", sh("mkdir d; ln -s none d/l").out(&["d"]), Same),
        ("a symlink in a directory that leads out", sh("mkdir d; ln -s ../../../../etc d/l; ln -s /etc/passwd d/m").out(&["d"]), Same),
        ("a symlink loop in a directory", sh("mkdir d; ln -s b d/a; ln -s a d/b").out(&["d"]), Same),
        ("a fifo in a directory", sh("mkdir d; mkfifo d/p; echo x > d/x").out(&["d"]), Same),
        ("unreadable outputs", files("chmod 0 z a").out(&["z", "a"]), Same),
        ("permissions", files("").out(&["z", "a/b/f"]).attributes(&["unix_mode"]), Same),
        ("modification times", files("").out(&["z", "a"]).attributes(&["mtime"]), Same),
        ("both attributes of a directory", files("").out(&["a"]).attributes(&["mtime", "unix_mode"]), Same),
        ("parents exist", sh("ls -d p/q p2; echo x > p/q/x").out(&["p/q/x", "p2/y"]), Same),
        ("parents above exist", sh("ls -d ../o/p").out(&["../o/p/x"]), Same),
        ("the parent of a directory exists", sh("ls d; ls -d e").out(&["d/x", "e/y"]), Same),
        ("no outputs", sh("echo x"), Same),
        ("a leading slash", sh("true").out(&["/z"]), Same),
        ("a trailing slash", sh("mkdir a").out(&["a/"]), Same),
        ("an output in /tmp", sh("echo x > /tmp/x").out(&["../tmp/x"]), Same),
        ("an output in /tmp with the option", sh("echo x > /tmp/x").out(&["../tmp/x"]).option("--enable-tmp-outputs"), Same),
        ("a symlink as an output", sh("ln -s z y").out(&["y"]), Differs("a symlink is an output like any other (REAPI); the reference fails", |o| {
            o.exit_status == 0 && o.result.as_ref().is_some_and(|r| r.output_symlinks.len() == 1 && r.output_symlinks[0].target == "z")
        })),
        ("an output below a symlink", files("rm -r da; ln -s a da").out(&["da/b/f"]), Differs("it is there for the command, and stays inside", |o| o.files() == ["da/b/f"])),
        ("the old output fields", { let mut case = files(""); case.output_files = vec!["z".into()]; case.output_directories = vec!["a".into()]; case }, Differs("older clients have no other; the reference ignores them", |o| o.files() == ["z"] && o.trees.len() == 1)),
        ("an empty output path", sh("echo x > x").out(&[""]).format(1), Differs("it means the working directory (REAPI)", |o| o.trees.len() == 1)),
        ("an output that leaves the root", sh("true").out(&["../../x"]), Differs("an error, not silence", |o| o.exit_status == 1 && o.status.is_some())),
    ]);
    list.extend(sandboxes());
    list
}

/// How commands end, and where they start.
fn exits() -> Vec<(&'static str, Case, Expect)> {
    vec![
        ("success", sh("exit 0"), Same),
        ("failure", sh("exit 3"), Same),
        ("exit status 255", sh("exit 255"), Same),
        ("ended by SIGKILL", sh("kill -9 $$"), Same),
        ("ended by SIGTERM", sh("kill -15 $$"), Same),
        ("ended by SIGABRT", sh("kill -6 $$"), Same),
        ("output", sh("echo out; echo err >&2"), Same),
        ("much output", sh("seq 20000; seq 20000 >&2"), Same),
        ("binary output", sh("printf '\\000\\377\\n'"), Same),
        ("output not captured", sh("echo out; echo err >&2").option("--no-logs-capture"), Same),
        ("output of a failed command", sh("echo out; echo err >&2; exit 1"), Same),
        (
            "what a background process writes later is lost",
            sh("(sleep 30; echo late) & echo now"),
            Same,
        ),
        ("a script without #!", args(&["./t"]).program("w/t", b"echo hi $1\n"), Same),
        (
            "a script with #!",
            args(&["./t", "x"]).program("w/t", b"#!/bin/sh\necho hi $1 $0\n"),
            Same,
        ),
        (
            "a program on PATH",
            args(&["t"])
                .env(&[("PATH", "/nowhere:/opt/t:/bin")])
                .program("opt/t/t", b"#!/bin/sh\necho found\n"),
            Same,
        ),
        ("an absolute program", args(&["/bin/echo", "a", "b c", ""]), Same),
        ("a relative program", args(&["../bin/echo", "x"]), Same),
        ("no PATH at all", args(&["sh", "-c", "echo fine"]).env(&[]), Same),
        (
            "the environment",
            args(&["/bin/env"]).env(&[("A", "1"), ("B", "x y"), ("C", ""), ("D", "a=b")]),
            Differs("exactly the variables of the Command: bubblewrap adds PWD", |o| {
                o.stdout() == "A=1\nB=x y\nC=\nD=a=b\n"
            }),
        ),
        ("a directory that is not there", sh("pwd").cd("new/one"), Same),
        ("a directory with ..", sh("pwd").cd("w/../v"), Same),
        ("the root as directory", sh("pwd").cd(""), Same),
        ("a directory with . and //", sh("pwd").cd("w/.//x"), Same),
        ("an absolute directory", sh("pwd").cd("/w"), Same),
        ("a directory outside", sh("pwd").cd("../w"), Same),
        (
            "a program that is not there",
            args(&["nothere"]),
            Differs("127 as shells have it; the reference says 1", |o| o.code() == 127),
        ),
        (
            "an absolute program that is not there",
            args(&["/no/where"]),
            Differs("127 as shells have it; the reference says 1", |o| o.code() == 127),
        ),
        (
            "a program that is no program",
            args(&["/bin"]),
            Differs("126 as shells have it; the reference says 1", |o| o.code() == 126),
        ),
        (
            "a program without permission",
            args(&["./t"]).file("w/t", "#!/bin/sh\n"),
            Differs("126 as shells have it; the reference says 1", |o| o.code() == 126),
        ),
        (
            "an interpreter that is not there",
            args(&["./t"]).program("w/t", b"#!/no/where\n"),
            Differs("127 as shells have it; the reference says 1", |o| o.code() == 127),
        ),
        (
            "no input tree at all",
            {
                let mut case = args(&["/bin/true"]);
                case.without_programs = true;
                case
            },
            Differs("127 as shells have it; the reference says 1", |o| o.code() == 127),
        ),
        ("a timeout", sh("echo before; sleep 60").timeout(1), Same),
        ("a timeout that is not reached", sh("echo x").timeout(60), Same),
        (
            "standard input",
            {
                let mut case = sh("cat");
                case.input = Some("typed\n".to_owned());
                case
            },
            Same,
        ),
        ("the file mode mask", sh("umask; : > f; stat -c %a f"), Same),
        ("open files", sh("ls /proc/self/fd | wc -l"), Same),
        (
            "ignored signals",
            args(&["/bin/grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"]),
            Differs("none; the reference hands on that it ignores SIGPIPE", |o| {
                o.stdout() == "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
            }),
        ),
        ("statistics", sh("true").option("--collect-execution-stats"), Same),
    ]
}

/// What the sandbox looks like.
fn sandboxes() -> Vec<(&'static str, Case, Expect)> {
    vec![
        ("identity", sh("id -u; id -g"), Same),
        (
            "another identity",
            sh("id -u; id -g; stat -c '%u %g' /bin/busybox .")
                .property("unixUID", "1000")
                .property("unixGID", "1001"),
            Same,
        ),
        (
            "properties in the Command",
            {
                let mut case = sh("id -u");
                case.command_properties = vec![("unixUID".into(), "7".into())];
                case
            },
            Same,
        ),
        (
            "no capabilities",
            sh("grep Cap /proc/self/status; grep NoNewPrivs /proc/self/status"),
            Same,
        ),
        ("the host name", sh("hostname"), Same),
        (
            "the first processes",
            sh("echo $$; readlink /proc/self > /dev/null; ls -d /proc/1"),
            Same,
        ),
        (
            "the network",
            sh(
                "ip -o link | wc -l; ip -o addr show lo | grep -c 127.0.0.1; cat /proc/net/dev | grep -c :",
            ),
            Same,
        ),
        (
            "the network of the host",
            sh("readlink /proc/self/ns/net").property("network", "on"),
            Same,
        ),
        ("network=off", sh("ip -o link | wc -l").property("network", "off"), Same),
        (
            "devices",
            sh(
                "ls -C /dev | cat; for d in null zero full random urandom tty; do stat -c '%n %t %T %F' /dev/$d; done; for l in fd stdin stdout stderr ptmx core; do readlink /dev/$l; done",
            ),
            Same,
        ),
        (
            "devices work",
            sh(
                "echo x > /dev/null; head -c 3 /dev/zero | od -c; head -c 8 /dev/urandom | wc -c; cat /dev/fd/0 < /bin/busybox | wc -c",
            ),
            Same,
        ),
        ("shared memory", sh("echo x > /dev/shm/x; cat /dev/shm/x"), Same),
        (
            "the root is writable",
            sh("echo x > /x; cat /x; mkdir /d; rm -r /bin/sh; ls -d /d"),
            Same,
        ),
        ("the top of the tree", sh("ls /"), Same),
        ("times of inputs", sh("stat -c %Y /bin/busybox in").file("w/in", "in"), Same),
        (
            "modes of inputs",
            sh("stat -c '%a %n' in x d").file("w/in", "in").program("w/x", b"x").folder("w/d"),
            Same,
        ),
        (
            "symlinks of inputs",
            sh("readlink l m; cat l").file("w/in", "in").link("w/l", "in").link("w/m", "/nowhere"),
            Same,
        ),
        (
            "times and modes of nodes",
            sh("stat -c '%a %n' m t d; stat -c %Y t d; echo x >> m; cat m; ls -ln t | cut -c1-10")
                .file("w/m", "m")
                .file("w/t", "t")
                .folder("w/d")
                .node("w/m", 0, 0o600, "")
                .node("w/t", 1_000_000, 0o4755, "")
                .node("w/d", 1000, 0o700, ""),
            Same,
        ),
        ("a read-only directory", writes().node("w/ro", 0, 0, "SubtreeReadOnly"), Same),
        (
            "a read-only directory, another user",
            writes().node("w/ro", 0, 0, "SubtreeReadOnly").property("unixUID", "1000"),
            Same,
        ),
        (
            "a read-only root",
            sh("exec 2>&1; touch /x /bin/x ro/x; mkdir /proc/x; echo x > /tmp/x && cat /tmp/x; echo x > /dev/null; ls -d /dev/shm; echo x > /dev/shm/x")
                .folder("w/ro")
                .folder("dev")
                .folder("proc")
                .folder("tmp")
                .node("", 0, 0, "SubtreeReadOnly"),
            Same,
        ),
        (
            "a read-only root with parts that can be written, as BuildStream has it",
            sh("exec 2>&1; touch /x; echo y > y; mkdir -p ../../../i/usr; echo z > ../../../i/usr/z; rm in; ls . | cat; rm /bin/sh; cp /proc/version v && echo copied")
                .cd("buildstream/p/e.bst")
                .file("buildstream/p/e.bst/in", "in")
                .folder("i")
                .folder("dev")
                .folder("proc")
                .folder("tmp")
                .out(&[".", "../../../i"])
                .format(1)
                .node("", 0, 0, "SubtreeReadOnly")
                .node("buildstream/p/e.bst", 0, 0, "-SubtreeReadOnly")
                .node("i", 0, 0, "-SubtreeReadOnly"),
            Same,
        ),
        (
            "a file of the host in a read-only directory",
            writes()
                .file("w/ro/x", "")
                .option("--bind-mount=/proc/version:/w/ro/x")
                .node("w/ro", 0, 0, "SubtreeReadOnly"),
            Same,
        ),
        (
            "a read-only directory without the server's help",
            writes().node("w/ro", 0, 0, "SubtreeReadOnly").option("--disable-localcas"),
            Differs("read-only all the same; the reference ignores the property then", |o| {
                o.stdout().contains("Read-only file system")
            }),
        ),
        ("empty input directories", sh("ls -a d; rmdir d").folder("w/d"), Same),
        ("an input is written to", sh("echo new > in; cat in").file("w/in", "old"), Same),
        ("the ISA", sh("uname -m").property("ISA", "x86-64").property("OSFamily", "linux"), Same),
        ("the 32-bit ISA", sh("uname -m").property("ISA", "x86-32"), Same),
        ("another ISA", sh("true").property("ISA", "aarch64"), Same),
        ("another system", sh("true").property("OSFamily", "windows"), Same),
        ("an unknown property", sh("echo x").property("pool", "fast"), Same),
        (
            "a file of the host",
            sh("cat x; grep -c . y/status")
                .option("--bind-mount=/proc/version:/w/x")
                .option("--bind-mount=/proc/self:/w/y"),
            Same,
        ),
        (
            "a file of the host is no output",
            sh("cat x > /dev/null").option("--bind-mount=/proc/version:/w/x").out(&["x"]),
            Same,
        ),
        (
            "a directory of the host, read-only",
            sh("touch x/no; ls -d x").option("--ro-bind-mount=/usr/lib:/w/x"),
            Same,
        ),
        (
            "content that is not asked for",
            sh("ls x").option("--ro-bind-mount=sdk:/usr/lib:/w/x"),
            Same,
        ),
        (
            "content that is asked for",
            sh("ls -d x").option("--ro-bind-mount=sdk:/usr/lib:/w/x").property("inject", "sdk"),
            Same,
        ),
        (
            "the devices of the host",
            sh("test -c /dev/null && echo fine").option("--bind-mount=/dev:/dev"),
            Same,
        ),
        (
            "copies instead of FUSE",
            sh("cat in; echo x > in; cat in")
                .file("w/in", "in")
                .out(&["in"])
                .option("--staging-mode=copy-or-link"),
            Same,
        ),
        (
            "FUSE",
            sh("cat in; echo x > in; cat in")
                .file("w/in", "in")
                .out(&["in"])
                .option("--staging-mode=fuse"),
            Same,
        ),
        (
            "without the server's help",
            sh("cat in; echo x > in; cat in; ls -d /dev /proc /tmp")
                .file("w/in", "in")
                .out(&["in"])
                .option("--disable-localcas"),
            Same,
        ),
        ("an unknown option", sh("true").option("--bogus"), Same),
        ("only checking", sh("true").option("--validate-parameters"), Same),
        (
            "two bases",
            sh("true")
                .property("chrootRootDigest", &empty())
                .property("chrootTreeDigest", &empty()),
            Differs("they exclude each other; the reference takes one of them", |o| {
                o.exit_status == 1 && o.log.contains("container-image")
            }),
        ),
        ("an image", sh("true").property("container-image", "docker://x"), Same),
        (
            "a mount of what is not there",
            sh("true").option("--bind-mount=/proc/none:/x"),
            Differs("an error of the runner, not of the command", |o| o.exit_status == 1),
        ),
        (
            "a user that is no number",
            sh("true").property("unixUID", "x"),
            Differs("an error of the runner, not of the command", |o| o.exit_status == 1),
        ),
        (
            "a capability",
            sh("grep CapEff /proc/self/status").property("capability", "CAP_SYS_PTRACE"),
            Differs("the reference knows few of them", |o| {
                o.stdout() == "CapEff:\t0000000000080000\n"
            }),
        ),
        (
            "/tmp",
            sh("stat -c %a /tmp /dev/shm"),
            Differs("as everywhere: sticky, for all users", |o| o.stdout() == "1777\n1777\n"),
        ),
        (
            "/proc/sys",
            sh(
                "test -w /proc/sys/kernel/core_pattern && echo open; echo x > /proc/sys/kernel/core_pattern && echo written",
            ),
            Differs("read-only: with root's identity it could change the machine", |o| {
                !o.stdout().contains("written")
            }),
        ),
        (
            "seccomp",
            sh("grep Seccomp: /proc/self/status"),
            Differs("the reference has no filter", |o| o.stdout() == "Seccomp:\t2\n"),
        ),
    ]
}

/// Attempts to write to `ro`.
fn writes() -> Case {
    sh("exec 2>&1; echo x > ro/new; (echo y >> ro/in) 2> /dev/null || echo no; rm ro/in; mkdir ro/d/x; chmod 700 ro; \
        mv ro/in ro/other; touch ro/in; stat -c '%a %n' ro ro/in ro/d; \
        echo z > rw; ls . ro ro/d; cat ro/in")
    .file("w/ro/in", "in")
    .folder("w/ro/d")
    .file("w/ro/d/f", "x")
}

fn empty() -> String {
    format!("{}/0", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
}

/// What is compared: everything but times, digests of logs (their contents are), and texts of
/// our own making.
fn comparable(outcome: &Outcome) -> Vec<String> {
    let mut lines = vec![
        format!("exit status {}", outcome.exit_status),
        format!("status code {:?}", outcome.status.as_ref().map(|status| status.code)),
        format!("stdout {:?}", outcome.stdout),
        format!("stderr {:?}", outcome.stderr),
    ];
    let Some(result) = &outcome.result else {
        lines.push("no result".to_owned());
        return lines;
    };
    lines.push(format!("own stdout {:?}", outcome.own_stdout));
    lines.push(format!("exit code {}", result.exit_code));
    for file in &result.output_files {
        let properties = file.node_properties.clone().unwrap_or_default();
        lines.push(format!(
            "file {} {:?} {} {:?} {} {}",
            file.path,
            file.digest,
            file.is_executable,
            properties.unix_mode,
            properties.mtime.is_some(),
            file.contents.len()
        ));
    }
    for directory in &result.output_directories {
        lines.push(format!("directory {}", directory.path));
    }
    for (path, tree) in &outcome.trees {
        lines.push(format!("{path}: {tree:#?}"));
    }
    for symlink in &result.output_symlinks {
        lines.push(format!("symlink {} -> {}", symlink.path, symlink.target));
    }
    let metadata = result.execution_metadata.clone().unwrap_or_default();
    lines.push(format!(
        "times {} {} {} {} {} {}",
        metadata.worker_start_timestamp.is_some(),
        metadata.worker_completed_timestamp.is_some(),
        metadata.input_fetch_completed_timestamp.is_some(),
        metadata.execution_start_timestamp.is_some(),
        metadata.execution_completed_timestamp.is_some(),
        // The reference leaves it out after a timeout.
        outcome.status.is_some() || metadata.output_upload_completed_timestamp.is_some(),
    ));
    lines.push(format!(
        "auxiliary {:?}",
        metadata.auxiliary_metadata.iter().map(|any| &any.type_url).collect::<Vec<_>>()
    ));
    lines
}

#[test]
fn the_reference_and_ours_agree() {
    let Some(reference) = peer("buildbox-run of the reference", buildbox("buildbox-run")) else {
        return;
    };
    let (Some(casd), Some(embedded)) = (Lab::casd(), Lab::embedded()) else { return };
    let cases = table();
    assert!(cases.len() >= 80, "{}", cases.len());
    let mut wrong = Vec::new();
    for (name, case, expect) in cases {
        let ours = casd.run(&bin("buildbox-run"), &case);
        // The store has no server that could stage.
        let mut local = embedded.ours(&case);
        match expect {
            Same => {
                let theirs = casd.run(&reference, &case);
                // The host's pid namespaces differ from run to run; the result may not.
                let (expected, got) = (comparable(&theirs), comparable(&ours));
                if expected != got {
                    wrong.push(format!(
                        "{name}, through casd:\n{}",
                        difference(&expected, &got, &ours)
                    ));
                }
                local.own_stdout.clone_from(&ours.own_stdout);
                let got = comparable(&local);
                if expected != got {
                    wrong.push(format!(
                        "{name}, embedded:\n{}",
                        difference(&expected, &got, &local)
                    ));
                }
            }
            Differs(why, check) => {
                for (place, outcome) in [("through casd", &ours), ("embedded", &local)] {
                    if !check(outcome) {
                        wrong.push(format!("{name}, {place} ({why}): {outcome:#?}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// The same cases as actions that a stock casd has our runner execute.
#[test]
fn stock_casd_has_the_same_results_by_our_runner() {
    let runner = bin("buildbox-run");
    let Some(lab) = Lab::casd_with(&[format!("--buildbox-run={}", runner.display())]) else {
        return;
    };
    let mut wrong = Vec::new();
    let mut count = 0;
    for (name, case, _) in table() {
        // What casd has no way to hand on.
        if !case.options.is_empty() || case.input.is_some() {
            continue;
        }
        count += 1;
        // All of them take half a minute.
        if !long() && count % 4 != 0 {
            continue;
        }
        let mut direct = lab.run(&runner, &case);
        let mut served = execute(&lab, &case);
        if direct.result.is_none() {
            let code = |outcome: &Outcome| outcome.status.as_ref().map(|status| status.code);
            if code(&direct) != code(&served) {
                wrong.push(format!("{name}: {direct:#?}, served: {:?}", served.status));
            }
            continue;
        }
        for outcome in [&mut direct, &mut served] {
            outcome.exit_status = 0;
            outcome.own_stdout.clear();
            outcome.status = None;
        }
        let (direct, got) = (comparable(&direct), comparable(&served));
        if direct != got {
            wrong.push(format!("{name}:\n{}", difference(&direct, &got, &served)));
        }
    }
    assert!(count >= 80, "{count}");
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

fn difference(expected: &[String], got: &[String], outcome: &Outcome) -> String {
    let mut text = String::new();
    for line in expected.iter().filter(|line| !got.contains(line)) {
        text += &format!("  reference: {line}\n");
    }
    for line in got.iter().filter(|line| !expected.contains(line)) {
        text += &format!("  ours:      {line}\n");
    }
    text + &format!("  log: {}\n", outcome.log)
}
