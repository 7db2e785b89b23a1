//! `speculate demo`.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use forerunner_merkle::{Digest, DigestFunction};
use forerunner_reapi::{Config, Endpoint};
use speculate::limit::Limit;
use speculate::plan::touched;
use speculate::prime::prime;
use speculate::summary::Event;
use speculate::{Element, Format, Graph, Mode, Plan, Project, Today, Tree};

use crate::context::{config, now_seconds, print};
use crate::demo::build::{self, Built, hits};
use crate::demo::report::{self, Line, Round, Verdict};
use crate::demo::sample::SAMPLES;
use crate::options::{EndpointArgs, SecurityArgs};

/// The programs that the sandbox needs, all of them beside this one.
const PROGRAMS: [&str; 4] = ["buildbox-run", "recc", "rear", "reranlib"];

/// Runs the demo in a temporary directory.
pub(crate) async fn run(json: bool, keep: bool) -> Result<ExitCode> {
    let tools = tools()?;
    let mut folder = tempfile::Builder::new().prefix("speculate-demo-").tempdir()?;
    folder.disable_cleanup(keep);
    if keep {
        eprintln!("speculate: the stores stay in {}", folder.path().display());
    }
    let arguments = EndpointArgs {
        remote: None,
        ac_remote: None,
        exec_remote: None,
        casd_cache: None,
        casd: PathBuf::new(),
        casd_runner_args: Vec::new(),
        instance: String::new(),
        security: SecurityArgs::default(),
        digest_function: DigestFunction::default(),
    };
    let mut settings = config(&arguments)?;
    settings.local.runner = tools.join("buildbox-run");
    let first = build::configure(&settings, &folder.path().join("store"), &tools);
    let second = build::configure(&settings, &folder.path().join("second-store"), &tools);
    let mut rounds = Vec::new();

    let endpoint = Endpoint::open(&first)?;
    let built = build::build(&endpoint, false).await.context(
        "the first build did not work out; the demo needs gcc and g++, and a kernel that lets \
         `buildbox-run` make namespaces",
    )?;
    rounds.push(round("first build", &built, &HashSet::new()));
    let mut cached: HashSet<Digest> =
        built.iter().flat_map(|one| one.subactions.iter().copied()).collect();

    let graph = speculate_on(&endpoint, &built).await?;
    copy(&first.store.root, &second.store.root)?;
    let before = cached.clone();

    let (primed, adapted) = primed(&endpoint, &first, &graph).await?;
    rounds.push(primed);
    cached.extend(adapted);

    let rebuilt = build::build(&endpoint, true).await?;
    let hits_only = rebuilt.iter().all(|one| hits(one, &cached) == one.subactions.len());
    rounds.push(round("rebuild, primed", &rebuilt, &cached));
    let endpoint = Endpoint::open(&second)?;
    let plain = build::build(&endpoint, true).await?;
    rounds.push(round("rebuild, not primed", &plain, &before));

    let seconds = |built: &[Built]| built.iter().map(|one| one.time.as_secs_f64()).sum();
    let verdict = Verdict {
        hits_only,
        identical: rebuilt.iter().map(|one| one.artifact).eq(plain.iter().map(|one| one.artifact)),
        primed_seconds: seconds(&rebuilt),
        plain_seconds: seconds(&plain),
    };
    let text = match json {
        true => report::json(&rounds, &verdict),
        false => report::table(&rounds, &verdict),
    };
    print(&text)?;
    Ok(ExitCode::from(u8::from(!verdict.good())))
}

/// The folder with our programs.
fn tools() -> Result<PathBuf> {
    let program = std::env::current_exe().context("the path of this program")?;
    let folder = program.parent().unwrap_or(Path::new("/")).to_owned();
    for name in PROGRAMS {
        let path = folder.join(name);
        if !path.exists() {
            anyhow::bail!(
                "`{}` is missing: the demo needs {} beside `speculate`",
                path.display(),
                PROGRAMS.join(", ")
            );
        }
    }
    Ok(folder)
}

fn round(name: &'static str, built: &[Built], cached: &HashSet<Digest>) -> Round {
    let lines = built.iter().zip(&SAMPLES).map(|(one, sample)| {
        let hits = hits(one, cached);
        Line {
            element: sample.name.to_owned(),
            subactions: one.subactions.len(),
            hits,
            executed: one.subactions.len() - hits,
            skipped: 0,
            why: "-".to_owned(),
            seconds: one.time.as_secs_f64(),
        }
    });
    Round { name, lines: lines.collect() }
}

/// Generates overlays for the first build; answers with the graph before the second one.
async fn speculate_on(endpoint: &Endpoint, built: &[Built]) -> Result<Graph> {
    let mut forest = forerunner_merkle::Forest::new(endpoint.function());
    let mut elements = Vec::new();
    for (sample, one) in SAMPLES.iter().zip(built) {
        elements.push(Element {
            name: sample.name.to_owned(),
            depends: sample.depends.to_vec(),
            sources: Some(Tree::Digest(sample.sources(false, &mut forest)?.0)),
            artifact: Some(Tree::Digest(one.artifact)),
            subactions: Some(one.subactions.clone()),
            speculative: None,
        });
    }
    let mut project = Project::open(endpoint, Graph::new(elements)?, Path::new("")).await?;
    project.generate(endpoint, Mode::Full, Format::Table, now_seconds()).await?;
    let mut graph = project.graph;
    for element in graph.elements_mut() {
        element.artifact = None;
    }
    Ok(graph)
}

/// Changes the header and primes; answers also with every action that is in the cache now.
async fn primed(
    endpoint: &Endpoint,
    config: &Config,
    graph: &Graph,
) -> Result<(Round, Vec<Digest>)> {
    let mut graph = graph.clone();
    for element in graph.elements_mut() {
        let sample = SAMPLES.iter().find(|sample| sample.name == element.name);
        let sample = sample.context("an element of the sample")?;
        let mut forest = forerunner_merkle::Forest::new(endpoint.function());
        let (root, files) = sample.sources(true, &mut forest)?;
        let directories = forest.take_made().into_iter();
        let mut blobs: Vec<_> = directories
            .map(|(digest, bytes)| (digest, forerunner_reapi::Content::Bytes(bytes)))
            .collect();
        blobs.extend(files.into_iter().map(|(digest, text)| {
            (digest, forerunner_reapi::Content::Bytes(text.into_bytes().into()))
        }));
        endpoint.upload(blobs).await?;
        element.sources = Some(Tree::Digest(root));
    }
    let mut project = Project::open(endpoint, graph, Path::new("")).await?;
    let recorded = project.recorded(endpoint).await?;
    let today = Today::new(&project.graph);
    let touched = touched(&project.graph, &today, &recorded);
    project.load_for(endpoint, &touched, &recorded).await?;
    let (graph, loaded) = (&project.graph, &mut project.loaded);
    let mut plan = Plan::new(graph, today, &recorded, &touched, loaded, Mode::Full);
    let mut adapted = Vec::new();
    let mut seconds: HashMap<String, f64> = HashMap::new();
    let mut notify = |plan: &Plan<'_>, notice: &speculate::prime::Notice| {
        if matches!(notice.event, Event::Executed(_) | Event::Cached) {
            adapted.extend(notice.action);
        }
        if let (Event::Executed(time), Some(task)) = (&notice.event, plan.tasks().get(notice.task))
        {
            let name = plan.element_name(task.element).to_owned();
            *seconds.entry(name).or_default() += time.as_secs_f64();
        }
    };
    let limit = Limit::new(config.local.jobs(), 1.0);
    let begun = Instant::now();
    let forever = std::future::pending();
    let summary = prime(endpoint, &mut plan, limit, None, forever, &mut notify).await?;
    let took = begun.elapsed();
    let mut lines: Vec<Line> = SAMPLES
        .iter()
        .filter_map(|sample| Some((sample, summary.elements.get(sample.name)?)))
        .map(|(sample, counts)| Line {
            element: sample.name.to_owned(),
            subactions: counts.recorded,
            hits: counts.unchanged + counts.cached,
            executed: counts.executed,
            skipped: counts.skips(),
            why: counts.reasons(),
            seconds: seconds.get(sample.name).copied().unwrap_or_default(),
        })
        .collect();
    let total = summary.total();
    lines.push(Line {
        element: "all, at once".to_owned(),
        subactions: total.recorded,
        hits: total.unchanged + total.cached,
        executed: total.executed,
        skipped: total.skips(),
        why: total.reasons(),
        seconds: took.as_secs_f64(),
    });
    Ok((Round { name: "header of libA changed: prime", lines }, adapted))
}

/// Copies a store that nobody writes to.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let kind = entry.file_type()?;
        // What belongs to a process is not part of what was stored.
        if kind.is_dir() && name != "tmp" && name != "holds" && name != "trees" {
            copy(&entry.path(), &to.join(&name))?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), to.join(&name))?;
        }
    }
    Ok(())
}
