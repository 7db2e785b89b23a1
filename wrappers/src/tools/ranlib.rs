//! reranlib: `ranlib` as a cached action.

use std::path::{Path, PathBuf};

use crate::command::response;
use crate::engine::aside::InPlace;
use crate::engine::{Engine, Outcome};
use crate::link::archive::{self, Archive};
use crate::paths;
use crate::reason::Reason;
use crate::session::Session;

use super::{Request, ar, rear};

/// Handles a command line; the real program's name may come first.
pub fn run(engine: &mut Engine<'_>, own_name: &str, words: &[String]) -> Outcome {
    let session = engine.session;
    let setting = session.settings.ranlib.as_deref();
    let (task, words) = rear::task(words);
    let (name, arguments) = rear::program(words, own_name, "ranlib", setting);
    let request = request(session, &name, arguments);
    let real: Vec<String> = std::iter::once(name).chain(arguments.iter().cloned()).collect();
    rear::finish(engine, task, request, "ranlib", &real, None)
}

fn request(session: &Session, name: &str, arguments: &[String]) -> Result<Request, Reason> {
    let program = session.resolve(name).ok_or(Reason::Tool)?;
    let expanded =
        response::expand(arguments, Path::new(&session.directory)).map_err(|_| Reason::Response)?;
    let mut parts = rear::plugin_files();
    parts.extend(rear::behind(session, &program));
    let (mut archives, mut at) = (Vec::new(), Vec::new());
    let mut refused = None;
    let mut words = expanded.words.iter().enumerate();
    while let Some((place, word)) = words.next() {
        match word.as_str() {
            "--plugin" => {
                let (_, plugin) = words.next().ok_or(Reason::Syntax)?;
                parts.push(PathBuf::from(paths::absolute(plugin, &session.directory)));
            }
            long if long.starts_with("--") => return Err(Reason::Operation),
            letters if letters.starts_with('-') && letters.len() > 1 => {
                for letter in letters[1..].chars() {
                    match letter {
                        'D' => {}
                        'U' => refused = Some(Reason::NonDeterministic),
                        // `-t` only sets a time.
                        't' => return Err(Reason::Operation),
                        _ => return Err(Reason::Syntax),
                    }
                }
            }
            archive => {
                at.push(place);
                if !archives.iter().any(|known| known == archive) {
                    archives.push(archive.to_owned());
                }
            }
        }
    }
    if archives.is_empty() {
        return Err(Reason::NoInput);
    }
    let mut inputs: Vec<String> = expanded.files.iter().chain(&expanded.nested).cloned().collect();
    for name in &archives {
        let full = PathBuf::from(paths::absolute(name, &session.directory));
        match archive::look(&full) {
            Ok(Archive::Ordinary) => inputs.push(name.clone()),
            Ok(Archive::Thin(members)) => {
                inputs.push(name.clone());
                let root = format!("{}/", session.directory.trim_end_matches('/'));
                for member in members {
                    let text = member.to_str().ok_or(Reason::InputName)?;
                    inputs.push(text.strip_prefix(&root).unwrap_or(text).to_owned());
                }
            }
            // An error; the tool says it better.
            _ => return Err(Reason::Operation),
        }
    }
    Ok(Request {
        label: "ranlib".to_owned(),
        program,
        words: arguments.to_vec(),
        inputs,
        outputs: archives,
        parts,
        accept: Some(ar::is_deterministic),
        in_place: Some(InPlace { expanded, at, script: None }),
        refused,
        ..Request::default()
    })
}
