//! Tools that make files from files whose names stand on their command line.

pub mod ar;
pub mod ranlib;
pub mod rear;
pub mod rewrap;
pub mod spec;
pub mod table;

use std::path::PathBuf;

use bytes::Bytes;

use crate::command::Product;
use crate::engine::aside::InPlace;
use crate::engine::{Gathered, Inputs, Job};
use crate::environment::{self, Reader};
use crate::paths;
use crate::reason::Reason;
use crate::session::Session;
use crate::settings::Work;
use crate::toolchain;

/// What is known about a tool's command.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Its name in figures.
    pub label: String,
    /// The program, resolved.
    pub program: String,
    /// Its arguments as they came.
    pub words: Vec<String>,
    /// Files that it reads, as named.
    pub inputs: Vec<String>,
    /// Files that it writes, as named.
    pub outputs: Vec<String>,
    /// Directories that it writes, as named.
    pub output_directories: Vec<String>,
    /// Further programs and data that decide the result.
    pub parts: Vec<PathBuf>,
    /// Further variables that it reads.
    pub variables: Vec<String>,
    /// What it reads from standard input.
    pub stdin: Option<Bytes>,
    /// Tells from an output whether it is a function of the inputs.
    pub accept: Option<fn(&std::path::Path) -> bool>,
    /// How it names its outputs, if it changes them in place.
    pub in_place: Option<InPlace>,
    /// Why it is not cached although its outputs are known.
    pub refused: Option<Reason>,
}

/// Inputs that are known from the start.
pub struct Listed(Vec<String>);

impl Inputs for Listed {
    fn find(&mut self) -> Result<Gathered, Reason> {
        Ok(Gathered { paths: std::mem::take(&mut self.0), ..Gathered::default() })
    }
}

/// Name of the file that stands for standard input in an action.
const STDIN_NAME: &str = ".standard-input";

/// The job of a request.
///
/// # Errors
/// Why the command is not cached.
pub fn job(session: &Session, request: &Request) -> Result<(Job, Listed), Reason> {
    let settings = &session.settings;
    let platform = settings.platform_for(Work::Tool);
    let mut salt = settings.salt.clone();
    if settings.toolchain_salt && !platform.contains_key("chrootRootDigest") {
        let identity = toolchain::of_tool(session, &request.program, &request.parts)?.text;
        salt = format!("{salt}{}toolchain {identity}", if salt.is_empty() { "" } else { " " });
    }
    let mut arguments = vec![session.rules.rewrite_program(&request.program)];
    for word in &request.words {
        let named = request.inputs.contains(word) || request.outputs.contains(word);
        arguments.push(if named { session.rules.rewrite(word) } else { word.clone() });
    }
    let mut made = Vec::new();
    if let Some(stdin) = &request.stdin {
        // An action has no standard input, so a shell opens it.
        let line = format!("exec \"$0\" \"$@\" < {STDIN_NAME}");
        arguments.splice(0..0, ["/bin/sh".to_owned(), "-c".to_owned(), line]);
        made.push((STDIN_NAME.to_owned(), stdin.clone()));
    }
    let products = request
        .outputs
        .iter()
        .map(|local| product(session, local))
        .collect::<Result<Vec<_>, Reason>>()?;
    let mut real = vec![request.program.clone()];
    real.extend_from_slice(&request.words);
    let job = Job {
        work: Work::Tool,
        label: request.label.clone(),
        real,
        arguments,
        environment: environment::select(
            settings,
            Reader::Tool(&request.variables),
            &session.environment,
            &session.rules,
        ),
        platform,
        products,
        output_directories: request.output_directories.clone(),
        salt: salt.into_bytes(),
        key: Vec::new(),
        machine: String::new(),
        made,
        directories: Vec::new(),
        passages: Vec::new(),
        further_inputs: Vec::new(),
        possible_inputs: Vec::new(),
        cold: None,
        manifest: false,
        sources: None,
        stdin: request.stdin.clone(),
        accept: request.accept,
        in_place: request.in_place.clone(),
    };
    Ok((job, Listed(request.inputs.clone())))
}

/// An output by the name that the command gives it.
fn product(session: &Session, local: &str) -> Result<Product, Reason> {
    if local.is_empty() || local == "-" || local.starts_with("/dev/") {
        return Err(Reason::OutputSpecial);
    }
    let directory = &session.rules.directory;
    let mut remote = session.rules.rewrite(local);
    if session.rules.keep() {
        remote = paths::relative(&paths::absolute(&remote, directory), directory);
    }
    if remote.starts_with('/') {
        return Err(Reason::OutputPlace);
    }
    Ok(Product { remote: paths::normalise(&remote), local: local.to_owned() })
}
