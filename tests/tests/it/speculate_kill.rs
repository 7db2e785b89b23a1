//! Priming that is killed, and endpoints that are: nothing wrong stays in the cache, and the next
//! run goes on. A few kills, each when so many results are there; many in the long form.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use forerunner_merkle::Digest;
use forerunner_proto::{Kept, reapi};
use forerunner_reapi::Endpoint;
use forerunner_tests::{FUNCTION, Parcel, bin, buildbox, config, long, peer, run, script, temp};
use serde_json::{Value, json};

/// Compiles of the project; a link follows.
const UNITS: usize = 12;

pub(crate) type Files = Vec<(String, String)>;

/// What an action is to make, and what it is made of.
pub(crate) struct Step {
    pub(crate) script: String,
    pub(crate) output: String,
    pub(crate) content: String,
    pub(crate) inputs: Files,
}

impl Step {
    /// Adds its action, and everything that that refers to.
    pub(crate) fn pack(&self, parcel: &mut Parcel) -> Digest {
        for (path, content) in &self.inputs {
            parcel.file(path, content.clone(), false);
        }
        parcel.action_in_tree(&script(&self.script, &self.output)).0
    }
}

/// The project with this header: units that include it, and what they are linked to.
fn project(header: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut objects = Files::new();
    for unit in 0..UNITS {
        let content = format!("{header} {unit}");
        // Long enough that a kill finds several under way.
        let script = format!("sleep 0.1; cat a.h u{unit}.c > u{unit}.o");
        let inputs = vec![
            ("work/a.h".to_owned(), header.to_owned()),
            (format!("work/u{unit}.c"), format!(" {unit}")),
        ];
        objects.push((format!("work/u{unit}.o"), content.clone()));
        steps.push(Step { script, output: format!("u{unit}.o"), content, inputs });
    }
    let script = "cat *.o > lib".to_owned();
    let mut sorted = objects.clone();
    sorted.sort();
    let content = sorted.into_iter().map(|(_, content)| content).collect();
    steps.push(Step { script, output: "lib".to_owned(), content, inputs: objects });
    steps
}

fn sources(header: &str) -> Files {
    let mut files = vec![("a.h".to_owned(), header.to_owned())];
    files.extend((0..UNITS).map(|unit| (format!("u{unit}.c"), format!(" {unit}"))));
    files
}

pub(crate) struct Lab {
    pub(crate) folder: tempfile::TempDir,
    /// Of a server; else the embedded store.
    remote: Option<String>,
    runtime: tokio::runtime::Runtime,
}

impl Lab {
    pub(crate) fn new(folder: tempfile::TempDir, remote: Option<String>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self { folder, remote, runtime: runtime.expect("a runtime") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new connection: the server may be another process than a moment ago.
    pub(crate) fn with_endpoint<T>(&self, work: impl AsyncFnOnce(&Endpoint) -> T) -> T {
        let config = config(&self.path("store"), self.remote.as_deref());
        self.runtime.block_on(async {
            let endpoint = Endpoint::open(&config).expect("an endpoint");
            work(&endpoint).await
        })
    }

    pub(crate) fn record(&self, steps: &[Step]) -> Vec<Digest> {
        let mut parcel = Parcel::default();
        let mut actions = Vec::new();
        for step in steps {
            actions.push(step.pack(&mut parcel));
            parcel.blob(step.content.clone());
        }
        self.with_endpoint(async |endpoint| parcel.upload(endpoint).await);
        self.with_endpoint(async |endpoint| {
            for (action, step) in actions.iter().zip(steps) {
                let digest = FUNCTION.digest(step.content.as_bytes());
                let result = reapi::ActionResult {
                    output_files: vec![reapi::OutputFile {
                        path: step.output.clone(),
                        digest: Some(digest.to_proto()),
                        ..Default::default()
                    }],
                    ..Default::default()
                };
                let result = Kept::new(&result);
                endpoint.update_action_result(action, &result).await.expect("a result");
            }
        });
        actions
    }

    pub(crate) fn speculate(&self, arguments: &[&str]) -> Command {
        self.speculate_at(self.remote.as_deref(), arguments)
    }

    /// With another way to the server.
    pub(crate) fn speculate_at(&self, remote: Option<&str>, arguments: &[&str]) -> Command {
        let mut command = Command::new(bin("speculate"));
        command.args(arguments).env("HOME", self.folder.path());
        if let Some(url) = remote {
            command.arg(format!("--remote={url}"));
        }
        command.env("FORERUNNER_STORE", self.path("store")).env("FORERUNNER_JOBS", "2");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Records the project with one header, and answers with the graph before the next build.
    fn prepared(&self) -> String {
        let actions = self.record(&project("one"));
        let list: Vec<String> = actions.iter().map(ToString::to_string).collect();
        let graph = |name: &str, header: &str, actions: Option<&[String]>| {
            let mut parcel = Parcel::default();
            for (path, content) in sources(header) {
                parcel.file(&path, content, false);
            }
            let root = parcel.tree();
            self.with_endpoint(async |endpoint| parcel.upload(endpoint).await);
            let mut element = json!({ "name": "lib", "sources": root.to_string() });
            if let Some(actions) = actions {
                element["subactions"] = json!(actions);
            }
            let path = self.path(name);
            std::fs::write(&path, json!({ "elements": [element] }).to_string()).expect("a graph");
            path.to_str().expect("a path").to_owned()
        };
        let after = graph("after.json", "one", Some(&list));
        run(&mut self.speculate(&["generate", "--graph", &after]));
        graph("before.json", "two", None)
    }

    /// The actions of the next build that have a result; each must be what a build makes.
    fn primed(&self) -> usize {
        let steps = project("two");
        self.with_endpoint(async |endpoint| {
            let mut primed = 0;
            for step in &steps {
                let action = step.pack(&mut Parcel::default());
                let found = endpoint.action_result(&action, &[]).await.expect("an answer");
                let Some(result) = found else { continue };
                let result = result.message().expect("a message");
                assert_eq!(result.exit_code, 0, "{}", step.output);
                let [file] = &result.output_files[..] else { panic!("{result:?}") };
                let digest = Digest::required(file.digest.as_ref()).expect("a digest");
                let content = endpoint.get(&digest).await.expect("the output");
                assert!(content == step.content.as_bytes(), "{} is wrong", step.output);
                primed += 1;
            }
            primed
        })
    }

    /// How many results there are, if the endpoint answers now.
    fn results(&self) -> Option<usize> {
        let steps = project("two");
        self.with_endpoint(async |endpoint| {
            let mut results = 0;
            for step in &steps {
                let action = step.pack(&mut Parcel::default());
                results += usize::from(endpoint.action_result(&action, &[]).await.ok()?.is_some());
            }
            Some(results)
        })
    }

    /// Waits until so many results are there, or `child` ended.
    fn wait_for(&self, results: usize, child: &mut Child) {
        for _ in 0..12_000 {
            let there = self.results().is_some_and(|there| there >= results);
            if there || child.try_wait().expect("its state").is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{results} results did not appear");
    }

    /// The last run: whatever is missing is primed.
    fn goes_on(&self, graph: &str) {
        let prime = ["prime", "--json", "--graph", graph];
        let text = run(&mut self.speculate(&prime));
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["total"]["skipped"], json!({}), "{text}");
        assert_eq!(self.primed(), UNITS + 1);
        let again = run(&mut self.speculate(&prime));
        let value: Value = serde_json::from_str(&again).expect("JSON");
        assert_eq!(value["total"]["executed"], 0, "{again}");
    }
}

/// Kill when so many results are there.
fn moments() -> Vec<usize> {
    if long() { (0..=UNITS).collect() } else { vec![0, 3, 8] }
}

fn kill(mut child: Child) {
    child.kill().expect("SIGKILL");
    child.wait().expect("its end");
}

#[test]
fn killed_while_priming() {
    let lab = Lab::new(temp(), None);
    let graph = lab.prepared();
    for moment in moments() {
        let mut prime = lab.speculate(&["prime", "--quiet", "--graph", &graph]);
        let mut child = prime.spawn().expect("it starts");
        lab.wait_for(moment, &mut child);
        kill(child);
        lab.primed();
        run(&mut lab.speculate(&["store", "verify"]));
    }
    lab.goes_on(&graph);
    run(&mut lab.speculate(&["store", "verify"]));
}

/// A casd that may be killed and started again on what it left.
struct Casd {
    program: PathBuf,
    folder: PathBuf,
}

impl Casd {
    fn start(&self) -> Child {
        let socket = self.folder.join("casd.sock");
        let _ = std::fs::remove_file(&socket);
        // It finds buildbox-fuse on PATH.
        let beside = self.program.parent().expect("a folder").display();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut child = Command::new(&self.program)
            .arg(format!("--bind=unix:{}", socket.display()))
            .arg(format!("--buildbox-run={}", bin("buildbox-run").display()))
            .args(["--runner-arg=--host-toolchain", "--jobs=2", "--log-level=error"])
            .arg(self.folder.join("cache"))
            .env("PATH", format!("{beside}:{path}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("casd starts");
        for _ in 0..6000 {
            if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
                return child;
            }
            assert!(child.try_wait().expect("its state").is_none(), "casd ended");
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("casd does not listen");
    }
}

#[test]
fn a_casd_that_is_killed_while_priming() {
    let Some(program) = peer("buildbox-casd", buildbox("buildbox-casd")) else { return };
    let folder = temp();
    let casd = Casd { program, folder: folder.path().to_owned() };
    let url = format!("unix:{}", folder.path().join("casd.sock").display());
    let mut server = casd.start();
    let lab = Lab::new(folder, Some(url));
    let graph = lab.prepared();
    for moment in moments() {
        let mut prime = lab.speculate(&["prime", "--quiet", "--graph", &graph]);
        let mut child = prime.spawn().expect("it starts");
        lab.wait_for(moment, &mut child);
        kill(server);
        // It says so and ends by itself, or was done.
        let output = child.wait_with_output().expect("an end");
        let code = output.status.code();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(code, Some(0 | 3)), "{code:?}: {said}");
        server = casd.start();
        lab.primed();
    }
    lab.goes_on(&graph);
    kill(server);
}

/// The processes whose command line names `text`.
fn processes(text: &str) -> Vec<String> {
    let all = std::fs::read_dir("/proc").expect("processes").flatten();
    all.filter(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    })
    .map(|entry| entry.file_name().to_string_lossy().into_owned())
    .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    .collect()
}

#[test]
fn a_casd_of_ours_ends_with_us() {
    let Some(program) = peer("buildbox-casd", buildbox("buildbox-casd")) else { return };
    let lab = Lab::new(temp(), None);
    let cache = lab.path("cache");
    std::fs::create_dir_all(cache.join("cas/objects")).expect("a cache");
    let graph = lab.path("graph.json");
    std::fs::write(&graph, r#"{"elements": [{"name": "a"}]}"#).expect("a graph");
    let text = |path: &std::path::Path| path.to_str().expect("a path").to_owned();
    let start = || {
        // Waits for news, which never come.
        let mut prime = lab.speculate(&["prime", "--follow", "--graph", &text(&graph)]);
        prime.args(["--casd-cache", &text(&cache), "--casd", &text(&program)]);
        prime.stdin(Stdio::piped()).spawn().expect("it starts")
    };
    // The shell around it, casd itself, and ours.
    let begun = || {
        for _ in 0..6000 {
            if processes(&text(&cache)).len() >= 3 {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("casd did not start");
    };
    let gone = || {
        for _ in 0..6000 {
            if processes(&text(&cache)).is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("still there: {:?}", processes(&text(&cache)));
    };
    let child = start();
    begun();
    kill(child);
    gone();
    let mut child = start();
    begun();
    run(Command::new("kill").arg(child.id().to_string()));
    child.wait().expect("its end");
    gone();
    let mut child = start();
    begun();
    drop(child.stdin.take());
    assert_eq!(child.wait().expect("its end").code(), Some(0));
    gone();
}
