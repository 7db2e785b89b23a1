//! Which of an element's records is the one to start from.

use forerunner_tests::{at_home, on_path, peer, temp};

#[test]
fn a_record_of_little_hides_none_of_much() {
    if peer("gcc", on_path("gcc")).is_none() {
        return;
    }
    let home = temp();
    let work = home.path().join("work");
    std::fs::create_dir(&work).expect("a folder");
    for unit in 0..4 {
        std::fs::write(work.join(format!("u{unit}.c")), format!("int u{unit};\n")).expect("a unit");
    }
    // Builds some of the units and ends with a status; answers with how many actions are known.
    let known = |units: std::ops::Range<usize>, status: i32| -> usize {
        let mut script: Vec<String> = units.map(|unit| format!("recc gcc -c u{unit}.c")).collect();
        script.push(format!("exit {status}"));
        let mut record = at_home("speculate", &work, home.path());
        record.args(["record", "--element", "app", "--sources", ".", "--", "sh", "-ec"]);
        let output = record.arg(script.join("\n")).output().expect("an end");
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        let mut generate = at_home("speculate", &work, home.path());
        let output = generate.args(["generate", "--element", "app"]).output().expect("an end");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let count =
            said.strip_prefix("app: ").and_then(|said| said.split(' ').next()?.parse().ok());
        count.unwrap_or_else(|| panic!("{said}"))
    };
    // It failed, and nothing else is known.
    assert_eq!(known(0..1, 3), 1);
    assert_eq!(known(0..4, 0), 4);
    // It failed half-way.
    assert_eq!(known(0..3, 1), 4);
    // What an edit touched.
    assert_eq!(known(1..2, 0), 4);
    // The project is smaller now.
    assert_eq!(known(0..2, 0), 2);
}
