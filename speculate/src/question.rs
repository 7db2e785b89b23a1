//! Asking a compiler what it reads.
//!
//! Which files a compile reads follows from conditions that only the compiler evaluates. So where an
//! include directive changed, it is asked: the same command, told to write its dependencies and no more,
//! on the adapted inputs with today's sources around them. It costs a run of the preprocessor.

use bytes::Bytes;
use forerunner_merkle::{Digest, DigestFunction};
use forerunner_proto::reapi;
use prost::Message;

use crate::instantiate::Adapted;
use crate::loaded::LoadedAction;

/// What the compilers are called that understand the options below; a target may stand before it, and a
/// version after it.
const COMPILERS: [&str; 6] = ["gcc", "g++", "cc", "c++", "clang", "clang++"];

/// Where the answer is written to, in the working directory.
const ANSWER: &str = "forerunner-reads.d";

/// Options that write dependencies, and whether an argument of its own follows.
const OPTIONS: [(&str, bool); 9] = [
    ("-M", false),
    ("-MM", false),
    ("-MD", false),
    ("-MMD", false),
    ("-MP", false),
    ("-MG", false),
    ("-MF", true),
    ("-MT", true),
    ("-MQ", true),
];

/// The action that asks what `adapted` reads, on the input root `root`; `None` if there is nobody to ask.
pub(crate) fn question(
    base: &LoadedAction,
    adapted: &Adapted,
    root: Digest,
    function: DigestFunction,
) -> Option<Adapted> {
    let mut command = match &adapted.command {
        Some((_, bytes)) => reapi::Command::decode(bytes.clone()).ok()?,
        None => reapi::Command::clone(&base.command),
    };
    if !can_be_asked(&command) {
        return None;
    }
    command.arguments = without_options(&command.arguments);
    command.arguments.extend(["-M", "-MF", ANSWER].map(str::to_owned));
    command.output_paths = vec![ANSWER.to_owned()];
    #[allow(deprecated)]
    {
        command.output_files.clear();
        command.output_directories.clear();
    }
    let command: Bytes = command.encode_to_vec().into();
    let command_digest = function.digest(&command);
    let mut action = reapi::Action::decode(adapted.bytes.clone()).ok()?;
    action.command_digest = Some(command_digest.to_proto());
    action.input_root_digest = Some(root.to_proto());
    let bytes: Bytes = action.encode_to_vec().into();
    Some(Adapted {
        digest: function.digest(&bytes),
        root,
        bytes,
        command: Some((command_digest, command)),
        trees: adapted.trees.clone(),
    })
}

/// Whether a command is one of a compiler that says what it reads.
pub(crate) fn can_be_asked(command: &reapi::Command) -> bool {
    command.arguments.first().is_some_and(|program| is_compiler(program))
}

fn is_compiler(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or_default();
    let name = match name.rsplit_once('-') {
        Some((name, version)) if version.bytes().all(|b| b.is_ascii_digit() || b == b'.') => name,
        _ => name,
    };
    let name = name.rsplit('-').next().unwrap_or_default();
    COMPILERS.contains(&name)
}

fn without_options(words: &[String]) -> Vec<String> {
    let mut left = Vec::with_capacity(words.len());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let option = OPTIONS
            .iter()
            .find(|(option, argument)| word == option || (*argument && word.starts_with(option)));
        match option {
            Some((option, true)) if word == option => drop(words.next()),
            Some(_) => {}
            None => left.push(word.clone()),
        }
    }
    left
}

/// The files that an answer lists: a rule of make.
pub(crate) fn listed(answer: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut file = String::new();
    // The targets are before the first colon that ends a word.
    let rest = [": ", ":\n", ":\\"].iter().filter_map(|end| answer.find(end)).min();
    let mut letters = answer[rest.map_or(answer.len(), |at| at + 1)..].chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, letters.peek()) {
            ('\\', Some('\n')) => {}
            ('\\', Some(&next @ (' ' | '#' | '\\'))) => {
                file.push(next);
                letters.next();
            }
            ('$', Some('$')) => {
                file.push('$');
                letters.next();
            }
            (letter, _) if letter.is_whitespace() => {
                if !file.is_empty() {
                    files.push(std::mem::take(&mut file));
                }
            }
            (letter, _) => file.push(letter),
        }
    }
    if !file.is_empty() {
        files.push(file);
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_be_asked() {
        for program in
            ["gcc", "/usr/bin/g++-12", "x86_64-linux-gnu-gcc-12", "clang++", "cc", "clang-19.1"]
        {
            assert!(is_compiler(program), "{program}");
        }
        for program in ["ar", "/bin/sh", "gccgo", "moc", "python3", "", "gcc-ar"] {
            assert!(!is_compiler(program), "{program}");
        }
    }

    #[test]
    fn other_dependencies_are_not_written() {
        let words = ["gcc", "-MD", "-MF", "a.d", "-MTa.o", "-MP", "-Map", "-c", "a.c"];
        let left = without_options(&words.map(str::to_owned));
        assert_eq!(left, ["gcc", "-Map", "-c", "a.c"]);
    }

    #[test]
    fn answers_are_read() {
        let answer = "C:a.o: a.c /usr/include/b.h \\\n inc/c\\ d.h \\\n  e$$.h\n";
        assert_eq!(listed(answer), ["a.c", "/usr/include/b.h", "inc/c d.h", "e$.h"]);
        assert!(listed("nothing").is_empty());
        assert_eq!(listed("a.o:\\\n a.c"), ["a.c"]);
    }
}
