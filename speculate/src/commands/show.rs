//! `speculate show`: an element's actions, and where their inputs come from.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};
use speculate::view::{ActionView, InputView, view};

use crate::commands::dot::dot;
use crate::context::{print, project};
use crate::options::{EndpointArgs, GraphArgs};

/// Shows the recorded actions of the named elements as a tree, as JSON, or as a graph for `dot`.
pub(crate) async fn run(
    args: &EndpointArgs,
    graph: &GraphArgs,
    as_json: bool,
    as_dot: bool,
) -> Result<ExitCode> {
    let (endpoint, mut project) = project(args, graph).await?;
    let recorded = project.recorded(&endpoint).await?;
    if recorded.is_empty() {
        eprintln!("speculate: nothing was recorded of these elements: run `speculate generate`");
        return Ok(ExitCode::FAILURE);
    }
    let actions: Vec<_> =
        project.all_actions(&recorded).into_iter().map(|(_, digest, _)| digest).collect();
    speculate::load::actions(&endpoint, &actions, &mut project.loaded).await?;
    let mut elements = Vec::new();
    for index in 0..project.graph.elements().len() {
        if let Some(recorded) = recorded.get(&index) {
            elements.push((recorded.name().to_owned(), view(recorded, &project.loaded)));
        }
    }
    let text = match (as_json, as_dot) {
        (true, _) => json_text(&elements),
        (_, true) => dot(&elements),
        _ => tree(&elements),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn json_text(elements: &[(String, Vec<ActionView>)]) -> String {
    let input = |input: &InputView| {
        json!({
            "path": input.path,
            "digest": input.digest.to_string(),
            "origins": input.origins.iter().map(|origin| json!({
                "type": origin.kind.name(),
                "element": origin.element,
                "path": origin.path,
                "action": origin.action.map(|digest| digest.to_string()),
            })).collect::<Vec<Value>>(),
        })
    };
    let elements: Vec<Value> = elements
        .iter()
        .map(|(name, actions)| {
            let actions: Vec<Value> = actions
                .iter()
                .map(|action| {
                    json!({
                        "action": action.digest.to_string(),
                        "title": action.title,
                        "known": action.known,
                        "inputs": action.inputs.iter().map(input).collect::<Vec<Value>>(),
                        "without_origin": action.without_origin,
                    })
                })
                .collect();
            json!({ "element": name, "actions": actions })
        })
        .collect();
    format!("{}\n", json!({ "elements": elements }))
}

fn tree(elements: &[(String, Vec<ActionView>)]) -> String {
    let mut text = String::new();
    for (name, actions) in elements {
        text.push_str(&format!("{name}\n"));
        for action in actions {
            text.push_str(&format!("  {} ({})\n", action.title, action.digest));
            if !action.known {
                text.push_str("    is not on the endpoint any more\n");
            }
            for input in &action.inputs {
                text.push_str(&format!("    {}\n", input.path));
                for (index, origin) in input.origins.iter().enumerate() {
                    let arrow = if index == 0 { "<-" } else { "or" };
                    let (kind, element, path) = (origin.kind.name(), &origin.element, &origin.path);
                    text.push_str(&format!("      {arrow} {kind} {element}:{path}\n"));
                }
            }
            if action.without_origin > 0 {
                let count = action.without_origin;
                text.push_str(&format!("    and {count} inputs of unknown origin\n"));
            }
        }
    }
    text
}
