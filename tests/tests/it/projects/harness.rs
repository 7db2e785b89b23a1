//! Builds a project plainly, cold and warm, at the same path, since paths end up in what is built.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use forerunner_tests::{bin, bin_dir, temp};

use super::compare::{self, Products};
use super::spy;

/// A project and how it is built.
pub(crate) struct Project<'a> {
    pub(crate) name: &'static str,
    /// Puts its sources into a folder that is there and empty.
    pub(crate) unpack: &'a dyn Fn(&Path),
    /// A script that prepares the build. It sees `CC`, `CXX`, `AR`, `RANLIB`, `STRIP`, and
    /// `LAUNCHER`, which is empty in the plain build.
    pub(crate) configure: &'a str,
    /// A script that builds; the same variables.
    pub(crate) build: &'a str,
    pub(crate) messages: Messages,
    /// A tool that is started with one of these words in a warm build is a probe that cannot be
    /// cached.
    pub(crate) probes: &'a [&'a str],
    /// Guards against comparing nothing.
    pub(crate) least_products: usize,
}

/// How messages of two builds are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Messages {
    /// One command after the other: the text is the same.
    Ordered,
    /// Several at once: the lines are the same.
    AnyOrder,
}

/// What a script said and how it ended.
pub(crate) struct Said {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// One build.
pub(crate) struct Built {
    pub(crate) configure: Said,
    pub(crate) build: Said,
    pub(crate) products: Products,
}

/// All three, and the tools that the last one started.
pub(crate) struct Thrice {
    pub(crate) plain: Built,
    pub(crate) cold: Built,
    pub(crate) warm: Built,
    /// `None` if programs cannot be watched here.
    pub(crate) tools_started_warm: Option<Vec<String>>,
    /// What `recc --stats` says of the last one.
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    /// What the wrappers logged of the last two.
    pub(crate) log: String,
}

/// Builds thrice and demands that everything is equal and the last build all hits.
pub(crate) fn check(project: &Project<'_>) {
    let thrice = build_thrice(project);
    let said = &thrice.plain.build;
    assert_eq!(said.status, Some(0), "{}: plain: {}{}", project.name, said.stdout, said.stderr);
    compare(project, &thrice);
    let (hits, misses) = (thrice.hits, thrice.misses);
    let (name, log) = (project.name, &thrice.log);
    assert!(hits > 0 && misses == 0, "{name}: {hits} hits, {misses} misses\n{log}");
    if let Some(tools) = &thrice.tools_started_warm {
        let probe = |tool: &String| project.probes.iter().any(|probe| tool.contains(probe));
        let tools: Vec<_> = tools.iter().filter(|tool| !probe(tool)).cloned().collect();
        assert!(
            tools.is_empty(),
            "{}: the warm build started {} tools:\n{}",
            project.name,
            tools.len(),
            tools[tools.len().saturating_sub(40)..].join("\n")
        );
    }
}

/// Demands that all three builds made the same, said the same and ended alike.
pub(crate) fn compare(project: &Project<'_>, thrice: &Thrice) {
    let plain = &thrice.plain;
    let count = plain.products.len();
    assert!(count >= project.least_products, "{}: {count} products only", project.name);
    for (kind, other) in [("cold", &thrice.cold), ("warm", &thrice.warm)] {
        let what = format!("{}, {kind}", project.name);
        assert_eq!(
            plain.configure.status, other.configure.status,
            "{what}: configuring: {}{}",
            other.configure.stdout, other.configure.stderr
        );
        assert_eq!(
            plain.build.status, other.build.status,
            "{what}: {}{}",
            other.build.stdout, other.build.stderr
        );
        let texts = [
            ("standard error", &plain.build.stderr, &other.build.stderr),
            ("standard output", &plain.build.stdout, &other.build.stdout),
        ];
        for (stream, plain, ours) in texts {
            compare::same_text(&format!("{what}: {stream}"), plain, ours, project.messages);
        }
        compare::same_products(&what, &plain.products, &other.products);
    }
}

/// Builds plainly, cold and warm.
pub(crate) fn build_thrice(project: &Project<'_>) -> Thrice {
    let folder = temp();
    let root = std::fs::canonicalize(folder.path()).expect("a folder");
    let site = Site { root };
    let plain = site.build(project, false, None);
    let cold = site.build(project, true, None);
    let log = spy::available().then(|| site.root.join("execs"));
    let warm = site.build(project, true, log.as_deref());
    let tools_started_warm = log.map(|log| spy::tools(&log));
    let (hits, misses) = site.figures();
    let log = site.log();
    Thrice { plain, cold, warm, tools_started_warm, hits, misses, log }
}

struct Site {
    root: PathBuf,
}

impl Site {
    fn build(&self, project: &Project<'_>, ours: bool, log: Option<&Path>) -> Built {
        let place = self.root.join("build");
        if place.exists() {
            std::fs::remove_dir_all(&place).expect("removed");
        }
        std::fs::create_dir_all(&place).expect("made");
        (project.unpack)(&place);
        let script = |text: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", text]);
            command
        };
        let configure = self.say(&mut script(project.configure), &place, ours);
        if ours {
            self.say(&mut script("recc --zero-stats"), &place, true);
        }
        let mut command = match log {
            Some(log) => spy::watch(log, "sh", &["-c", project.build]),
            None => script(project.build),
        };
        let build = self.say(&mut command, &place, ours);
        let products = compare::products(&place);
        Built { configure, build, products }
    }

    /// Where the wrappers say what they do.
    fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    fn log(&self) -> String {
        let files = std::fs::read_dir(self.logs()).into_iter().flatten().filter_map(Result::ok);
        let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
        texts.collect::<Vec<_>>().join("\n")
    }

    /// Hits and misses since the last build began.
    fn figures(&self) -> (u64, u64) {
        let mut command = Command::new("recc");
        let said = self.say(command.arg("--stats"), &self.root.join("build"), true).stdout;
        let since = said.split("since the last --zero-stats").nth(1).unwrap_or_default();
        let figure = |name: &str| {
            let line = since.lines().find(|line| line.trim_start().starts_with(name));
            let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
            number.unwrap_or_else(|| panic!("no {name} in:\n{said}"))
        };
        (figure("hits"), figure("misses"))
    }

    /// Runs a script with an environment of its own and nothing of ours.
    fn say(&self, command: &mut Command, place: &Path, ours: bool) -> Said {
        // Both builds see the same PATH, which is part of what is compared.
        let inherited = std::env::var("PATH").unwrap_or_default();
        let programs = bin_dir();
        let home = self.root.join("home");
        std::fs::create_dir_all(&home).expect("made");
        command
            .current_dir(place)
            .env_clear()
            .env("PATH", format!("{}:{inherited}", programs.display()))
            .env("HOME", &home)
            .env("LC_ALL", "C.UTF-8")
            .env("FORERUNNER_STORE", self.root.join("store"))
            .env("RECC_LOG_LEVEL", "debug")
            .env("RECC_LOG_DIRECTORY", self.logs());
        let tools = match ours {
            true => [
                ("CC", "recc gcc"),
                ("CXX", "recc g++"),
                ("AR", "rear"),
                ("RANLIB", "reranlib"),
                ("STRIP", "restrip"),
                ("LAUNCHER", "recc"),
            ],
            false => [
                ("CC", "gcc"),
                ("CXX", "g++"),
                ("AR", "ar"),
                ("RANLIB", "ranlib"),
                ("STRIP", "strip"),
                ("LAUNCHER", ""),
            ],
        };
        if ours {
            let wrappers = ["recc", "rear", "reranlib", "restrip"];
            assert!(wrappers.iter().all(|name| bin(name).exists()));
        }
        let output = command
            .envs(tools)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let text =
            |bytes: &[u8]| compare::without_wrappers(&String::from_utf8_lossy(bytes), &programs);
        Said {
            status: output.status.code(),
            // CMake shows where it found the tools.
            stdout: text(&output.stdout).replace("/usr/bin/", ""),
            stderr: text(&output.stderr),
        }
    }
}
