//! Which programs are compilers.

use std::path::Path;

/// The two kinds of compiler that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The GNU compilers and what behaves like them.
    Gcc,
    /// Clang by its own name.
    Clang,
}

/// A compiler, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// Whose options it takes.
    pub family: Family,
    /// Whether it treats what it gets as C++.
    pub cpp: bool,
    /// Whether the reference knows it by this name: no target prefix.
    pub plain: bool,
}

const NAMES: &[(&str, Family, bool)] = &[
    ("gcc", Family::Gcc, false),
    ("g++", Family::Gcc, true),
    ("cc", Family::Gcc, false),
    ("c++", Family::Gcc, true),
    ("c89", Family::Gcc, false),
    ("c99", Family::Gcc, false),
    ("c99-gcc", Family::Gcc, false),
    ("c89-gcc", Family::Gcc, false),
    ("clang", Family::Clang, false),
    ("clang++", Family::Clang, true),
];

/// Programs that start the compiler that follows them.
pub const LAUNCHERS: &[&str] = &["ccache", "sccache", "distcc", "icecc", "gomacc"];

/// The compiler that a program's name means: with a version at its end, with a target before it.
/// `resolved` is where its symbolic links lead.
#[must_use]
pub fn recognise(program: &str, resolved: Option<&Path>) -> Option<Compiler> {
    let base = without_version(crate::paths::file_name(program));
    let (mut family, cpp, plain) = match NAMES.iter().find(|(name, ..)| *name == base) {
        Some((_, family, cpp)) => (*family, *cpp, true),
        None => {
            let (_, family, cpp) = NAMES
                .iter()
                .filter(|(name, ..)| !name.starts_with("c8") && !name.starts_with("c9"))
                .find(|(name, ..)| {
                    base.strip_suffix(name).is_some_and(|target| {
                        target.ends_with('-') && target.matches('-').count() >= 2
                    })
                })?;
            (*family, *cpp, false)
        }
    };
    if matches!(base, "cc" | "c89" | "c99") {
        // `cc` is what it leads to; a name nobody knows leads nowhere.
        if let Some(name) = resolved.and_then(Path::file_name).and_then(|name| name.to_str()) {
            family = recognise(name, None)?.family;
        }
    }
    Some(Compiler { family, cpp, plain })
}

/// Whether the program a name leads to is clang.
#[must_use]
pub fn leads_to_clang(resolved: &Path) -> bool {
    resolved.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.contains("clang"))
}

/// `gcc-12` is `gcc`, `clang++-15.0` is `clang++`.
fn without_version(name: &str) -> &str {
    let cut = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    // `c99` and `c89` end with digits themselves.
    if matches!(name, "c99" | "c89") || cut.is_empty() || cut == "c" { name } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let plain = |name| recognise(name, None);
        for name in ["gcc", "/usr/bin/gcc", "gcc-12", "clang-15", "clang++-14.0", "c++", "g++"] {
            assert!(plain(name).is_some_and(|c| c.plain), "{name}");
        }
        let cross = plain("x86_64-linux-gnu-g++-12").expect("a compiler");
        assert!(cross.cpp && !cross.plain && cross.family == Family::Gcc);
        assert!(plain("aarch64-linux-gnu-clang").is_some());
        for name in ["ar", "ld", "cpp", "my-gcc", "gcc-ar", "x86_64-linux-gnu-gcc-ar", "rustc"] {
            assert!(plain(name).is_none(), "{name}");
        }
        let cc = recognise("cc", Some(Path::new("/usr/bin/clang-14"))).expect("a compiler");
        assert_eq!(cc.family, Family::Clang);
        assert!(recognise("cc", Some(Path::new("/opt/tinycc"))).is_none());
        let cc = recognise("cc", Some(Path::new("/usr/bin/x86_64-linux-gnu-gcc-12")));
        assert_eq!(cc.expect("a compiler").family, Family::Gcc);
    }
}
