//! `speculate generate`.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use speculate::{Format, Mode};

use crate::context::{now_seconds, print, project};
use crate::options::{EndpointArgs, GraphArgs};

/// Generates overlays for every element that has actions, and writes the graph.
pub(crate) async fn run(
    endpoint: &EndpointArgs,
    graph: &GraphArgs,
    output: Option<&Path>,
    mode: Mode,
    format: Format,
) -> Result<ExitCode> {
    let (endpoint, mut project) = project(endpoint, graph).await?;
    project.tables = crate::commands::index::tables(&endpoint.config);
    let generated = project.generate(&endpoint, mode, format, now_seconds()).await?;
    for one in &generated {
        let name = &project.graph.elements()[one.element].name;
        let lost = match one.lost {
            0 => String::new(),
            lost => format!(", {lost} recorded actions are not on the endpoint any more"),
        };
        eprintln!(
            "{name}: {} actions, {} contents with a known origin, {} bytes{lost}",
            one.actions, one.origins, one.bytes
        );
    }
    let text = project.graph.to_json();
    match output {
        Some(path) => write(path, &text)?,
        None => print(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a file so that a reader sees all of it or none.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        // As the umask has it, like any file.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .with_context(|| format!("`{}`", path.display()))?;
    std::io::Write::write_all(&mut file, text.as_bytes())
        .with_context(|| format!("`{}`", path.display()))?;
    file.persist(path).with_context(|| format!("`{}`", path.display()))?;
    Ok(())
}
