//! What the options of `speculate` do, as far as no other test is about it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use forerunner_merkle::Digest;
use forerunner_proto::buildstream::SpeculativeActions;
use forerunner_proto::{Message, reapi};
use forerunner_tests::{at_home, bin, buildbox, checkout, on_path, peer, run, temp};
use serde_json::{Value, json};

use crate::scripted::operations::over;
use crate::speculate_calls::Scene;
use crate::speculate_prime::{Home, prepared};

/// The commands, and those below them.
const COMMANDS: [&[&str]; 17] = [
    &["generate"],
    &["instantiate"],
    &["prime"],
    &["show"],
    &["record"],
    &["report"],
    &["index"],
    &["index", "export"],
    &["import"],
    &["import", "buildstream"],
    &["verify"],
    &["store"],
    &["store", "stats"],
    &["store", "verify"],
    &["store", "gc"],
    &["store", "forget"],
    &["demo"],
];

/// The long options that a help text offers, but for those that every program has.
fn options(help: &str) -> BTreeSet<String> {
    let letters = |c: char| c.is_ascii_lowercase() || c == '-';
    let offered = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let names = offered.filter_map(|line| Some(&line[line.find("--")?..]));
    let names = names.map(|name| name.chars().take_while(|c| letters(*c)).collect::<String>());
    names.filter(|name| !matches!(name.as_str(), "--help" | "--version")).collect()
}

/// An option that no test uses may do anything.
#[test]
fn every_option_is_in_a_test() {
    let help = |words: &[&str]| run(Command::new(bin("speculate")).args(words).arg("--help"));
    let mut all = options(&help(&[]));
    for words in COMMANDS {
        all.extend(options(&help(words)));
    }
    // Every command is among those above.
    for (words, text) in
        [(&[][..], help(&[])), (&["index"], help(&["index"])), (&["store"], help(&["store"]))]
    {
        let list = text.split("Commands:").nth(1).expect("commands").lines().skip(1);
        let names = list.map_while(|line| line.strip_prefix("  ")?.split(' ').next());
        for name in names.filter(|name| !name.is_empty() && *name != "help") {
            let known = [words, &[name]].concat();
            assert!(COMMANDS.contains(&known.as_slice()), "{known:?} is new");
        }
    }
    assert!(all.contains("--max-share") && all.contains("--dot") && all.len() > 25, "{all:?}");
    let mut tests = String::new();
    let mut folders = vec![checkout().join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path if path.extension().is_some_and(|end| end == "rs") => {
                    tests.push_str(&std::fs::read_to_string(path).expect("a test"));
                }
                _ => {}
            }
        }
    }
    let used = |option: &String| {
        let after = |end: char| !(end.is_ascii_alphanumeric() || end == '-');
        let mut places = tests.match_indices(option.as_str());
        places.any(|(at, text)| tests[at + text.len()..].starts_with(after))
    };
    let unused: Vec<&String> = all.iter().filter(|option| !used(option)).collect();
    assert!(unused.is_empty(), "no test uses {unused:?}");
}

/// Two elements of which the lower one changes, and what the server was asked to execute for `command`.
fn executions(command: &[&str], priorities: &[(i32, i32)]) -> Vec<reapi::ExecuteRequest> {
    let scene = Scene::new();
    let elements = [scene.element("leaf", None, "leaf"), scene.element("top", Some("leaf"), "top")];
    let mut elements = elements.map(|made| made.json);
    let graph = scene.graph("after.json", &elements);
    scene.speculate(&["generate", "--graph", &graph]);
    if command[0] == "prime" {
        let changed = [("leaf.h".to_owned(), "changed".to_owned())];
        elements[0]["sources"] = json!(scene.tree(&changed.to_vec()).to_string());
        for element in &mut elements {
            element.as_object_mut().expect("an object").remove("artifact");
        }
    }
    let graph = scene.graph("before.json", &elements);
    scene.server.set_execution(priorities);
    scene.server.set_operations((0..2).map(|_| vec![Ok(over("done", 0))]).collect());
    let mut words = command.to_vec();
    words.extend(["--graph", &graph, "--instance=some/instance"]);
    let output = Command::new(bin("speculate"))
        .args(words)
        .arg(format!("--remote={}", scene.url))
        .env("HOME", scene.folder.path())
        .output()
        .expect("an end");
    assert!(output.status.code().is_some_and(|code| code <= 1), "{output:?}");
    let instances = scene.server.instances();
    assert!(instances.contains("some/instance"), "{instances:?}");
    scene.server.executed()
}

/// What is executed in advance must not hold up what is waited for.
#[test]
fn the_lowest_priority_is_asked_for() {
    for (ranges, lowest) in [(&[][..], i32::MAX), (&[(-10, 10), (20, 30)], 30)] {
        for command in [&["prime", "--quiet"][..], &["verify"]] {
            let executions = executions(command, ranges);
            assert_eq!(executions.len(), 2, "{command:?}");
            for request in executions {
                let policy = request.execution_policy.expect("a policy");
                assert_eq!(policy.priority, lowest, "{command:?} {ranges:?}");
                assert_eq!(request.instance_name, "some/instance");
                assert_eq!(request.skip_cache_lookup, command[0] == "verify");
            }
        }
    }
}

/// The same on this machine, where priority is what `nice` says.
#[test]
fn runners_of_this_machine_are_nice() {
    let home = Home::new();
    let action = home.recorded("nice > o; cat a.h > /dev/null", ("o", "0\n"), &[("work/a.h", "a")]);
    let graph = prepared(&home, &[action], &[("a.h", "a")], &[("a.h", "b")]);
    run(&mut home.speculate(&["prime", "--quiet", "--graph", &graph]));
    let asked = home.action("nice > o; cat a.h > /dev/null", "o", &[("work/a.h", "b")]);
    assert_eq!(home.output(&asked).as_deref(), Some("19\n"));
}

/// The lower element's object is linked by the upper one, which also has a source.
struct Two {
    home: Home,
    actions: [Digest; 3],
    header: Digest,
}

impl Two {
    fn new() -> Self {
        let home = Home::new();
        let low = home.recorded("cat a.h a.h > a.o", ("a.o", "oneone"), &[("work/a.h", "one")]);
        let compile = home.recorded("cat b.h b.h > b.o", ("b.o", "bb"), &[("work/b.h", "b")]);
        let inputs = [("work/b.o", "bb"), ("a.o", "oneone")];
        let link = home.recorded("cat b.o ../a.o > b", ("b", "bboneone"), &inputs);
        let header = home.tree(&[("b.h", "b")]);
        Self { home, actions: [low, compile, link], header }
    }

    fn graph(&self, low: &str, high: &Digest, built: bool) -> String {
        let [object, compile, link] = self.actions.map(|digest| digest.to_string());
        let sources = self.home.tree(&[("a.h", low)]).to_string();
        let mut low = json!({ "name": "low", "sources": sources });
        let mut high = json!({ "name": "high", "depends": ["low"], "sources": high.to_string() });
        if built {
            low["artifact"] = json!(self.home.tree(&[("a.o", "oneone")]).to_string());
            low["subactions"] = json!([object]);
            high["subactions"] = json!([compile, link]);
        }
        self.home.graph("graph.json", &json!({ "elements": [low, high] }))
    }

    /// What becomes of all three actions, if both sources change.
    fn states(&self, mode: &str) -> Vec<String> {
        let high = self.home.tree(&[("b.h", "changed")]);
        let graph = self.graph("changed", &high, false);
        let dry =
            run(&mut self.home.speculate(&["instantiate", "--mode", mode, "--graph", &graph]));
        let line = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
        let state = |line: Value| line["state"].as_str().expect("a state").to_owned();
        dry.lines().map(|text| state(line(text))).collect()
    }

    fn prime(&self, mode: &str) -> Value {
        let high = self.home.tree(&[("b.h", "changed")]);
        let graph = self.graph("changed", &high, false);
        let prime = ["prime", "--quiet", "--json", "--mode", mode, "--graph", &graph];
        let said = run(&mut self.home.speculate(&prime));
        serde_json::from_str::<Value>(&said).expect("JSON")["total"].clone()
    }
}

#[test]
fn modes_say_how_far_origins_are_followed() {
    let two = Two::new();
    let generate = |mode: &str| {
        let graph = two.graph("one", &two.header, true);
        let said = run(&mut two.home.speculate(&["generate", "--mode", mode, "--graph", &graph]));
        let value: Value = serde_json::from_str(&said).expect("JSON");
        value["elements"][1]["speculative_actions"].as_str().map(str::to_owned)
    };
    for mode in ["none", "prime-only"] {
        assert_eq!(generate(mode), None, "{mode}");
        assert_eq!(two.states("full"), Vec::<String>::new());
    }
    // The object comes with the artifact, which is not there; `b.o` is what it was.
    assert!(generate("source-artifact").is_some());
    assert_eq!(two.states("full"), ["changed", "changed", "deferred"]);
    assert!(generate("full").is_some());
    assert_eq!(two.states("full"), ["changed", "changed", "deferred"]);
    assert_eq!(two.states("none"), ["unchanged"; 3]);
    assert_eq!(two.prime("none")["executed"], 0);
    // Known are the sources; the artifact of the lower element is to come.
    let counts = two.prime("source-artifact");
    assert_eq!(counts["executed"], 2, "{counts}");
    assert_eq!(counts["skipped"], json!({ "artifact-unknown": 1 }), "{counts}");
    let counts = two.prime("intra-element");
    assert_eq!((&counts["executed"], &counts["cached"]), (&json!(0), &json!(2)), "{counts}");
    assert_eq!(counts["skipped"], json!({ "artifact-unknown": 1 }), "{counts}");
    // What an action of the lower element makes stands for it.
    let counts = two.prime("prime-only");
    assert_eq!((&counts["executed"], &counts["cached"]), (&json!(1), &json!(2)), "{counts}");
    let unknown = two.home.speculate(&["prime", "--mode=all", "--element=x"]).output();
    let said = String::from_utf8(unknown.expect("an end").stderr).expect("text");
    assert!(said.contains("prime-only"), "{said}");
}

#[test]
fn the_form_of_the_pull_request_is_written() {
    let two = Two::new();
    let mut dry = Vec::new();
    for format in ["table", "pr2109"] {
        let graph = two.graph("one", &two.header, true);
        let generate = ["generate", "--graph", &graph, "--format", format];
        let said: Value =
            serde_json::from_str(&run(&mut two.home.speculate(&generate))).expect("JSON");
        let message = said["elements"][1]["speculative_actions"].as_str().expect("a digest");
        let bytes = two.home.store.get(&message.parse().expect("a digest")).expect("the store");
        let message = SpeculativeActions::decode(&*bytes.expect("a message")).expect("a message");
        // Its reader knows nothing else.
        let expanded = message.actions.iter().all(|action| !action.overlays.is_empty());
        assert_eq!(expanded, format == "pr2109", "{message:?}");
        dry.push(two.states("full"));
    }
    assert_eq!(dry[0], dry[1]);
    let unknown = two.home.speculate(&["generate", "--format=x", "--element=x"]).output();
    assert_eq!(unknown.expect("an end").status.code(), Some(2));
}

/// The whole way of one element: record, generate, change, prime, record. Answers with what the last
/// build said.
fn cycle(home: &Path, endpoint: &[String]) -> (Output, String) {
    let work = home.join("work");
    std::fs::create_dir(&work).expect("a folder");
    let speculate = |words: &[&str]| {
        let mut command = at_home("speculate", &work, home);
        command.args(endpoint).args(words).env("RECC_LOG_LEVEL", "info");
        let output = command.output().expect("an end");
        assert!(output.status.success(), "{words:?}: {output:?}");
        output
    };
    let build = || speculate(&["record", "--sources=.", "--", "recc", "gcc", "-c", "a.c"]);
    std::fs::write(work.join("a.c"), "int a;\n").expect("a source");
    build();
    // Without a name it is the default.
    speculate(&["generate", "--element=default"]);
    std::fs::remove_file(work.join("a.o")).expect("an object");
    std::fs::write(work.join("a.c"), "int b;\n").expect("a source");
    let primed = speculate(&["prime", "--json", "--element=default", "--sources=."]);
    (primed, String::from_utf8_lossy(&build().stderr).into_owned())
}

#[test]
fn any_digest_function_will_do() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    for function in ["SHA512", "BLAKE3"] {
        let home = temp();
        let (_, said) = cycle(home.path(), &[format!("--digest-function={function}")]);
        assert!(said.contains("Action Cache hit"), "{function}: {said}");
        assert!(home.path().join("store/ac").join(function.to_lowercase()).is_dir());
    }
    let unknown = Command::new(bin("speculate")).args(["show", "--digest-function=CRC"]).output();
    assert_eq!(unknown.expect("an end").status.code(), Some(2));
}

/// What casd passes on to our runner: without the host's toolchain there is no compiler.
#[test]
fn arguments_reach_the_runners_of_a_casd_of_ours() {
    let Some(casd) = peer("buildbox-casd", buildbox("buildbox-casd")) else { return };
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    for with in [true, false] {
        let home = temp();
        let cache = home.path().join("cache");
        std::fs::create_dir_all(cache.join("cas/objects")).expect("a cache");
        let mut endpoint =
            vec![format!("--casd-cache={}", cache.display()), format!("--casd={}", casd.display())];
        endpoint.extend(with.then(|| "--casd-runner-arg=--host-toolchain".to_owned()));
        let (primed, said) = cycle(home.path(), &endpoint);
        let counts: Value = serde_json::from_slice(&primed.stdout).expect("JSON");
        assert_eq!(counts["total"]["executed"], u64::from(with), "{primed:?}");
        assert_eq!(said.contains("Action Cache hit"), with, "{said}");
    }
}

#[test]
fn the_demo_leaves_its_stores_if_told_so() {
    if peer("g++", on_path("g++")).is_none() {
        return;
    }
    let home = temp();
    let mut demo = Command::new(bin("speculate"));
    demo.args(["demo", "--keep"]).env("TMPDIR", home.path()).env("HOME", home.path());
    let output = demo.output().expect("an end");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{output:?}");
    let folder = said.lines().find_map(|line| line.split("the stores stay in ").nth(1));
    let folder = Path::new(folder.expect("a folder"));
    assert!(folder.join("store").is_dir() && folder.join("second-store").is_dir(), "{said}");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("all, at once") && table.contains("rebuild, primed"), "{table}");
}
