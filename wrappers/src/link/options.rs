//! The options of ld, gold, lld and mold that mean something to us.

/// What an option of the linker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEffect {
    /// Takes a value and means nothing to us.
    Value,
    /// `-dynamic-linker`
    Loader,
    /// `-o`
    Output,
    /// `-L`
    Directory,
    /// `-l`
    Library,
    /// `-rpath`
    RunPath,
    /// `-rpath-link`
    RunPathLink,
    /// Names a file that is read.
    Read,
    /// Names a script, which may name further files.
    Script,
    /// Reads or writes a file that we do not follow.
    Refuse,
    /// `-Map`: a file that is written.
    Map,
    /// `--sysroot`
    Sysroot,
    /// From here on only archives.
    Static,
    /// From here on shared libraries too.
    Shared,
}

use LinkEffect::{
    Directory, Library, Loader, Output, Read, Refuse, RunPath, RunPathLink, Script, Shared, Static,
    Sysroot, Value,
};

/// Options whose value is the next word, or stands after `=`.
const LONG: &[(&str, LinkEffect)] = &[
    ("audit", Value),
    ("defsym", Value),
    ("depaudit", Value),
    ("dynamic-linker", Loader),
    ("entry", Value),
    ("exclude-libs", Value),
    ("export-dynamic-symbol", Value),
    ("filter", Value),
    ("fini", Value),
    ("format", Value),
    ("gpsize", Value),
    ("hash-style", Value),
    ("image-base", Value),
    ("init", Value),
    ("oformat", Value),
    ("plugin-opt", Value),
    ("require-defined", Value),
    ("section-start", Value),
    ("soname", Value),
    ("sort-section", Value),
    ("Tbss", Value),
    ("Tdata", Value),
    ("Ttext", Value),
    ("Ttext-segment", Value),
    ("Trodata-segment", Value),
    ("Tldata-segment", Value),
    ("undefined", Value),
    ("wrap", Value),
    ("assert", Value),
    ("trace-symbol", Value),
    ("auxiliary", Value),
    ("undefined-version", Value),
    ("plugin", Read),
    ("version-script", Read),
    ("dynamic-list", Read),
    ("retain-symbols-file", Read),
    ("just-symbols", Read),
    ("export-dynamic-symbol-list", Read),
    ("symbol-ordering-file", Read),
    ("section-ordering-file", Read),
    ("library", Library),
    ("library-path", Directory),
    ("output", Output),
    ("rpath", RunPath),
    ("rpath-link", RunPathLink),
    ("script", Script),
    ("default-script", Script),
    ("Map", LinkEffect::Map),
    ("dependency-file", Refuse),
    ("out-implib", Refuse),
    ("error-handling-script", Refuse),
    ("mri-script", Refuse),
    ("print-archive-stats", Refuse),
    ("stats-file", Refuse),
    ("reproduce", Refuse),
    ("sysroot", Sysroot),
    ("chroot", Refuse),
    ("dump", Refuse),
    ("whyload", Refuse),
    ("time-trace", Refuse),
    ("cref", Value),
    ("base-file", Refuse),
    ("output-def", Refuse),
];

/// One letter, its value in the same word or the next.
const SHORT: &[(&str, LinkEffect)] = &[
    ("-m", Value),
    ("-z", Value),
    ("-u", Value),
    ("-e", Value),
    ("-h", Value),
    ("-y", Value),
    ("-Y", Refuse),
    ("-A", Value),
    ("-F", Value),
    ("-f", Value),
    ("-b", Value),
    ("-a", Value),
    ("-G", Value),
    ("-P", Value),
    ("-I", Value),
    ("-o", Output),
    ("-L", Directory),
    ("-l", Library),
    ("-T", Script),
    ("-dT", Script),
    ("-R", Read),
    ("-c", Refuse),
];

/// Words without a value.
const WORDS: &[(&str, LinkEffect)] = &[
    ("-Bstatic", Static),
    ("-static", Static),
    ("-dn", Static),
    ("-non_shared", Static),
    ("-Bdynamic", Shared),
    ("-dy", Shared),
    ("-call_shared", Shared),
    ("--cref", Value),
];

/// What a word means; its value if that stands in the word, and whether the next word is the value.
#[must_use]
pub fn find(word: &str) -> Option<(LinkEffect, Option<&str>, bool)> {
    if let Some((_, effect)) = WORDS.iter().find(|(name, _)| *name == word) {
        return Some((*effect, None, false));
    }
    // Long options have one dash or two.
    let long = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
    let (name, value) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (long, None),
    };
    if let Some((_, effect)) = LONG.iter().find(|(known, _)| *known == name)
        // `-o…` and the like with one dash are short ones.
        && (word.starts_with("--") || name.len() > 1)
    {
        return Some((*effect, value, value.is_none()));
    }
    if word.starts_with("--") {
        return None;
    }
    // Longer names that happen to begin with such a letter.
    const NOT_SHORT: &[&str] = &[
        "-pie",
        "-no-pie",
        "-export-dynamic",
        "-eh-frame-hdr",
        "-build-id",
        "-flto",
        "-fuse-ld",
        "-as-needed",
        "-no-as-needed",
        "-add-needed",
        "-start-group",
        "-end-group",
        "-EL",
        "-EB",
        "-allow",
        "-end-lib",
        "-Ur",
        "-EL",
        "-fix",
        "-enable",
        "-emit",
        "-z=",
        "-Bsymbolic",
        "-Bgroup",
        "-error",
        "-fatal",
        "-ffast",
        "-icf",
        "-allow-shlib-undefined",
        "-accept",
        "-embedded",
        "-exclude",
        "-copy",
        "-call",
        "-check",
        "-color",
        "-compress",
        "-Pic",
    ];
    if NOT_SHORT.iter().any(|name| word.starts_with(name)) {
        return None;
    }
    let (name, effect) = SHORT
        .iter()
        .filter(|(name, _)| word.starts_with(name))
        .max_by_key(|(name, _)| name.len())?;
    let rest = &word[name.len()..];
    Some((*effect, (!rest.is_empty()).then_some(rest), rest.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(find("-lm"), Some((Library, Some("m"), false)));
        assert_eq!(find("-L"), Some((Directory, None, true)));
        assert_eq!(find("-o"), Some((Output, None, true)));
        assert_eq!(find("--version-script=v"), Some((Read, Some("v"), false)));
        assert_eq!(find("-rpath"), Some((RunPath, None, true)));
        assert_eq!(find("-plugin-opt=-fresolution=x").map(|f| f.0), Some(Value));
        assert_eq!(find("-Map").map(|f| f.0), Some(LinkEffect::Map));
        assert_eq!(find("-static"), Some((Static, None, false)));
        assert_eq!(find("--eh-frame-hdr"), None);
        assert_eq!(find("-pie"), None);
        assert_eq!(find("-shared"), None);
        assert_eq!(find("-m"), Some((Value, None, true)));
    }
}
