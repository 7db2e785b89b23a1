//! `speculate show`: as a tree, as data, and as a graph that Graphviz draws.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use forerunner_tests::{on_path, peer, run};
use serde_json::{Value, json};

use crate::speculate_prime::Home;

/// Names that mean something else in DOT, in its labels, in JSON or on a terminal.
const ELEMENT: &str = "li\"b\n&lt;\\N\\";
const HEADER: &str = "a\"; x -> y; \n\\l&amp;{}<b>.h";

/// Two elements: the upper one takes what an action of the lower one makes, and both use one action.
fn graph(home: &Home) -> (String, [String; 3]) {
    let header = format!("work/{HEADER}");
    let compile = home.recorded(
        "cat *.h > a.o",
        ("a.o", "one"),
        &[(header.as_str(), "one"), ("work/toolchain", "unknown")],
    );
    let archive = home.recorded("cat a.o a.o > lib", ("lib", "oneone"), &[("work/a.o", "one")]);
    let link = home.recorded("cat lib > app", ("app", "oneone"), &[("work/lib", "oneone")]);
    let (compile, archive, link) = (compile.to_string(), archive.to_string(), link.to_string());
    let sources = home.tree(&[(HEADER, "one")]).to_string();
    let elements = json!({ "elements": [
        { "name": ELEMENT, "sources": sources, "subactions": [compile, archive] },
        { "name": "app", "depends": [ELEMENT], "subactions": [archive, link] } ] });
    let graph = home.graph("graph.json", &elements);
    run(&mut home.speculate(&["generate", "--graph", &graph]));
    (graph, [compile, archive, link])
}

#[test]
fn actions_are_a_tree_or_data() {
    let home = Home::new();
    let (graph, [compile, archive, link]) = graph(&home);
    let tree = run(&mut home.speculate(&["show", "--graph", &graph]));
    for text in [
        &format!("  sh a.o ({compile})\n"),
        &format!("<- SOURCE {ELEMENT}:{HEADER}\n"),
        &format!("<- ACTION {ELEMENT}:work/a.o\n"),
        "    and 1 inputs of unknown origin\n",
    ] {
        assert!(tree.contains(text), "{text}: {tree}");
    }
    let data = run(&mut home.speculate(&["show", "--json", "--graph", &graph]));
    let data: Value = serde_json::from_str(&data).expect("JSON");
    assert_eq!(data["elements"][0]["element"], ELEMENT);
    let actions = &data["elements"][0]["actions"];
    assert_eq!((&actions[0]["action"], &actions[1]["action"]), (&json!(compile), &json!(archive)));
    assert_eq!((&actions[0]["known"], &actions[0]["without_origin"]), (&json!(true), &json!(1)));
    let origin = &data["elements"][1]["actions"][1]["inputs"][0]["origins"][0];
    let expected =
        json!({ "type": "ACTION", "element": "app", "path": "work/lib", "action": archive });
    assert_eq!(origin, &expected, "{data}");
    assert_eq!(data["elements"][1]["actions"][1]["action"], json!(link));
    // One of both.
    let both = home.speculate(&["show", "--json", "--dot", "--graph", &graph]).output();
    assert_eq!(both.expect("an end").status.code(), Some(2));
}

/// The text that a label shows.
fn shown(label: &str) -> String {
    let mut text = String::new();
    let mut letters = label.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n') => text.push('\n'),
                Some('\\') => text.push('\\'),
                other => panic!("the escape {other:?} in {label}"),
            },
            letter => text.push(letter),
        }
    }
    assert_eq!(text.matches('&').count(), text.matches("&amp;").count(), "{label}");
    text.replace("&amp;", "&")
}

#[test]
fn graphviz_draws_it() {
    if peer("graphviz", on_path("dot")).is_none() {
        return;
    }
    let home = Home::new();
    let (graph, _) = graph(&home);
    let drawn = |graph: &str, form: &str| {
        let file = home.path("graph.dot");
        let text = run(&mut home.speculate(&["show", "--dot", "--graph", graph]));
        std::fs::write(&file, text).expect("the graph");
        let mut dot = Command::new("dot");
        dot.arg(form).arg(&file).stdin(Stdio::null()).env("HOME", home.folder.path());
        let output = dot.output().expect("dot");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !said.contains("graph.dot"), "{said}");
        String::from_utf8(output.stdout).expect("text")
    };
    let both: Value = serde_json::from_str(&drawn(&graph, "-Tdot_json")).expect("JSON");
    let text = |value: &Value| value.as_str().map(shown).unwrap_or_default();
    let objects = both["objects"].as_array().expect("objects");
    let is_cluster = |object: &&Value| object["nodes"].is_array() || object["subgraphs"].is_array();
    let clusters: Vec<String> =
        objects.iter().filter(is_cluster).map(|one| text(&one["label"])).collect();
    assert_eq!(clusters, [ELEMENT, "app"], "{both}");
    // Every node says what it is: one that nobody declared would show its name.
    let label = |number: &Value| {
        let node = objects.iter().find(|object| object["_gvid"] == *number).expect("a node");
        text(&node["label"])
    };
    let nodes: BTreeSet<String> =
        objects.iter().filter(|one| !is_cluster(one)).map(|one| text(&one["label"])).collect();
    let source = format!("{ELEMENT}:{HEADER}");
    let expected = [source.as_str(), "sh a.o", "sh app", "sh lib"].map(str::to_owned);
    assert_eq!(nodes, BTreeSet::from(expected), "{both}");
    let edges = both["edges"].as_array().expect("edges").iter();
    let edges: BTreeSet<[String; 2]> =
        edges.map(|edge| [label(&edge["tail"]), label(&edge["head"])]).collect();
    let arrow = |from: &str, to: &str| [from.to_owned(), to.to_owned()];
    let expected = [arrow(&source, "sh a.o"), arrow("sh a.o", "sh lib"), arrow("sh lib", "sh app")];
    assert_eq!(edges, BTreeSet::from(expected), "{both}");
    assert!(drawn(&graph, "-Tsvg").contains("</svg>"));

    // An element alone: what others make stands beside it.
    let alone = home.graph("app.json", &json!({ "elements": [{ "name": "app" }] }));
    let app: Value = serde_json::from_str(&drawn(&alone, "-Tdot_json")).expect("JSON");
    let labels: BTreeSet<String> =
        app["objects"].as_array().expect("objects").iter().map(|one| text(&one["label"])).collect();
    assert!(labels.contains(&format!("{ELEMENT}:work/a.o")), "{labels:?}");
}
