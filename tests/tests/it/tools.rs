//! The wrappers that are made from descriptions, ours and those of users; and what all tools have
//! in common: where a miss runs, what is recorded, and why something is not cached.

mod place;

use std::io::Read as _;

use forerunner_gateway::{Gateway, Policy, Recorder};
use forerunner_reapi::{Config, LocalExecution};
use forerunner_tests::{bin, bin_dir, long, on_path, peer};

use crate::endpoint::embedded;
use place::{Place, same, text};

const DRESS: &str = r##"
mkdir gen sub
echo 'int f(int x) { return x; } int main(void) { return f(0); }' >a.c
gcc -g -c a.c; gcc -g -o prog a.c; cp a.o b.o; ar rcsD lib.a a.o b.o; echo text >text.txt
printf '%%%%\nx return 1;\n.|\\n ;\n%%%%\nint yywrap(void) { return 1; }\n' >x.l
printf '%%{\nint yylex(void); void yyerror(const char *s);\n%%}\n%%%%\ns: %%empty;\n' >x.y
printf 'syntax = "proto3"; import "sub/other.proto"; message A { B b = 1; }\n' >main.proto
printf 'syntax = "proto3"; message B { int32 x = 1; }\n' >sub/other.proto
printf '<gresources><gresource prefix="/p"><file>text.txt</file></gresource></gresources>' >r.xml
"##;

/// A tool's command, and a change to a file that the command does not name but the tool reads.
const COMMANDS: &[(&str, &str, &str)] = &[
    ("strip", "-g prog", ""),
    ("strip", "prog a.o lib.a", ""),
    ("strip", "--strip-unneeded -o out.o a.o", ""),
    ("strip", "-R .comment --remove-section=.note.gnu.property a.o", ""),
    ("strip", "@words", ""),
    ("objcopy", "-O binary a.o a.bin", ""),
    ("objcopy", "--only-keep-debug prog prog.debug", ""),
    ("objcopy", "--add-gnu-debuglink=text.txt prog", ""),
    ("objcopy", "--add-section .x=text.txt a.o c.o", ""),
    ("objcopy", "--redefine-sym f=g lib.a", ""),
    ("protoc", "--cpp_out=gen -I. main.proto", "echo 'message C {}' >>sub/other.proto"),
    ("protoc", "--python_out=gen --pyi_out=gen -I. main.proto", "echo '//' >>sub/other.proto"),
    ("flex", "-o lex.c --header-file=lex.h x.l", ""),
    ("flex", "x.l", ""),
    ("bison", "-d -o p.c x.y", ""),
    ("bison", "-d x.y", ""),
    ("glib-compile-resources", "--target=r.c --generate-source r.xml", "echo more >>text.txt"),
    ("glib-compile-resources", "--target=r.gresource r.xml", "echo more >>text.txt"),
];

#[test]
fn the_tools_that_we_know() {
    let mut place = Place::new(DRESS);
    place.set("LC_ALL", "C.UTF-8");
    let mut tried = 0;
    for (tool, line, change) in COMMANDS {
        if peer(tool, on_path(tool)).is_none() {
            continue;
        }
        let words: Vec<&str> = line.split(' ').collect();
        let dressed = "echo '-g prog a.o' >words";
        assert_eq!(place.thrice(tool, &words, dressed), 1, "{tool} {line}");
        if !change.is_empty() {
            // The same command; what it reads is another file now.
            let change = format!("{dressed}; {change}");
            assert_eq!(place.thrice(tool, &words, &change), 1, "{tool} {line}");
        }
        tried += 1;
    }
    assert!(tried > 0 || std::env::var_os("FORERUNNER_REQUIRE_PEERS").is_none());
}

/// `strip` goes on with the other files.
#[test]
fn a_tool_fails_with_one_of_its_files() {
    let Some(_) = peer("gcc", on_path("gcc")) else { return };
    let place = Place::new(DRESS);
    for line in ["-g a.o text.txt prog", "a.o gone.o prog", "text.txt", "-g prog x.y lib.a"] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(place.thrice("strip", &words, ""), 0, "{line}");
    }
}

#[test]
fn what_is_not_cached_has_a_name() {
    let Some(_) = peer("gcc", on_path("gcc")) else { return };
    let place = Place::new(DRESS);
    for (tool, line, reason) in [
        ("ar", "t lib.a", "operation"),
        ("ar", "p lib.a a.o", "operation"),
        ("ar", "x lib.a", "operation"),
        ("ar", "ru lib.a a.o", "update_by_time"),
        ("ar", "rcsU new.a a.o", "non_deterministic"),
        ("ar", "rzz lib.a", "command_line_unknown"),
        ("ranlib", "-U lib.a", "non_deterministic"),
        ("ranlib", "-t lib.a", "operation"),
        ("strip", "-p prog", "operation"),
        ("strip", "-U lib.a", "operation"),
    ] {
        let reason = if reason == "command_line_unknown" { "syntax" } else { reason };
        let words: Vec<&str> = line.split(' ').collect();
        place.reset("");
        let plain = place.run(tool, &words);
        place.reset("");
        place.forget_figures();
        let ours = place.run(&format!("re{tool}"), &words);
        assert_eq!(ours.status.code(), plain.status.code(), "{tool} {line}");
        assert_eq!(text(&ours.stdout), text(&plain.stdout), "{tool} {line}");
        let stats = place.stats();
        assert!(stats.contains(reason), "{tool} {line}: no `{reason}` in\n{stats}");
        place.reset("");
        let explained = place.run(&format!("re{tool}"), &[&["--explain"], &words[..]].concat());
        let said = text(&explained.stdout) + &text(&explained.stderr);
        assert!(said.contains(reason), "{tool} --explain {line}: no `{reason}` in\n{said}");
    }
}

/// A spy in the place of the tool writes down that it was started.
#[test]
fn nothing_to_do_starts_no_tool() {
    let Some(_) = peer("gcc", on_path("gcc")) else { return };
    let mut place = Place::new(DRESS);
    place.reset("");
    let spy = place.root().join("spy-ranlib");
    let log = place.root().join("started");
    let script = format!("#!/bin/sh\necho x >>{}\nexec ranlib \"$@\"\n", log.display());
    std::fs::write(&spy, script).expect("written");
    make_executable(&spy);
    place.set("RERANLIB_RANLIB", &spy.display().to_string());
    let started = || std::fs::read_to_string(&log).unwrap_or_default().lines().count();
    for (round, expected) in [("new", 1), ("again", 1), ("and again", 1)] {
        let before = place.files();
        let output = place.run("reranlib", &["lib.a"]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(started(), expected, "{round}");
        same(round, &before, &place.files());
    }
    place.reset("ar rcSD lib.a a.o");
    place.run("reranlib", &["lib.a"]);
    assert_eq!(started(), 2, "another archive");
}

fn make_executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, mode).expect("a mode");
}

/// The embedded store behind a socket, as `buildbox-run` serves it.
fn served(place: &Place, update_allowed: bool) -> (Gateway, Recorder, String) {
    let recorder = Recorder::new();
    let socket = place.root().join(format!("{update_allowed}.sock"));
    let mut config: Config = embedded(&place.root().join(format!("server-{update_allowed}")));
    // Room for the archives of the long form.
    config.store.size_limit = 10 << 30;
    config.local = LocalExecution {
        runner: bin("buildbox-run"),
        runner_arguments: vec!["--host-toolchain".to_owned()],
        jobs: Some(1),
    };
    let policy = Policy { update_allowed };
    let gateway = Gateway::start(&socket, &config, policy, recorder.clone()).expect("a socket");
    (gateway, recorder, format!("unix:{}", socket.display()))
}

#[test]
fn where_a_miss_runs() {
    let Some(_) = peer("gcc", on_path("gcc")) else { return };
    for (update_allowed, forced, here) in [
        (true, "", true),
        (true, "local", true),
        (true, "remote", false),
        (false, "", false),
        (false, "remote", false),
        (false, "local", true),
    ] {
        let what = format!("update allowed: {update_allowed}, RECC_MISS={forced}");
        let mut place = Place::new(DRESS);
        place.reset("");
        let (gateway, recorder, url) = served(&place, update_allowed);
        place.set("RECC_SERVER", &url);
        place.set("RECC_MISS", forced);
        place.set("RECC_LOG_LEVEL", "info");
        place.run("ar", &["rcsD", "plain.a", "a.o", "b.o"]);
        let plain = std::fs::read(place.path("plain.a")).expect("an archive");
        for round in ["miss", "hit"] {
            let _ = std::fs::remove_file(place.path("new.a"));
            let output = place.run("rear", &["rcsD", "new.a", "a.o", "b.o"]);
            let said = text(&output.stderr);
            assert!(output.status.success(), "{what}, {round}: {said}");
            assert!(std::fs::read(place.path("new.a")).is_ok_and(|new| new == plain), "{what}");
            // Where nothing can be stored, the tool runs again.
            let stored = update_allowed || !here;
            let is_hit = round == "hit" && stored;
            assert_eq!(said.contains("executing locally"), here && !is_hit, "{what}: {said}");
            assert_eq!(
                said.contains("Executing action remotely"),
                !here && !is_hit,
                "{what}: {said}"
            );
            assert_eq!(said.contains("Action Cache hit"), is_hit, "{what}, {round}: {said}");
            assert_eq!(recorder.subactions().len(), usize::from(stored), "{what}, {round}");
        }
        gateway.stop();
    }
    // A hit alone is recorded too.
    let mut place = Place::new(DRESS);
    place.reset("");
    let words = ["rcsD", "new.a", "a.o"];
    for hits in [0, 1] {
        let (gateway, recorder, url) = served(&place, true);
        place.set("RECC_SERVER", &url);
        let _ = std::fs::remove_file(place.path("new.a"));
        place.forget_figures();
        assert!(place.run("rear", &words).status.success());
        assert_eq!(place.figure("hits"), hits);
        assert_eq!(recorder.subactions().len(), 1);
        gateway.stop();
    }
}

/// The wrappers and the tools they start may have less memory than an archive has bytes, with the
/// embedded store and with a server.
#[test]
fn archives_are_larger_than_memory() {
    // With a server the archive travels; without, the kernel copies it.
    const MEMORY_KIB: u64 = 24 << 10;
    let member_bytes: u64 = if long() { 340 << 20 } else { 22 << 20 };
    for remote in [false, true] {
        let mut place = Place::new("");
        place.reset("");
        let mut noise = std::fs::File::open("/dev/urandom").expect("noise").take(member_bytes);
        let mut member = std::fs::File::create(place.path("1.o")).expect("a member");
        std::io::copy(&mut noise, &mut member).expect("written");
        for name in ["2.o", "3.o"] {
            std::fs::copy(place.path("1.o"), place.path(name)).expect("a member");
        }
        let server = remote.then(|| served(&place, true));
        if let Some((_, _, url)) = &server {
            place.set("RECC_SERVER", url);
        }
        let limited = |script: &str| {
            let script = format!("ulimit -d {MEMORY_KIB}; {script}");
            let output = place.run("sh", &["-ec", &script]);
            assert!(output.status.success(), "remote: {remote}, {script}: {output:?}");
        };
        let figures = || (place.figure("hits"), place.figure("misses"));
        limited("rear rcSD lib.a 1.o 2.o 3.o");
        limited("rm lib.a; rear rcSD lib.a 1.o 2.o 3.o");
        assert_eq!(figures(), (1, 1), "remote: {remote}");
        limited("reranlib lib.a");
        limited("rm lib.a; rear rcSD lib.a 1.o 2.o 3.o; reranlib lib.a; reranlib lib.a");
        assert_eq!(figures(), (4, 2), "remote: {remote}");
        limited("ar rcsD plain.a 1.o 2.o 3.o; cmp plain.a lib.a");
        if let Some((gateway, ..)) = server {
            gateway.stop();
        }
    }
}

/// Offsets beyond 32 bits. In the long form only: it takes 20 GiB of disk.
#[test]
fn a_member_of_more_than_4_gib() {
    if !long() {
        return;
    }
    let mut place = Place::new("echo 'int last;' >last.c; gcc -c last.c");
    place.set("FORERUNNER_STORE_SIZE", "64G");
    place.reset("truncate -s 4297064448 huge.o");
    for (script, hits, misses) in [
        ("rear rcSD lib.a huge.o last.o", 0, 1),
        ("rm lib.a; rear rcSD lib.a huge.o last.o", 1, 1),
        ("ar rcSD plain.a huge.o last.o; cmp plain.a lib.a; rm lib.a plain.a", 1, 1),
        // The index that GNU's ar makes then bears the time, `D` or not: it is never stored.
        ("rear rcsD lib.a huge.o last.o; nm -s lib.a | grep -q 'last in last.o'", 1, 1),
        ("ar rcsD plain.a huge.o last.o; cmp -i 36 plain.a lib.a; rm lib.a plain.a", 1, 1),
        ("rear rcsD lib.a huge.o last.o", 1, 1),
    ] {
        let output = place.run("sh", &["-ec", script]);
        assert!(output.status.success(), "{script}: {output:?}");
        assert_eq!((place.figure("hits"), place.figure("misses")), (hits, misses), "{script}");
    }
}

#[test]
fn any_command_with_its_inputs_and_outputs_named() {
    let mut place = Place::new(
        "mkdir -p in/deep; echo b >in/b; echo a >in/deep/a; echo old >list; ln -s b in/link",
    );
    place.set("GREETING", "hello");
    let sort = "sort $(find in -type f) >list; echo said; echo $GREETING >&2";
    let split = "mkdir -p gen/sub gen/void; cp in/b gen/b; cp in/deep/a gen/sub/a; \
        ln -sf b gen/link; chmod +x gen/b; echo $GREETING >list";
    for (outputs, script) in [("list", sort), ("list gen/", split)] {
        let mut words = vec!["--input", "in", "--output"];
        words.extend(outputs.split(' '));
        words.extend(["--env", "GREETING", "--tool", "sort", "--", "sh", "-c", script]);
        place.reset("");
        let plain = place.run("sh", &["-c", script]);
        let expected = place.files();
        place.forget_figures();
        for (hits, misses, change) in [
            (0, 1, ""),
            (1, 1, ""),
            // What is below a directory is an input, and so is what is in an output's.
            (1, 2, "echo c >in/deep/a"),
            (2, 2, ""),
        ] {
            place.reset(change);
            let ours = place.run("rewrap", &words);
            assert_eq!(ours, plain, "{outputs}");
            assert_eq!((place.figure("hits"), place.figure("misses")), (hits, misses), "{outputs}");
            if change.is_empty() {
                same(outputs, &expected, &place.files());
            }
        }
        // Once more where everything is there: its own result is an input now.
        for _ in 0..2 {
            assert_eq!(place.run("rewrap", &words), plain);
            same(outputs, &expected, &place.files());
        }
        assert!(place.figure("hits") >= 3, "{outputs}");
        // Another value of a variable that was named; one that was not.
        place.set("OTHER", "x");
        place.reset("");
        place.run("rewrap", &words);
        let before = place.figure("misses");
        place.set("GREETING", "good day");
        place.reset("");
        assert!(place.run("rewrap", &words).status.success());
        assert_eq!(place.figure("misses"), before + 1, "{outputs}");
        place.set("GREETING", "hello");
    }
    // What fails is not stored, and ends as it does without us.
    let words = ["--input", "in/b", "--output", "list", "--", "sh", "-c", "cat in/b; exit 7"];
    for _ in 0..2 {
        let output = place.run("rewrap", &words);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(7), "b\n".to_owned()));
    }
    // What makes no sense is said so.
    for (words, problem) in [
        (&["--input", "in/b", "--", "true"][..], "no output"),
        (&["--output", "x"][..], "no command"),
        (&["--inptu=a", "--output=b", "--", "true"][..], "no option `--inptu`"),
    ] {
        let output = place.run("rewrap", words);
        assert_eq!(output.status.code(), Some(100), "{output:?}");
        assert!(text(&output.stderr).contains(problem), "{output:?}");
    }
    // Where the outputs or inputs cannot be stored, the command just runs.
    for (outputs, input) in [("../gen/", "in"), ("list", "gone")] {
        let words = ["--input", input, "--output", outputs, "--", "sh", "-c", "echo ran >list"];
        assert!(place.run("rewrap", &words).status.success(), "{words:?}");
        assert_eq!(std::fs::read_to_string(place.path("list")).expect("a file"), "ran\n");
    }
}

/// A thin archive stays the same when a member changes that is as long and has the same symbols.
#[test]
fn members_of_thin_archives_are_inputs_of_a_link() {
    let Some(_) = peer("gcc", on_path("gcc")) else { return };
    let mut place = Place::new(
        "mkdir d; echo 'int f(void); int main(void) { return f(); }' >main.c; gcc -c main.c
        for n in 3 4; do echo \"int f(void) { return $n; }\" >f.c; gcc -c f.c -o d/f$n.o; done
        mv d/f3.o d/f.o",
    );
    place.set("RECC_LINK", "1");
    place.reset("");
    for (archive, library) in [
        (&["cDPrsT", "d/lib.a", "d/f.o"][..], "d/lib.a"),
        (&["cDPrsT", "all.a", "d/lib.a"][..], "all.a"),
        (&["rcsT", "d/liball.a", "d/f.o"][..], "-Ld -lall"),
    ] {
        let made = place.run("rear", archive);
        assert!(made.status.success(), "{made:?}");
        let before = std::fs::read(place.path("d/lib.a")).expect("an archive");
        let mut words = vec!["gcc", "-o", "app", "main.o"];
        words.extend(library.split(' '));
        for (member, returned) in [(None, 3), (Some("d/f4.o"), 4), (None, 4)] {
            if let Some(member) = member {
                std::fs::rename(place.path("d/f.o"), place.path("d/f3.o")).expect("renamed");
                std::fs::rename(place.path(member), place.path("d/f.o")).expect("renamed");
            }
            let linked = place.run("recc", &words);
            assert!(linked.status.success(), "{linked:?}");
            let app = place.path("app").display().to_string();
            assert_eq!(place.run(&app, &[]).status.code(), Some(returned), "{library}");
            assert!(std::fs::read(place.path("d/lib.a")).is_ok_and(|now| now == before));
        }
        std::fs::rename(place.path("d/f.o"), place.path("d/f4.o")).expect("renamed");
        std::fs::rename(place.path("d/f3.o"), place.path("d/f.o")).expect("renamed");
    }
    assert!(place.figure("hits") >= 3);
}

/// A tool of somebody: it joins its inputs and what these include.
const SHOUT: &str = r##"#!/bin/sh
out= deps= ins= count=1
while [ $# -gt 0 ]; do case $1 in
    --out=*) out=${1#*=};; --deps=*) deps=${1#*=};; -n) count=$2; shift;; *) ins="$ins $1";;
esac; shift; done
all="$ins $(sed -n 's/^include //p' $ins)"
if [ -n "$deps" ]; then printf '%s\n' $all >"$deps"; exit; fi
echo ran >>../ran
while [ $count -gt 0 ]; do cat $all; count=$((count - 1)); done >"$out"
"##;

const SHOUT_TOML: &str = r##"
[shout]
programs = ["shout"]
output = ["--out"]
value = ["-n"]
plain = ["-v"]
dependency-options = ["--deps={dependencies}"]
dependency-drops = ["--out"]
"##;

#[test]
fn a_tool_that_the_user_describes() {
    let mut place = Place::new("echo one >one; printf 'include one\\ntwo\\n' >two");
    place.reset("");
    let bin = place.root().join("bin");
    std::fs::create_dir(&bin).expect("made");
    std::fs::write(bin.join("shout"), SHOUT).expect("written");
    make_executable(&bin.join("shout"));
    std::os::unix::fs::symlink(bin_dir().join("rewrap"), bin.join("reshout")).expect("a link");
    let file = place.root().join("tools.toml");
    std::fs::write(&file, SHOUT_TOML).expect("written");
    place.set("PATH", &format!("{}:{}:/usr/bin:/bin", bin.display(), bin_dir().display()));
    place.set("RECC_TOOLS_FILE", &file.display().to_string());
    let reshout = bin.join("reshout").display().to_string();
    let ran =
        || std::fs::read_to_string(place.root().join("ran")).unwrap_or_default().lines().count();
    let shout = |words: &[&str]| {
        let _ = std::fs::remove_file(place.path("out"));
        let output = place.run(&reshout, words);
        assert!(output.status.success(), "{output:?}");
        std::fs::read_to_string(place.path("out")).expect("an output")
    };
    let words = ["-n", "2", "--out=out", "two"];
    let first = shout(&words);
    assert_eq!(first.matches("one\n").count(), 4, "{first}");
    assert_eq!((shout(&words) == first, ran()), (true, 1), "a hit");
    // What the command does not name is an input.
    std::fs::write(place.path("one"), "uno\n").expect("written");
    assert_eq!((shout(&words).matches("uno").count(), ran()), (2, 2));
    std::fs::write(place.path("one"), "one\n").expect("written");
    assert_eq!((shout(&words) == first, ran()), (true, 2), "a hit again");
    // An option that nobody described.
    shout(&["-x", "--out=out", "one", "two"]);
    assert!(place.stats().contains("operation"));
    assert_eq!(ran(), 3);
}

#[test]
fn mistakes_in_a_description_are_named() {
    let mut place = Place::new("echo one >one");
    place.reset("");
    let reshout = place.root().join("reshout");
    std::os::unix::fs::symlink(bin_dir().join("rewrap"), &reshout).expect("a link");
    let file = place.root().join("tools.toml");
    let shown = file.display().to_string();
    place.set("RECC_TOOLS_FILE", &shown);
    for (text_of_file, expected) in [
        (None, "No such file"),
        (Some("[shout\n"), "line 1"),
        (Some("[shout]\nprograms = [\"shout\"]\noutptu = [\"-o\"]\n"), "unknown field `outptu`"),
        (Some("[shout]\nprograms = \"shout\"\noutput = [\"-o\"]\n"), "expected a sequence"),
        (
            Some("[shout]\nprograms = [\"shout\"]\noperands = \"files\"\n"),
            "unknown variant `files`",
        ),
        (Some("[shout]\noutput = [\"-o\"]\n"), "missing field `programs`"),
        (Some("[shout]\nprograms = []\noutput = [\"-o\"]\n"), "`programs` names none"),
        (Some("[shout]\nprograms = [\"shout\"]\n"), "nothing says what it writes"),
        (Some("[shout]\nprograms = [\"shout\"]\noutput = [\"o\"]\n"), "the option `o`"),
        (Some("[other]\nprograms = [\"o\"]\noutput = [\"-o\"]\n"), "no description of `shout`"),
    ] {
        let _ = std::fs::remove_file(&file);
        if let Some(text_of_file) = text_of_file {
            std::fs::write(&file, text_of_file).expect("written");
        }
        let output = place.run(&reshout.display().to_string(), &["-o", "x", "one"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(100), "{text_of_file:?}: {said}");
        assert!(said.contains(expected), "{text_of_file:?}: {said}");
        let names_file = said.contains(&shown) || expected.contains("no description");
        assert!(names_file, "{text_of_file:?}: {said}");
    }
}
