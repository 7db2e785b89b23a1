//! `speculate index`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;
use speculate::index::{Row, export};
use speculate::load;
use speculate::tables::Tables;

use crate::context::project;
use crate::options::{EndpointArgs, GraphArgs};

/// What is done with the table of origins.
#[derive(Subcommand)]
pub(crate) enum Job {
    /// Write where every content of a project is found as an Apache Arrow file, for pandas, DuckDB
    /// or Polars: hash, size, element, path, kind.
    Export {
        #[command(flatten)]
        graph: GraphArgs,
        /// Where to.
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
}

/// The folder that keeps tables between runs: beside the embedded store, whatever the endpoint is.
/// Without one everything works, only slower.
pub(crate) fn tables(config: &forerunner_reapi::Config) -> Option<Tables> {
    let store = forerunner_store::Store::open(&config.store).ok()?;
    Some(Tables::new(store.aside("origin-tables").ok()?))
}

/// Runs the job.
pub(crate) async fn run(args: &EndpointArgs, job: &Job) -> Result<ExitCode> {
    let Job::Export { graph, output } = job;
    let (endpoint, mut project) = project(args, graph).await?;
    project.read_records(&endpoint).await?;
    let all: HashSet<usize> = (0..project.graph.elements().len()).collect();
    project.load_trees(&endpoint, &all).await?;
    let actions: Vec<_> = project
        .graph
        .elements()
        .iter()
        .flat_map(|element| element.subactions.iter().flatten().copied())
        .collect();
    load::actions(&endpoint, &actions, &mut project.loaded).await?;
    load::outputs(&endpoint, &actions, &mut project.loaded).await?;
    let origins = project.origins(&all)?;
    let mut rows: Vec<Row<'_>> = Vec::with_capacity(origins.len());
    for (digest, place) in origins.entries() {
        let element = project.graph.elements().get(place.element as usize);
        let element = element.map_or("", |element| element.name.as_str());
        // A tree as a whole is no file.
        if !matches!(&*place.path, "" | "/") {
            rows.push(Row { digest, element, path: &place.path, kind: place.kind.name() });
        }
    }
    rows.sort_by_key(|row| (row.element, row.path, row.kind));
    save(output, &rows)?;
    eprintln!("speculate: {} rows in `{}`", rows.len(), output.display());
    Ok(ExitCode::SUCCESS)
}

fn save(path: &Path, rows: &[Row<'_>]) -> Result<()> {
    let what = || format!("`{}`", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file =
        tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).with_context(what)?;
    export(&mut file, rows).with_context(what)?;
    file.persist(path).with_context(what)?;
    Ok(())
}
