//! `RECC_FORCE_REMOTE`: any command, with the inputs and outputs that the user names.

use crate::command::{Product, compiler};
use crate::engine::{Engine, Gathered, Inputs, Job, Outcome};
use crate::environment::{self, Reader};
use crate::reason::Reason;
use crate::settings::Work;

/// Nothing but what the settings name.
struct Named;

impl Inputs for Named {
    fn find(&mut self) -> Result<Gathered, Reason> {
        Ok(Gathered::default())
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
    // A compiler's command is rewritten as always; any other stands as it is.
    let known = super::understand(session, command).ok().map(|(job, _)| job);
    let (arguments, made, directories, passages) = match known {
        Some(job) => (job.arguments, job.made, job.directories, job.passages),
        None => {
            let program = session.rules.rewrite_program(&program);
            let words = [program].into_iter().chain(rest.iter().cloned()).collect();
            (words, Vec::new(), Vec::new(), Vec::new())
        }
    };
    let reader = compiler::recognise(name, session.real(&program).as_deref())
        .map_or(Reader::Tool(&[]), |compiler| Reader::Compiler(compiler.family));
    let job = Job {
        work: Work::Tool,
        label: "command".to_owned(),
        real: command.to_vec(),
        arguments,
        environment: environment::select(settings, reader, &session.environment, &session.rules),
        platform: settings.platform_for(Work::Tool),
        products: settings
            .output_files
            .iter()
            .map(|path| Product { remote: path.clone(), local: path.clone() })
            .collect(),
        output_directories: settings.output_directories.iter().cloned().collect(),
        salt: settings.salt.clone().into_bytes(),
        key: Vec::new(),
        machine: String::new(),
        made,
        directories,
        passages,
        further_inputs: Vec::new(),
        possible_inputs: Vec::new(),
        cold: None,
        manifest: false,
        sources: None,
        stdin: None,
        accept: None,
        in_place: None,
    };
    engine.run(&job, &mut Named)
}
