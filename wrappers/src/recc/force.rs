//! `RECC_FORCE_REMOTE`: any command, with the inputs and outputs that the user names.

use crate::command::Product;
use crate::engine::{Engine, Gathered, Inputs, Job, Outcome};
use crate::environment::{self, Reader};
use crate::paths;
use crate::reason::Reason;
use crate::search_path::SearchPath;
use crate::settings::Work;

/// Nothing but what the settings name.
struct Named(Vec<String>);

impl Inputs for Named {
    fn find(&mut self) -> Result<Gathered, Reason> {
        Ok(Gathered { paths: std::mem::take(&mut self.0), ..Gathered::default() })
    }

    fn search_path(&mut self) -> Option<SearchPath> {
        None
    }
}

/// Sends the command to the server.
pub(super) fn run(engine: &mut Engine<'_>, command: &[String]) -> Outcome {
    let session = engine.session;
    let settings = &session.settings;
    let Some((name, rest)) = command.split_first() else { return Outcome::Exit(100) };
    let Some(program) = session.resolve(name) else {
        return engine.uncached("command", Reason::Tool, command);
    };
    let mut arguments = vec![session.rules.rewrite_program(&program)];
    arguments.extend_from_slice(rest);
    let paths = match below(&settings.deps_directory, &session.directory) {
        Ok(paths) => paths,
        Err(error) => {
            let _written = writeln!(engine.err, "recc: `{}`: {error}", settings.deps_directory);
            return Outcome::Exit(100);
        }
    };
    let job = Job {
        work: Work::Tool,
        label: "command".to_owned(),
        real: command.to_vec(),
        arguments,
        environment: environment::select(
            settings,
            Reader::Tool(&[]),
            &session.environment,
            &session.rules,
        ),
        platform: settings.platform_for(Work::Tool),
        products: settings
            .output_files
            .iter()
            .map(|path| Product { remote: path.clone(), local: path.clone() })
            .collect(),
        output_directories: settings.output_directories.iter().cloned().collect(),
        salt: settings.salt.clone().into_bytes(),
        key: Vec::new(),
        made: Vec::new(),
        directories: Vec::new(),
        further_inputs: Vec::new(),
        cold: None,
        manifest: false,
        sources: None,
    };
    engine.run(&job, &mut Named(paths))
}

/// Every file below a directory, as seen from the current one.
fn below(directory: &str, current: &str) -> std::io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut queue = Vec::new();
    if !directory.is_empty() {
        queue.push(directory.trim_end_matches('/').to_owned());
    }
    while let Some(at) = queue.pop() {
        for entry in std::fs::read_dir(paths::absolute(&at, current))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{at}/{name}");
            if entry.file_type()?.is_dir() { queue.push(path) } else { found.push(path) }
        }
    }
    Ok(found)
}
