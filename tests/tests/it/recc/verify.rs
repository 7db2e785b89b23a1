//! `RECC_VERIFY` and figures, beside the reference where it is there.

use std::process::{Command, Output};

use forerunner_tests::{bin, on_path, peer};

use super::Place;
use super::remote::both;
use crate::runner::Lab;

/// What a run said about the comparison, without the digests.
fn said(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines = text.lines().filter_map(|line| line.find("recc verify").map(|at| &line[at..]));
    let mut lines: Vec<String> = lines
        .map(|line| {
            let hidden = |word: &str| {
                let word = word.trim_end_matches(',');
                word.split_once('/').is_some_and(|(hash, _)| hash.len() == 64)
            };
            let words = line.split(' ').map(|word| if hidden(word) { "…" } else { word });
            words.collect::<Vec<_>>().join(" ")
        })
        .collect();
    // The reference says some things twice.
    lines.dedup();
    lines
}

fn on_host(place: &Place, recc: &mut Command, url: &str) {
    place.dress(recc);
    recc.env("RECC_SERVER", url)
        .env("RECC_DEPS_GLOBAL_PATHS", "1")
        .env("RECC_NO_PATH_REWRITE", "1")
        .env("RECC_REMOTE_PLATFORM_OSFamily", "linux");
}

#[test]
fn what_is_made_here_and_there_is_compared() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let runner = format!("--buildbox-run={}", bin("buildbox-run").display());
    let arguments = [runner, "--runner-arg=--host-toolchain".to_owned()];
    let Some(lab) = Lab::casd_with(&arguments) else { return };
    let url = lab.casd.as_ref().expect("casd").url();
    let match_of = |name: &str| {
        [
            "recc verify: Local build".to_owned(),
            "recc verify: Remote execution".to_owned(),
            "recc verify: Local action digest … remote action digest …".to_owned(),
            format!("recc verify: File digest match for '{name}': …"),
        ]
    };
    for (name, recc) in both() {
        let place = Place::new();
        place.write("a.c", "int a(void) { return 1; }\n");
        place.write("t.c", "int broken = ;\n");
        let program = recc.get_program().to_owned();
        let before: Vec<_> = recc.get_args().map(ToOwned::to_owned).collect();
        let run = |level: &str, words: &[&str]| {
            let mut recc = Command::new(&program);
            on_host(&place, &mut recc, &url);
            recc.args(&before).env("RECC_VERIFY", "1").env("RECC_LOG_LEVEL", level).args(words);
            recc.output().expect("recc")
        };
        let compile = ["gcc", "-c", "a.c", "-o", "a.o"];
        let output = run("info", &compile);
        assert_eq!(output.status.code(), Some(0), "{name}: {output:?}");
        assert_eq!(said(&output), match_of("a.o"), "{name}");
        assert_eq!(said(&run("error", &compile)), Vec::<String>::new(), "{name}");
        let output = run("error", &["gcc", "-c", "t.c", "-o", "t.o"]);
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        place.write("out/x.h", "#define X 1\n");
        let directory = |level: &str| {
            let mut recc = Command::new(&program);
            on_host(&place, &mut recc, &url);
            recc.args(&before).env("RECC_VERIFY", "1").env("RECC_LOG_LEVEL", level);
            recc.env("RECC_OUTPUT_DIRECTORIES_OVERRIDE", "out");
            recc.env("RECC_OUTPUT_FILES_OVERRIDE", "out/a.o");
            recc.args(["gcc", "-Iout", "-c", "e.c", "-o", "out/a.o"]).output().expect("recc")
        };
        place.write("e.c", "#include <x.h>\nint e = X;\n");
        let mut expected = match_of("out/a.o").to_vec();
        // The reference does not count the directories that are here.
        let of_reference = "recc verify: Different number of output directories";
        let ours = name == "ours";
        let matches = "recc verify: Directory digest match for 'out': …";
        expected.push(if ours { matches } else { of_reference }.to_owned());
        let output = directory("info");
        assert_eq!(said(&output), expected, "{name}");
        assert_eq!(output.status.success(), ours, "{name}: {output:?}");
        // A file that only this machine has.
        place.write("out/more", "");
        let differs = "recc verify: Directory digest mismatch for 'out': local … remote …";
        let output = directory("error");
        assert_eq!(said(&output), [if ours { differs } else { of_reference }], "{name}");
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        place.write("d.c", "const char *t = __TIME__ __TIMESTAMP__;\n");
        let output = run("error", &["gcc", "-c", "d.c", "-o", "d.o"]);
        let text = said(&output);
        if output.status.success() {
            // Within the same second.
            assert!(text.is_empty(), "{name}: {text:?}");
        } else {
            assert_eq!(
                text,
                ["recc verify: File digest mismatch for 'd.o': local … remote …"],
                "{name}"
            );
        }
        let mut gone = Command::new(&program);
        on_host(&place, &mut gone, "unix:/nonexistent/socket");
        gone.args(&before).env("RECC_VERIFY", "1").args(compile);
        let output = gone.output().expect("recc");
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        let text = said(&output).join("\n");
        assert!(text.contains("recc verify failed during remote execution: "), "{name}: {text}");
    }
}

/// Names of figures; the values depend on the machine.
fn names(place: &Place) -> Vec<String> {
    let file = place.work().join("figures");
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let _ = std::fs::remove_file(file);
    let lines = text.lines().filter(|line| line.starts_with("recc."));
    let mut names: Vec<String> =
        lines.filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn figures_have_the_names_of_the_reference() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let Some(lab) = Lab::casd_with(&[]) else { return };
    let url = lab.casd.as_ref().expect("casd").url();
    let mut all = Vec::new();
    for (name, recc) in both() {
        let place = Place::new();
        place.write("a.c", "int main(void) { return 1; }\n");
        let program = recc.get_program().to_owned();
        let before: Vec<_> = recc.get_args().map(ToOwned::to_owned).collect();
        let run = |settings: &[(&str, &str)], words: &str| {
            let mut recc = Command::new(&program);
            on_host(&place, &mut recc, &url);
            recc.args(&before)
                .env("RECC_ENABLE_METRICS", "1")
                .env("RECC_METRICS_FILE", "figures")
                .env("RECC_ACTION_SALT", name)
                .env("RECC_MANIFEST", "")
                .envs(settings.iter().copied())
                .args(words.split(' '));
            drop(recc.output().expect("recc"));
            names(&place)
        };
        let caches = [("RECC_CACHE_ONLY", "1"), ("RECC_CACHE_UPLOAD_LOCAL_BUILD", "1")];
        let compile = "gcc -c a.c -o a.o";
        let links = [&caches[..], &[("RECC_LINK", "1")]].concat();
        all.push((
            name,
            [
                run(&caches, compile),
                run(&caches, compile),
                run(&links, "gcc a.o -o prog"),
                run(&links, "gcc a.o -o prog"),
                run(&caches, "gcc -E a.c"),
                run(&caches, "true"),
                run(&[&caches[..], &[("RECC_SKIP_CACHE", "1")]].concat(), compile),
                run(
                    &[&caches[..], &[("RECC_INVALID_INPUT_PATHS_REGEX", ".*a[.]c")]].concat(),
                    compile,
                ),
                run(
                    &[("RECC_SERVER", "unix:/nonexistent/s"), ("RECC_FALLBACK_TO_LOCAL", "1")],
                    compile,
                ),
            ],
        ));
    }
    // How long a command ran after all else failed is only told by us.
    let (_, ours) = &mut all[0];
    ours[8].retain(|name| name != "recc.execute_local_no_action_result");
    if let [(_, ours), (_, reference)] = all.as_slice() {
        assert_eq!(ours, reference);
    }
    let (_, ours) = &all[0];
    assert!(ours[0].contains(&"recc.upload_blobs_cache_miss".to_owned()), "{ours:?}");
    assert!(ours[8].contains(&"recc.fallback".to_owned()), "{ours:?}");
}
