//! What the suffix of an input says.

use crate::paths::file_name;

/// What an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// C or C++.
    Source,
    /// A header that is compiled by itself.
    Header,
    /// Assembler that is preprocessed.
    AssemblerCpp,
    /// Assembler.
    Assembler,
    /// Already preprocessed.
    Preprocessed,
    /// For the linker: an object, an archive or a library.
    Object,
}

const SOURCES: &[&str] = &["cc", "c", "cp", "cxx", "cpp", "CPP", "c++", "C"];
const HEADERS: &[&str] = &["h", "hh", "H", "hp", "hxx", "hpp", "HPP", "h++", "tcc"];

/// The kind of an input by its name; `None` for one that is not understood.
#[must_use]
pub fn kind(path: &str) -> Option<InputKind> {
    let name = file_name(path);
    let suffix = name.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    Some(match suffix {
        suffix if SOURCES.contains(&suffix) => InputKind::Source,
        suffix if HEADERS.contains(&suffix) => InputKind::Header,
        "S" | "sx" => InputKind::AssemblerCpp,
        "s" => InputKind::Assembler,
        "i" | "ii" => InputKind::Preprocessed,
        "o" | "a" | "so" | "lo" | "obj" => InputKind::Object,
        _ if is_versioned_library(name) => InputKind::Object,
        _ => return None,
    })
}

/// The kind that `-x LANGUAGE` gives to the inputs after it; the error is an unknown language.
pub(crate) fn of_language(language: &str) -> Result<Option<InputKind>, ()> {
    Ok(match language {
        "none" => None,
        "c" | "c++" => Some(InputKind::Source),
        "c-header" | "c++-header" | "c++-system-header" | "c++-user-header" => {
            Some(InputKind::Header)
        }
        "assembler-with-cpp" => Some(InputKind::AssemblerCpp),
        "assembler" => Some(InputKind::Assembler),
        "cpp-output" | "c++-cpp-output" => Some(InputKind::Preprocessed),
        _ => return Err(()),
    })
}

/// `libx.so.1.2`
fn is_versioned_library(name: &str) -> bool {
    name.split_once(".so.").is_some_and(|(stem, version)| {
        !stem.is_empty() && version.split('.').all(|part| part.bytes().all(|b| b.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes() {
        assert_eq!(kind("a/b.c"), Some(InputKind::Source));
        assert_eq!(kind("b.C"), Some(InputKind::Source));
        assert_eq!(kind("b.H"), Some(InputKind::Header));
        assert_eq!(kind("b.S"), Some(InputKind::AssemblerCpp));
        assert_eq!(kind("libz.so.1.2.13"), Some(InputKind::Object));
        assert_eq!(kind("x.d/y"), None);
        assert_eq!(kind("foo.so.x"), None);
        assert_eq!(kind("a.f90"), None);
    }
}
