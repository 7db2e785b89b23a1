//! The cycle with BuildStream as it is released.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use forerunner_tests::{bin, bin_dir, buildbox, checkout, peer, peers, run, temp};
use serde_json::Value;

struct Project {
    folder: tempfile::TempDir,
    bst: PathBuf,
    casd: PathBuf,
}

impl Project {
    fn new() -> Option<Self> {
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
        std::fs::write(at.join("bst.conf"), format!("cachedir: {}/cache\n", at.display()))
            .expect("the configuration");
        Some(Self { folder, bst, casd })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn build(&self) {
        let mut command = Command::new(&self.bst);
        command.arg("--no-colors").arg("--config").arg(self.path("bst.conf"));
        command.args(["build", "app.bst"]);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", bin_dir().display()));
        command.env("HOME", self.folder.path()).current_dir(self.path("project"));
        run(&mut command);
    }

    fn speculate(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(bin("speculate"));
        command.args(arguments).env("HOME", self.folder.path());
        command.arg("--casd-cache").arg(self.path("cache")).arg("--casd").arg(&self.casd);
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
    project.build();
    let first = project.asked(&project.import("after.json"));
    // Three compiles, two archives and their indices, a link.
    assert!(first.len() >= 6, "{first:?}");

    let header = project.path("project/files/num/num.h");
    let text = std::fs::read_to_string(&header).expect("the header");
    std::fs::write(&header, text.replace("? NUM_LIMIT", "? NUM_LIMIT - 1")).expect("the header");
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
