//! Manifests that an endpoint keeps: a fresh sandbox needs no preprocessor.

use forerunner_gateway::{Gateway, Policy, Recorder};
use forerunner_merkle::DigestFunction;
use forerunner_reapi::{Config, LocalExecution, Tool};
use forerunner_tests::{on_path, peer};

use super::Place;

#[test]
fn a_fresh_sandbox_needs_no_preprocessor() {
    let Some(gcc) = peer("gcc", on_path("gcc")) else { return };
    let place = Place::new();
    place.write("a.c", "#include \"inc/a.h\"\nint a(void) { return A; }\n");
    place.write("inc/a.h", "#define A 1\n");
    // A compiler that tells when it is run.
    let text = format!("#!/bin/sh\necho \"$@\" >> \"$LOG\"\nexec {} \"$@\"\n", gcc.display());
    place.script("bin/gcc", &text);
    let function = DigestFunction::Sha256;
    let config = Config {
        remote: None,
        store: forerunner_store::Options {
            root: place.folder.path().join("server"),
            size_limit: 1 << 30,
            function,
        },
        function,
        local: LocalExecution {
            runner: "none".into(),
            runner_arguments: Vec::new(),
            jobs: Some(1),
        },
        tool: Tool::default(),
    };
    let socket = place.folder.path().join("socket");
    let recorder = Recorder::new();
    let policy = Policy { update_allowed: true };
    let gateway = Gateway::start(&socket, &config, policy, recorder.clone()).expect("a gateway");
    let log = place.folder.path().join("log");
    let compile = |sandbox: &str| {
        std::fs::write(&log, "").expect("a log");
        let _ = std::fs::remove_file(place.work().join("a.o"));
        let mut command = place.ours("recc");
        match sandbox {
            // Nowhere to keep anything.
            "" => command.env_remove("HOME").env_remove("FORERUNNER_STORE"),
            name => command.env("FORERUNNER_STORE", place.folder.path().join(name)),
        };
        let output = command
            .env("LOG", &log)
            .env("PATH", format!("{}:/usr/bin:/bin", place.work().join("bin").display()))
            .env("RECC_SERVER", format!("unix:{}", socket.display()))
            .env("RECC_CACHE_ONLY", "1")
            .env("RECC_CACHE_UPLOAD_LOCAL_BUILD", "1")
            .env("RECC_REMOTE_PLATFORM_chrootRootDigest", "abc/1")
            .env("RECC_NO_PATH_REWRITE", "1")
            .env("RECC_DEPS_GLOBAL_PATHS", "1")
            .args(["gcc", "-c", "a.c", "-o", "a.o"])
            .output()
            .expect("recc");
        assert!(output.status.success(), "{output:?}");
        assert!(place.work().join("a.o").exists());
        std::fs::read_to_string(&log).expect("the log")
    };
    let first = compile("one");
    assert!(first.contains("-M") && first.contains("-o a.o"), "{first}");
    let second = compile("two");
    assert_eq!(second, "", "the compiler was run");
    assert_eq!(recorder.subactions().len(), 1, "a manifest is no action");
    // What changed is found out.
    place.write("inc/a.h", "#define A 2\n");
    let third = compile("three");
    assert!(third.contains("-o a.o"), "{third}");
    assert_eq!(compile("four"), "");
    assert_eq!(compile(""), "", "the compiler was run");
    assert_eq!(recorder.subactions().len(), 2);
    gateway.stop();
}
