//! The table of origins, read by those for whom it is written. In the long form only: pip fetches
//! pandas, DuckDB and Polars.

use std::path::Path;
use std::process::Command;

use forerunner_tests::{at_home, long, on_path, peer, run, temp};
use serde_json::{Value, json};

/// Each reader counts the rows of each kind.
const READERS: &str = r#"
import json, sys
import duckdb, polars, pyarrow.ipc
table_ = pyarrow.ipc.open_file(sys.argv[1]).read_all()
frame = table_.to_pandas()
print(json.dumps({
    "columns": frame.columns.tolist(),
    "pandas": {kind: int(count) for kind, count in frame.groupby("kind").size().items()},
    "duckdb": dict(duckdb.sql("select kind, count(*) from table_ group by kind").fetchall()),
    "polars": dict(polars.read_ipc(sys.argv[1]).group_by("kind").len().rows()),
    "header": frame[frame.path == "a.h"][["element", "kind", "size"]].values.tolist(),
}))
"#;

fn speculate(home: &Path, arguments: &[&str]) -> String {
    run(at_home("speculate", &home.join("work"), home).args(arguments))
}

#[test]
fn others_read_the_table() {
    if !long() {
        return;
    }
    for tool in ["gcc", "python3"] {
        if peer(tool, on_path(tool)).is_none() {
            return;
        }
    }
    let home = temp();
    let at = home.path();
    let work = at.join("work");
    std::fs::create_dir(&work).expect("a folder");
    std::fs::write(work.join("a.h"), "int a;\n").expect("a header");
    std::fs::write(work.join("a.c"), "#include \"a.h\"\n").expect("a unit");
    let build = ["recc", "gcc", "-c", "a.c", "-o", "a.o"];
    let record = ["record", "--element", "lib", "--sources", ".", "--"];
    speculate(at, &[&record[..], &build[..]].concat());
    let table = at.join("table.arrow");
    let table = table.to_str().expect("a path");
    speculate(at, &["index", "export", "--element", "lib", "--output", table]);

    let venv = at.join("venv");
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    let python = venv.join("bin/python");
    let packages = ["pyarrow", "pandas", "duckdb", "polars"];
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages));
    let said = run(Command::new(&python).args(["-c", READERS, table]));
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["columns"], json!(["hash", "size", "element", "path", "kind"]));
    for reader in ["pandas", "duckdb", "polars"] {
        assert_eq!(said[reader], json!({ "ACTION": 1, "SOURCE": 2 }), "{reader}");
    }
    assert_eq!(said["header"], json!([["lib", "SOURCE", 7]]));
}
