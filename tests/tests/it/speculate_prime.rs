//! Priming with small shell commands: the runner's hook, news, failures, signals, verification.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use forerunner_merkle::Digest;
use forerunner_proto::{Message, reapi};
use forerunner_store::Store;
use forerunner_tests::{Parcel, bin, config, run, script, temp};
use serde_json::{Value, json};

pub(crate) struct Home {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Store,
}

pub(crate) type Files<'a> = &'a [(&'a str, &'a str)];

impl Home {
    pub(crate) fn new() -> Self {
        let folder = temp();
        let config = config(&folder.path().join("store"), None);
        let store = Store::open(&config.store).expect("a store");
        Self { folder, store }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn tree(&self, files: Files<'_>) -> Digest {
        let mut parcel = packed(files);
        let root = parcel.tree();
        self.unpack(parcel);
        root
    }

    fn unpack(&self, parcel: Parcel) {
        for (_, bytes) in parcel.into_blobs() {
            self.store.put(&bytes).expect("a blob");
        }
    }

    /// An action without its result.
    pub(crate) fn action(&self, text: &str, output: &str, inputs: Files<'_>) -> Digest {
        self.command(&script(text, output), inputs)
    }

    pub(crate) fn command(&self, command: &reapi::Command, inputs: Files<'_>) -> Digest {
        let mut parcel = packed(inputs);
        let (action, _) = parcel.action_in_tree(command);
        self.unpack(parcel);
        action
    }

    /// An action whose result is that one output has this content.
    pub(crate) fn recorded(&self, text: &str, output: (&str, &str), inputs: Files<'_>) -> Digest {
        self.recorded_command(&script(text, output.0), output, inputs)
    }

    pub(crate) fn recorded_command(
        &self,
        command: &reapi::Command,
        output: (&str, &str),
        inputs: Files<'_>,
    ) -> Digest {
        let action = self.command(command, inputs);
        let made = self.store.put(output.1.as_bytes()).expect("the output");
        let result = reapi::ActionResult {
            output_files: vec![reapi::OutputFile {
                path: output.0.to_owned(),
                digest: Some(made.to_proto()),
                ..Default::default()
            }],
            ..Default::default()
        };
        self.store.put_action_result(&action, &result.encode_to_vec()).expect("the result");
        action
    }

    pub(crate) fn speculate(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(bin("speculate"));
        command.args(arguments).env("HOME", self.folder.path());
        command.env("FORERUNNER_STORE", self.path("store")).env("FORERUNNER_JOBS", "2");
        command
    }

    pub(crate) fn graph(&self, name: &str, value: &Value) -> String {
        let path = self.path(name);
        std::fs::write(&path, value.to_string()).expect("the graph");
        path.to_str().expect("a path").to_owned()
    }

    pub(crate) fn output(&self, action: &Digest) -> Option<String> {
        let bytes = self.store.action_result(action).expect("the store")?;
        let result = reapi::ActionResult::decode(bytes.as_slice()).expect("a result");
        let digest = Digest::required(result.output_files.first()?.digest.as_ref()).ok()?;
        let content = self.store.get(&digest).expect("the store")?;
        Some(String::from_utf8_lossy(&content).into_owned())
    }
}

fn packed(files: Files<'_>) -> Parcel {
    let mut parcel = Parcel::default();
    for (path, content) in files {
        parcel.file(path, content.to_string(), false);
    }
    parcel
}

fn state(text: &str, index: usize) -> (String, Option<Digest>) {
    let line: Value = serde_json::from_str(text.lines().nth(index).expect("a line")).expect("JSON");
    let action = line["action"].as_str().map(|digest| digest.parse().expect("a digest"));
    (line["state"].as_str().expect("a state").to_owned(), action)
}

/// `cat a.h a.c > a.o`, then `cat a.o > lib`.
fn two_steps(home: &Home, header: &str) -> [Digest; 2] {
    let object = format!("{header}source");
    let compile = home.recorded(
        "cat a.h a.c > a.o",
        ("a.o", &object),
        &[("work/a.h", header), ("work/a.c", "source")],
    );
    let link =
        home.recorded("cat a.o a.o > lib", ("lib", &object.repeat(2)), &[("work/a.o", &object)]);
    [compile, link]
}

#[test]
fn the_runners_hook_needs_no_graph() {
    let home = Home::new();
    let [compile, link] = two_steps(&home, "one ");
    let before = home.tree(&[("work/a.h", "one "), ("work/a.c", "source")]);
    let record = forerunner_reapi::Record {
        element: "work".to_owned(),
        subactions: vec![compile, link],
        input_root: Some(before),
        ..Default::default()
    };
    write_record(&home, &record);
    let after = home.tree(&[("work/a.h", "two "), ("work/a.c", "source")]);
    let action = reapi::Action {
        command_digest: Some(compile.to_proto()),
        input_root_digest: Some(after.to_proto()),
        ..Default::default()
    };
    let file = home.path("action");
    std::fs::write(&file, action.encode_to_vec()).expect("the action");
    let file = file.to_str().expect("a path");
    let prime = ["prime", "--quiet", "--json", "--element", "work", "--action", file];
    let text = run(&mut home.speculate(&prime));
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["total"]["executed"], 2, "{text}");
    let asked = home.action("cat a.o a.o > lib", "lib", &[("work/a.o", "two source")]);
    assert_eq!(home.output(&asked).as_deref(), Some("two sourcetwo source"));
    // Again: everything is there.
    let value: Value = serde_json::from_str(&run(&mut home.speculate(&prime))).expect("JSON");
    assert_eq!((&value["total"]["executed"], &value["total"]["cached"]), (&json!(0), &json!(2)));
}

fn write_record(home: &Home, record: &forerunner_reapi::Record) {
    let config = config(&home.path("store"), None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let endpoint = forerunner_reapi::Endpoint::open(&config).expect("an endpoint");
        forerunner_reapi::record::write(&endpoint, record).await.expect("the record");
    });
}

/// Generates for one element, and answers with the graph before the next build.
pub(crate) fn prepared(
    home: &Home,
    actions: &[Digest],
    before: Files<'_>,
    after: Files<'_>,
) -> String {
    let list: Vec<String> = actions.iter().map(ToString::to_string).collect();
    let sources = home.tree(before).to_string();
    let element = json!({ "name": "lib", "sources": sources, "subactions": list });
    let graph = home.graph("after.json", &json!({ "elements": [element] }));
    run(&mut home.speculate(&["generate", "--graph", &graph]));
    let element = json!({ "name": "lib", "sources": home.tree(after).to_string() });
    home.graph("before.json", &json!({ "elements": [element] }))
}

#[test]
fn a_failure_stops_its_dependents_only() {
    let home = Home::new();
    let [compile, link] = two_steps(&home, "one ");
    // Fails as soon as the header is not what it was.
    let picky = home.recorded("grep -q one a.h; cp a.h b.o", ("b.o", "b"), &[("work/a.h", "one ")]);
    let after_picky = home.recorded("cat b.o > c", ("c", "c"), &[("work/b.o", "b")]);
    let graph = prepared(
        &home,
        &[picky, after_picky, compile, link],
        &[("a.h", "one "), ("a.c", "source")],
        &[("a.h", "two "), ("a.c", "source")],
    );
    let text = run(&mut home.speculate(&["prime", "--json", "--graph", &graph]));
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["total"]["executed"], 2, "{text}");
    assert_eq!(value["total"]["skipped"], json!({ "failed": 1, "producer-skipped": 1 }), "{text}");
    let dry = run(&mut home.speculate(&["instantiate", "--graph", &graph]));
    assert_eq!(state(&dry, 1).0, "deferred");
    assert_eq!(state(&dry, 3).0, "changed");
}

/// The element's own sources changed, so none of its records is of the same: the one that has most
/// files in common is taken, whatever its age.
#[test]
fn the_nearest_record_is_taken() {
    let home = Home::new();
    let files = |first, second| [("a.h", first), ("b.h", second)];
    let record = |script: &str, first: &str, second: &str| {
        let inputs = [("work/a.h", first), ("work/b.h", second)];
        home.recorded(script, ("o", "x"), &inputs)
    };
    let old = record("cat a.h b.h > o", "one", "one");
    let new = record("cat b.h a.h > o", "two", "two");
    prepared(&home, &[old], &files("one", "one"), &files("one", "one"));
    prepared(&home, &[new], &files("two", "two"), &files("two", "two"));
    for (first, second, nearest) in
        [("one", "three", old), ("three", "two", new), ("one", "one", old), ("three", "three", new)]
    {
        let sources = home.tree(&files(first, second)).to_string();
        let elements = json!({ "elements": [{ "name": "lib", "sources": sources }] });
        let graph = home.graph("before.json", &elements);
        let dry = run(&mut home.speculate(&["instantiate", "--graph", &graph]));
        let line: Value = serde_json::from_str(dry.trim()).expect("one line");
        assert_eq!(line["base"], nearest.to_string(), "{first} {second}");
    }
}

/// Elements whose trees are unchanged, and those above them, are not read: nothing of them has to
/// be there, neither their actions nor their trees.
#[test]
fn what_is_unchanged_is_not_even_read() {
    let home = Home::new();
    let tree = |files: Files<'_>| home.tree(files).to_string();
    let mut gone = Vec::new();
    let mut element = |name: &str, depends: &[&str], content: &str| {
        let script = format!("cat {name}.h > {name}.o");
        let input = format!("work/{name}.h");
        let inputs = [(input.as_str(), content)];
        let action = home.recorded(&script, (&format!("{name}.o"), content), &inputs);
        let header = format!("{name}.h");
        let sources = tree(&[(header.as_str(), content)]);
        let artifact = tree(&[(format!("usr/{name}.h").as_str(), content)]);
        if name != "other" {
            gone.extend([action.to_string(), sources.clone(), artifact.clone()]);
            gone.push(tree(&inputs));
        }
        json!({ "name": name, "depends": depends, "sources": sources, "artifact": artifact,
            "subactions": [action.to_string()] })
    };
    let elements = [
        element("base", &[], "base"),
        element("above", &["base"], "above"),
        element("other", &[], "one"),
    ];
    let after = home.graph("after.json", &json!({ "elements": elements }));
    run(&mut home.speculate(&["generate", "--graph", &after]));
    for digest in &gone {
        let hash = digest.split('/').next().expect("a hash");
        let path = home.path("store/cas/sha256").join(&hash[..2]).join(&hash[2..]);
        std::fs::remove_file(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let mut before = elements.to_vec();
    for element in &mut before {
        let fields = element.as_object_mut().expect("an object");
        fields.remove("artifact");
        fields.remove("subactions");
    }
    before[2]["sources"] = json!(tree(&[("other.h", "two")]));
    let graph = home.graph("before.json", &json!({ "elements": before }));
    let text = run(&mut home.speculate(&["prime", "--json", "--graph", &graph]));
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["total"]["skipped"], json!({}), "{text}");
    assert_eq!((&value["total"]["unchanged"], &value["total"]["executed"]), (&json!(2), &json!(1)));
}

#[test]
fn news_of_an_artifact_is_followed() {
    let home = Home::new();
    let link = home.recorded(
        "cat main.o ../usr/lib/z > app",
        ("app", "main z1"),
        &[("work/main.o", "main "), ("usr/lib/z", "z1")],
    );
    let zlib = home.tree(&[("usr/lib/z", "z1")]).to_string();
    let sources = home.tree(&[("main.o", "main ")]).to_string();
    let graph = home.graph(
        "after.json",
        &json!({ "elements": [
            { "name": "app", "depends": ["z"], "sources": sources, "subactions": [link.to_string()] },
            { "name": "z", "artifact": zlib } ] }),
    );
    run(&mut home.speculate(&["generate", "--graph", &graph]));
    let graph = home.graph(
        "before.json",
        &json!({ "elements": [
            { "name": "app", "depends": ["z"], "sources": sources }, { "name": "z" } ] }),
    );
    let text = run(&mut home.speculate(&["prime", "--json", "--graph", &graph]));
    assert!(text.contains("\"artifact-unknown\":1"), "{text}");

    let artifact = home.tree(&[("usr/lib/z", "z2")]);
    let mut command = home.speculate(&["prime", "--json", "--follow", "--graph", &graph]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut input = child.stdin.take().expect("its input");
    writeln!(input, "nonsense").expect("a line");
    writeln!(input, r#"{{"element": "z", "artifact": "{artifact}"}}"#).expect("a line");
    drop(input);
    let output = child.wait_with_output().expect("an end");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("\"executed\":1"), "{text}");
    let asked = home.action(
        "cat main.o ../usr/lib/z > app",
        "app",
        &[("work/main.o", "main "), ("usr/lib/z", "z2")],
    );
    assert_eq!(home.output(&asked).as_deref(), Some("main z2"));
}

/// Waits until `file` is there.
fn wait_for(file: &Path, child: &mut Child) {
    for _ in 0..6000 {
        if file.exists() {
            return;
        }
        assert!(child.try_wait().expect("its state").is_none(), "it ended early");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{} did not appear", file.display());
}

#[test]
fn the_report_is_a_page_that_a_browser_shows() {
    let home = Home::new();
    let actions = two_steps(&home, "one ");
    let graph = prepared(
        &home,
        &actions,
        &[("a.h", "one "), ("a.c", "source")],
        &[("a.h", "two "), ("a.c", "source")],
    );
    let (trace, page) = (home.path("trace.json"), home.path("page.html"));
    let text = |path: &Path| path.to_str().expect("a path").to_owned();
    run(&mut home.speculate(&["prime", "--quiet", "--graph", &graph, "--trace", &text(&trace)]));
    let compile =
        home.action("cat a.h a.c > a.o", "a.o", &[("work/a.h", "two "), ("work/a.c", "source")]);
    let other = home.action("true", "x", &[]);
    // The clock of records has seconds: written later than the trace in any case.
    let record = forerunner_reapi::Record {
        element: "lib".to_owned(),
        subactions: vec![compile, other],
        written: i64::from(u32::MAX),
        ..Default::default()
    };
    write_record(&home, &record);
    let arguments = ["report", "--graph", &graph, "--trace", &text(&trace), "--html", &text(&page)];
    run(&mut home.speculate(&arguments));
    // With a browser at hand, what it makes of the page; else the page itself.
    let shown = match forerunner_tests::on_path("chromium") {
        Some(browser) => {
            let mut command = Command::new(browser);
            command.args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]);
            command.arg(format!("file://{}", page.display())).env("HOME", home.folder.path());
            run(&mut command)
        }
        None => std::fs::read_to_string(&page).expect("the page"),
    };
    assert!(shown.contains("50 % hits") && shown.contains("1 wasted"), "{shown}");
    assert!(shown.contains("id=\"timeline\"") && shown.contains("id=\"graph\""), "{shown}");
}

/// The build asks for an action before what makes its inputs was executed: it is the build's.
#[test]
fn what_the_build_asked_for_early_is_left_to_it() {
    let home = Home::new();
    let mark = home.path("shared");
    std::fs::create_dir(&mark).expect("a folder");
    let script = "if grep -q two a.h; then touch /shared/started; \
        until test -e /shared/go; do sleep 0.05; done; fi; cp a.h a.o";
    let first = home.recorded(script, ("a.o", "one"), &[("work/a.h", "one")]);
    let next = |object| home.recorded("cp a.o b.o", ("b.o", object), &[("work/a.o", object)]);
    let other = home.recorded("cp a.o c.o", ("c.o", "one"), &[("work/a.o", "one")]);
    let graph = prepared(&home, &[first, next("one"), other], &[("a.h", "one")], &[("a.h", "two")]);
    let mut command = home.speculate(&["prime", "--json", "--follow", "--graph", &graph]);
    command.env(
        "FORERUNNER_RUNNER_ARGS",
        format!("--host-toolchain --bind-mount={}:/shared", mark.display()),
    );
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    wait_for(&mark.join("started"), &mut child);
    let mut input = child.stdin.take().expect("its input");
    let asked = home.action("cp a.o b.o", "b.o", &[("work/a.o", "two")]);
    writeln!(input, r#"{{"asked": "{asked}"}}"#).expect("a line");
    writeln!(input, "nonsense").expect("a line");
    // It complains in order: what stood before was heard.
    let mut said = BufReader::new(child.stderr.take().expect("its output")).lines();
    assert!(said.any(|line| line.expect("a line").contains("line 2")));
    std::fs::write(mark.join("go"), "").expect("a file");
    drop(input);
    // Whatever else it says.
    said.for_each(drop);
    let output = child.wait_with_output().expect("an end");
    let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(value["total"]["skipped"], json!({ "cancelled": 1 }), "{value}");
    assert_eq!(value["total"]["executed"], 2, "{value}");
    assert_eq!(home.output(&asked), None);
}

#[test]
fn signals_end_it_cleanly() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let home = Home::new();
        let mark = home.path("shared");
        std::fs::create_dir(&mark).expect("a folder");
        let slow = home.recorded(
            "if grep -q two a.h; then touch /shared/started; sleep 600; fi; cp a.h a.o",
            ("a.o", "one"),
            &[("work/a.h", "one")],
        );
        let next = home.recorded("cp a.o b.o", ("b.o", "one"), &[("work/a.o", "one")]);
        let graph = prepared(&home, &[slow, next], &[("a.h", "one")], &[("a.h", "two")]);
        let mut command = home.speculate(&["prime", "--json", "--graph", &graph]);
        command.env(
            "FORERUNNER_RUNNER_ARGS",
            format!("--host-toolchain --bind-mount={}:/shared", mark.display()),
        );
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        wait_for(&mark.join("started"), &mut child);
        run(Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]));
        let output = child.wait_with_output().expect("an end");
        assert_eq!(output.status.code(), Some(code));
        let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(value["cancelled"], true, "{value}");
        assert_eq!(value["total"]["skipped"], json!({ "cancelled": 2 }), "{value}");
        // What was begun is not in the cache.
        let dry = run(&mut home.speculate(&["instantiate", "--graph", &graph]));
        let (state, action) = state(&dry, 0);
        assert_eq!(state, "changed");
        assert_eq!(home.output(&action.expect("an action")), None);
    }
}

#[test]
fn what_is_not_deterministic_is_named() {
    let home = Home::new();
    let [compile, link] = two_steps(&home, "one ");
    let random =
        home.recorded("cat /proc/sys/kernel/random/uuid > r", ("r", "x"), &[("work/a.h", "a")]);
    let list: Vec<String> = [compile, link, random].iter().map(ToString::to_string).collect();
    let graph = home.graph("g.json", &json!({ "elements": [{ "name": "l", "subactions": list }] }));
    let output = home.speculate(&["verify", "--json", "--graph", &graph]).output().expect("an end");
    let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &value["differs"]), (Some(1), &json!(1)), "{value}");
    assert_eq!(value["actions"][2]["verdict"], "differs", "{value}");
    assert_eq!(value["actions"][0]["verdict"], "same", "{value}");
    assert!(value["actions"][2]["detail"].as_str().is_some_and(|text| text.contains("work/r")));
    // The cached result stays what it was.
    assert_eq!(home.output(&random).as_deref(), Some("x"));
}
