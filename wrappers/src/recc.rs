//! recc: compile and link commands.

mod cold;
mod force;
mod inputs;
mod narrow;

use bytes::Bytes;
use std::borrow::Cow;

use crate::command::compiler::{self, LAUNCHERS};
use crate::command::parse::Context;
use crate::command::response;
use crate::command::sources::InputKind;
use crate::command::{Kind, Parsed, Product, parse};
use crate::engine::{Engine, Job, Outcome, Sources};
use crate::environment::{self, Reader};
use crate::paths;
use crate::reason::Reason;
use crate::refused;
use crate::session::Session;
use crate::settings::{Settings, Work};
use crate::stamp::Stamp;
use crate::toolchain;

use inputs::CompilerInputs;

/// What is to be done with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Cache it.
    Run,
    /// Say what it is.
    Explain,
}

/// Handles one command line, the program first.
pub fn run(engine: &mut Engine<'_>, command: &[String], task: Task) -> Outcome {
    let session = engine.session;
    let whole =
        task == Task::Run && (session.settings.passthrough || session.settings.force_remote);
    if whole && is_nowhere(session, command) {
        return nowhere(session, command);
    }
    if session.settings.passthrough {
        return engine.uncached("command", Reason::Disabled, command);
    }
    if session.settings.force_remote {
        return force::run(engine, command);
    }
    match (understand(session, command), task) {
        (Ok((job, mut inputs)), Task::Run) if only_counted(session, &job) => {
            engine.only_count(&job, &mut inputs)
        }
        (Ok((job, mut inputs)), Task::Run) => engine.run(&job, &mut inputs),
        (Ok((job, mut inputs)), Task::Explain) => engine.explain(&job, &mut inputs),
        (Err(reason), Task::Explain) => engine.explain_refusal(reason),
        (Err(_), Task::Run) if is_nowhere(session, command) => nowhere(session, command),
        (Err(reason), Task::Run) => {
            // What the reference does not understand is no compiler command to it.
            if reason != Reason::InvalidInput {
                session.figures.count("unsupported_command", 1);
                session.log.info(
                    "Not a compiler command, so running locally. (Use RECC_FORCE_REMOTE=1 to force remote execution)",
                );
            }
            engine.uncached("command", reason, command)
        }
    }
}

/// Whether a program is named that is not on PATH.
fn is_nowhere(session: &Session, command: &[String]) -> bool {
    let named = command.first().filter(|name| !name.contains('/'));
    // Without PATH the system has one of its own.
    session.variable("PATH").is_some() && named.is_some_and(|name| session.resolve(name).is_none())
}

/// As the reference ends then.
fn nowhere(session: &Session, command: &[String]) -> Outcome {
    let name = command.first().map_or("", String::as_str);
    session.log.error(format_args!("Unable to resolve path to executable=\"{name}\""));
    Outcome::Exit(1)
}

/// Variables that make compilers write further files.
const WRITING_VARIABLES: &[&str] = &[
    "DEPENDENCIES_OUTPUT",
    "SUNPRO_DEPENDENCIES",
    "GCC_COMPARE_DEBUG",
    "CC_PRINT_OPTIONS",
    "CC_LOG_DIAGNOSTICS",
];

fn understand<'a>(
    session: &'a Session,
    command: &[String],
) -> Result<(Job, CompilerInputs<'a>), Reason> {
    let settings = &session.settings;
    // Another launcher in between is left out of the action, but not of the real command.
    let launched =
        command.iter().take_while(|word| LAUNCHERS.contains(&paths::file_name(word))).count();
    let (name, arguments) = command[launched..].split_first().ok_or(Reason::NotACommand)?;
    if compiler::recognise(name, None).is_none()
        && !matches!(paths::file_name(name), "cc" | "c89" | "c99")
    {
        return Err(Reason::NotACommand);
    }
    let program = session.resolve(name).ok_or(Reason::Tool)?;
    let real_program = session.real(&program).ok_or(Reason::Tool)?;
    let known = compiler::recognise(name, Some(&real_program)).ok_or(Reason::NotACommand)?;
    let is_clang = compiler::leads_to_clang(&real_program);
    if WRITING_VARIABLES.iter().any(|name| session.variable(name).is_some_and(|v| !v.is_empty())) {
        return Err(Reason::Dump);
    }
    let expanded =
        response::expand(arguments, session.directory.as_ref()).map_err(|_| Reason::Response)?;
    let context = Context {
        compiler: &known,
        program: &program,
        rules: &session.rules,
        local_defaults: settings.local_defaults,
        outputs_named: outputs_named(settings),
    };
    let parsed = parse(&context, &expanded)?;
    let work = match parsed.kind {
        Kind::Compile => Work::Compile,
        Kind::Link => Work::Link,
    };
    if work == Work::Link && !settings.link && !settings.link_metrics_only {
        return Err(Reason::LinkOff);
    }
    let named: Vec<&String> = parsed.inputs.iter().map(|(path, _)| path).collect();
    refused::by_name(session, &named)?;
    let platform = settings.platform_for(work);
    let salted = settings.toolchain_salt && !platform.contains_key("chrootRootDigest");
    let mut identity = String::new();
    let mut machine = String::new();
    let mut salt = settings.salt.clone();
    let mut environment = Cow::Borrowed(&session.environment);
    if salted {
        let found = toolchain::of_compiler(
            session,
            &program,
            is_clang,
            known.family,
            work,
            &parsed.words,
            parsed.native,
        )?;
        identity = found.text;
        // The salt says which programs are found by it; another terminal may well have another.
        if let Some(path) = found.path.filter(|_| !settings.env_to_read.contains("PATH"))
            && !settings.preserve_env
            && session.variable("PATH") != Some(path.as_str())
        {
            let environment = environment.to_mut();
            environment.retain(|(name, _)| name != "PATH");
            environment.push(("PATH".to_owned(), path));
        }
        salt = format!("{salt}{}toolchain {identity}", if salt.is_empty() { "" } else { " " });
    } else if parsed.native {
        return Err(Reason::Native);
    } else if settings.manifest && !settings.no_execute {
        // What stands for the toolchain in what is only remembered here.
        let metadata = std::fs::metadata(&real_program).map_err(|_| Reason::Tool)?;
        identity = format!("{:?}", Stamp::of(&metadata));
        if !platform.contains_key("chrootRootDigest") {
            machine.clone_from(&identity);
        }
    }
    let mut real = command.to_vec();
    if launched == 0 {
        // The same program that was looked at, whatever PATH says to others.
        real[0].clone_from(&program);
    }
    let compiles = parsed.inputs.iter().any(|(_, kind)| *kind != InputKind::Object);
    let sources = compiles.then(|| Sources {
        named: parsed.inputs.iter().map(|(path, _)| path.clone()).collect(),
        forced: parsed.forced.clone(),
        precompiled: !is_clang,
    });
    // Compilers believe PWD if it leads to the same place.
    let logical = session.variable("PWD").unwrap_or(&session.directory);
    let directories = [session.directory.as_str(), logical];
    let job = Job {
        work,
        label: if work == Work::Link { "link" } else { "compile" }.to_owned(),
        arguments: parsed.arguments.clone(),
        environment: environment::select(
            settings,
            Reader::Compiler(known.family),
            &environment,
            &session.rules,
        ),
        platform,
        products: if work == Work::Link && settings.link_metrics_only {
            // An action without outputs, so that nobody takes its result for that of the command.
            Vec::new()
        } else {
            override_products(session, &parsed)
        },
        output_directories: settings.output_directories.iter().cloned().collect(),
        salt: salt.into_bytes(),
        key: parsed.words.clone(),
        machine,
        made: parsed
            .rewritten
            .iter()
            .map(|file| (file.name.clone(), Bytes::from(file.content.clone())))
            .collect(),
        directories: parsed.directories.clone(),
        passages: parsed.passages.clone(),
        further_inputs: parsed.response_files.iter().chain(&parsed.named_inputs).cloned().collect(),
        possible_inputs: parsed.profile.files(&directories),
        cold: cold::of(session, &parsed, &real, is_clang),
        real,
        manifest: true,
        sources,
        stdin: None,
        accept: None,
        in_place: None,
    };
    let inputs = CompilerInputs { session, program, compiler: known, is_clang, identity, parsed };
    Ok((job, inputs))
}

/// `RECC_LINK_METRICS_ONLY`: a link command is looked up for the figures, and always run.
fn only_counted(session: &Session, job: &Job) -> bool {
    session.settings.link_metrics_only && job.work == Work::Link
}

/// Whether the user says what is written. With inputs named by the user, the reference guesses no
/// outputs either.
fn outputs_named(settings: &Settings) -> bool {
    !settings.output_files.is_empty()
        || !settings.output_directories.is_empty()
        || !settings.deps_override.is_empty()
        || !settings.deps_directory.is_empty()
        || settings.force_remote
}

/// What the user names instead of what the command says.
fn override_products(session: &Session, parsed: &Parsed) -> Vec<Product> {
    let settings = &session.settings;
    if !outputs_named(settings) {
        return parsed.products.clone();
    }
    let files = settings.output_files.iter();
    files.map(|path| Product { remote: path.clone(), local: path.clone() }).collect()
}
