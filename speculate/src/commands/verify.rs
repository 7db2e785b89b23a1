//! `speculate verify`: what makes chains break.

use std::process::ExitCode;

use anyhow::Result;
use forerunner_merkle::Digest;
use forerunner_reapi::Endpoint;
use serde_json::json;
use speculate::{load, verify};

use crate::context::{print, project};
use crate::options::{EndpointArgs, GraphArgs};

/// Runs every recorded action of the named elements again, and compares.
pub(crate) async fn run(args: &EndpointArgs, graph: &GraphArgs, json: bool) -> Result<ExitCode> {
    let (endpoint, mut project) = project(args, graph).await?;
    project.read_records(&endpoint).await?;
    let mut found = Vec::new();
    let mut text = String::new();
    for element in project.graph.elements().to_vec() {
        let actions = element.subactions.clone().unwrap_or_default();
        load::actions(&endpoint, &actions, &mut project.loaded).await?;
        for action in actions {
            let verdict = check(&endpoint, &project, &action).await?;
            let title = project
                .loaded
                .actions
                .get(&action)
                .map_or_else(String::new, |loaded| speculate::plan::title(&loaded.command));
            found.push(json!({
                "element": element.name,
                "action": action.to_string(),
                "title": title,
                "verdict": verdict.name(),
                "detail": verdict.detail(),
            }));
            if verdict != verify::Verdict::Same {
                let (name, detail) = (verdict.name(), verdict.detail());
                text.push_str(&format!("{}: {title}: {name}{detail} ({action})\n", element.name));
            }
        }
    }
    let differs = found.iter().filter(|one| one["verdict"] == "differs").count();
    if json {
        print(&format!("{}\n", json!({ "actions": found, "differs": differs })))?;
    } else {
        text.push_str(&format!("{} actions were run again, {differs} differ\n", found.len()));
        print(&text)?;
    }
    Ok(ExitCode::from(u8::from(differs > 0)))
}

async fn check(
    endpoint: &Endpoint,
    project: &speculate::Project,
    action: &Digest,
) -> Result<verify::Verdict> {
    match project.loaded.actions.get(action) {
        None => Ok(verify::Verdict::Unknown("the action is not on the endpoint any more".into())),
        Some(loaded) => Ok(verify::again(endpoint, action, loaded).await?),
    }
}
