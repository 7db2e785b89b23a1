//! How a command's own run can tell what it reads, by options that change nothing else.

use std::path::Path;

use crate::command::flags;
use crate::command::sources::InputKind;
use crate::command::{Deps, Kind, Parsed};
use crate::engine::{Cold, OWN_LIST};
use crate::session::Session;

/// Options that move directories between the user's and the system's, or hide which is which.
const UNCLEAR: &[&str] = &[
    "-I-",
    "--include",
    "-iwithprefix",
    "-Xpreprocessor",
    "-Xclang",
    "-isystem-",
    "-ino-system-prefix",
    "--system-header-prefix",
    "--no-system-header-prefix",
    "-fdepfile-entry",
];

/// `None` where it cannot, or not for certain.
pub(super) fn of(
    session: &Session,
    parsed: &Parsed,
    real: &[String],
    is_clang: bool,
) -> Option<Cold> {
    let compiled = |kind: InputKind| {
        matches!(kind, InputKind::Source | InputKind::Header | InputKind::AssemblerCpp)
    };
    let sources: Vec<&String> =
        parsed.inputs.iter().filter(|(_, kind)| compiled(*kind)).map(|(path, _)| path).collect();
    let rest = parsed.inputs.iter().filter(|(_, kind)| !compiled(*kind));
    let whole = match parsed.kind {
        Kind::Compile => rest.count() == 0,
        // The linker may have code made, by a compiler that gets these options too.
        Kind::Link => {
            rest.into_iter().all(|(_, kind)| *kind == InputKind::Object)
                && sources.len() == 1
                && !parsed.words.iter().any(|word| word.starts_with("-flto"))
        }
    };
    if sources.is_empty()
        || !whole
        || parsed.recorded
        || parsed.words.iter().any(|word| word == "-MG")
    {
        return None;
    }
    let cold = Cold {
        real: real.to_vec(),
        environment: Vec::new(),
        own: Vec::new(),
        besides: Vec::new(),
        other_rule: false,
    };
    let with_list = |real: &[String], words: &[&str]| -> Vec<String> {
        real.iter().map(String::as_str).chain(words.iter().copied()).map(str::to_owned).collect()
    };
    let files = parsed.deps_files.as_slice();
    let tmpdir = &session.settings.tmpdir;
    match parsed.deps {
        Deps::None if sources.len() == 1 => {
            Some(Cold { real: with_list(real, &["-MD", "-MF", OWN_LIST]), ..cold })
        }
        // gcc starts one compiler after the other, and each would write a file of its own; to this
        // one they append. It names headers only.
        Deps::None if !is_clang && !has(tmpdir, &[' ', '\t']) => Some(Cold {
            environment: vec![("SUNPRO_DEPENDENCIES".to_owned(), format!("{OWN_LIST} all"))],
            besides: sources.into_iter().cloned().collect(),
            ..cold
        }),
        Deps::All if files.len() == sources.len() => Some(Cold { own: files.to_vec(), ..cold }),
        Deps::User if sources.len() == 1 && files.len() == 1 && !has(tmpdir, &[',']) => {
            let wide = widened(parsed, real, is_clang)?;
            Some(Cold { real: wide, other_rule: true, ..cold })
        }
        _ => None,
    }
}

fn has(path: &Path, characters: &[char]) -> bool {
    path.to_string_lossy().contains(characters)
}

/// The command with `-MD`, into a file of ours, instead of `-MMD`; if the rule of the one may follow
/// from that of the other.
fn widened(parsed: &Parsed, real: &[String], is_clang: bool) -> Option<Vec<String>> {
    let unclear = |word: &String| {
        let list = word.strip_prefix("-Wp,");
        UNCLEAR.iter().any(|option| word.starts_with(option))
            || list.is_some_and(|list| items(list).is_none())
    };
    if parsed.words.iter().any(unclear) {
        return None;
    }
    let named = parsed.words.iter().any(|word| word.starts_with("-MF"));
    let mut out = real.to_vec();
    let mut found = 0;
    for at in 0..real.len() {
        if at > 0 && flags::takes_next(&real[at - 1], is_clang) {
            continue;
        }
        if real[at] == "-MMD" {
            found += 1;
            out[at] = "-MD".to_owned();
            out.extend(["-MF", OWN_LIST].map(str::to_owned));
        } else if real[at] == "-MD" {
            return None;
        } else if let Some(list) = real[at].strip_prefix("-Wp,") {
            let mut items = items(list)?;
            let count = items.len();
            for item in items.iter_mut().filter(|item| matches!(item.0, "-MD" | "-MMD")) {
                // clang takes the file only if nothing else is in the list.
                if item.0 == "-MD" || named || (is_clang && count > 1) {
                    return None;
                }
                found += 1;
                *item = ("-MD", Some(OWN_LIST));
            }
            out[at] = joined(&items);
        }
    }
    (found == 1).then_some(out)
}

/// An option for the preprocessor, and its value if that is an item of its own.
type Item<'a> = (&'a str, Option<&'a str>);

/// The options in the list of `-Wp,`, if all are about the dependency file or are macros.
fn items(list: &str) -> Option<Vec<Item<'_>>> {
    let mut found = Vec::new();
    let mut items = list.split(',');
    while let Some(item) = items.next() {
        match item {
            "-MD" | "-MMD" | "-MT" | "-MQ" => found.push((item, Some(items.next()?))),
            "-MP" => found.push((item, None)),
            _ if item.len() > 2 && (item.starts_with("-D") || item.starts_with("-U")) => {
                found.push((item, None));
            }
            _ => return None,
        }
    }
    Some(found)
}

fn joined(items: &[Item<'_>]) -> String {
    let words = items.iter().flat_map(|(item, value)| std::iter::once(*item).chain(*value));
    std::iter::once("-Wp").chain(words).collect::<Vec<_>>().join(",")
}

/// What the list of `-Wp,` says about the dependency file, but for its name.
pub(super) fn without_file(list: &str) -> Option<String> {
    let items: Vec<_> = items(list)?
        .into_iter()
        .filter(|(item, _)| matches!(*item, "-MT" | "-MQ" | "-MP"))
        .collect();
    (!items.is_empty()).then(|| joined(&items))
}
