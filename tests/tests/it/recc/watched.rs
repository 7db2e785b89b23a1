//! Who is told of a command: statsd servers, collectors of descriptions, files.

use std::net::UdpSocket;
use std::time::Duration;

use forerunner_proto::Message as _;
use forerunner_proto::buildbox::CompilerExecutionData;
use forerunner_tests::{bin, on_path, peer};

use super::Place;

fn listener() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let port = socket.local_addr().expect("an address").port().to_string();
    (socket, port)
}

fn datagram(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 1 << 16];
    let length = socket.recv(&mut buffer).expect("a datagram");
    buffer.truncate(length);
    buffer
}

fn described(socket: &UdpSocket) -> CompilerExecutionData {
    CompilerExecutionData::decode(datagram(socket).as_slice()).expect("a description")
}

#[test]
fn figures_and_descriptions_are_sent() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let place = Place::new();
    place.write("a.c", "int a(void) { return 1; }\n");
    place.write("a.h", "\n");
    let (figures, figures_port) = listener();
    let (descriptions, descriptions_port) = listener();
    let run = |words: &[&str]| {
        place
            .ours("recc")
            .env("RECC_ENABLE_METRICS", "1")
            .env("RECC_METRICS_UDP_SERVER", format!("127.0.0.1:{figures_port}"))
            .env("RECC_METRICS_TAG_project", "x")
            .env("RECC_STATSD_FORMAT", "dog")
            .env("RECC_COMPILATION_METADATA_UDP_PORT", &descriptions_port)
            .env("RECC_CORRELATED_INVOCATIONS_ID", "night")
            .args(words)
            .output()
            .expect("recc")
    };
    let compile = ["gcc", "-include", "a.h", "-c", "a.c", "-o", "a.o"];
    assert!(run(&compile).status.success());
    let told = described(&descriptions);
    assert!(told.command.ends_with("/gcc"), "{told:?}");
    assert_eq!(told.full_command, compile.join(" "));
    let sources: Vec<&str> = told.source_file_info.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(sources, ["a.c"]);
    assert_eq!(told.working_directory, place.work().display().to_string());
    assert_eq!(told.correlated_invocations_id, "night");
    assert_eq!(told.exit_code, Some(0));
    let data = told.recc_data.expect("figures");
    let action = data.action_digest.expect("an action");
    assert!(data.counter_metrics["recc.input_size_bytes"] > 0);

    assert!(run(&compile).status.success());
    let told = described(&descriptions).recc_data.expect("figures");
    assert_eq!(told.action_digest, Some(action));
    assert_eq!(told.counter_metrics["recc.action_cache_hit"], 1);

    // Not cached, and waited for all the same.
    assert_eq!(run(&["sh", "-c", "exit 3"]).status.code(), Some(3));
    let told = described(&descriptions);
    assert_eq!(told.exit_code, Some(3));
    let told = told.recc_data.expect("figures");
    assert_eq!(told.counter_metrics["recc.unsupported_command"], 1);
    assert!(told.duration_metrics.contains_key("recc.execute_local_no_action_result"));
    loop {
        let line = String::from_utf8(datagram(&figures)).expect("text");
        assert!(line.ends_with("|#project=x\n"), "{line}");
        if line == "recc.unsupported_command:1|c|#project=x\n" {
            break;
        }
    }
}

#[test]
fn figures_that_cannot_be_written_are_a_mistake() {
    let place = Place::new();
    let run = |file: &str| {
        let mut command = place.ours("recc");
        command.env("RECC_ENABLE_METRICS", "1").env("RECC_METRICS_FILE", file);
        command.args(["sh", "-c", "exit 0"]).output().expect("recc")
    };
    assert_eq!(run("/nonexistent/figures").status.code(), Some(100));
    let file = place.work().join("figures");
    let file = file.to_str().expect("UTF-8");
    for _ in 0..2 {
        assert_eq!(run(file).status.code(), Some(0));
    }
    let text = std::fs::read_to_string(file).expect("figures");
    assert_eq!(text.matches("recc.unsupported_command:1|c\n").count(), 2, "{text}");
}

#[test]
fn links_are_only_counted_if_that_is_wished() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let place = Place::new();
    place.write("main.c", "int main(void) { return 0; }\n");
    let run = |line: &str| {
        let mut command = place.ours("recc");
        command.env("RECC_LINK_METRICS_ONLY", "1").env("RECC_ENABLE_METRICS", "1");
        let output = command.args(line.split(' ')).output().expect("recc");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    run("gcc -c main.c");
    for figure in ["recc.link_action_cache_miss:1|c", "recc.link_action_cache_hit:1|c"] {
        let said = run("gcc main.o -o prog");
        assert!(said.contains(figure), "{said}");
        // The linker was run either way.
        std::fs::remove_file(place.work().join("prog")).expect("a program");
    }
    let mut both = place.ours("recc");
    both.env("RECC_LINK_METRICS_ONLY", "1").env("RECC_LINK", "1");
    assert_eq!(both.args(["true"]).output().expect("recc").status.code(), Some(100));
}

#[test]
fn a_runner_executes_misses() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let place = Place::new();
    place.write("a.c", "int a(void) { return 1; }\n");
    let runner = format!("{} '--host-toolchain'", bin("buildbox-run").display());
    let run = |runner: &str, more: &str| {
        let mut command = place.ours("recc");
        command.env("RECC_RUNNER_COMMAND", runner).env("RECC_LOG_LEVEL", "info");
        command.args(["gcc", "-c", "a.c", more]).output().expect("recc")
    };
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let output = run(&runner, "-O1");
    assert!(output.status.success() && said(&output).contains("in local runner"), "{output:?}");
    let made = std::fs::read(place.work().join("a.o")).expect("an object");
    let output = run(&runner, "-O1");
    assert!(said(&output).contains("Action Cache hit for ["), "{output:?}");
    // Without a runner that works the command is run as it is.
    let output = run("no-such-runner --flag", "-O0");
    assert!(output.status.success() && said(&output).contains("running locally"), "{output:?}");
    assert_ne!(made, std::fs::read(place.work().join("a.o")).expect("an object"));
}
