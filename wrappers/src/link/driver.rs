//! The linker command that a compiler would start, as `-###` shows it.

use crate::command::response;
use crate::paths;

/// Programs that link.
const LINKERS: &[&str] =
    &["collect2", "ld", "ld.bfd", "ld.gold", "ld.lld", "ld.mold", "mold", "lld", "gold"];

/// The words after the linker's name in the last line that starts one; `None` if there is not
/// exactly one such line.
#[must_use]
pub fn linker_words(shown: &str) -> Option<Vec<String>> {
    let mut lines = shown.lines().filter(|line| line.starts_with(' ')).filter_map(|line| {
        let words = response::split(line);
        let name = paths::file_name(words.first()?).to_owned();
        let plain = name.rsplit_once('-').map_or(name.as_str(), |(_, last)| last);
        LINKERS.contains(&plain).then_some(words)
    });
    let mut words = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    words.remove(0);
    Some(words)
}

/// The directories that `ld --verbose` says it searches by default; `=` at the start of one stands
/// for the sysroot.
#[must_use]
pub fn search_dirs(verbose: &str) -> Vec<String> {
    verbose
        .split("SEARCH_DIR(")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .map(|directory| directory.trim_matches('"').to_owned())
        .collect()
}

/// Files that a linker script names in INPUT and GROUP, AS_NEEDED included; `None` if it
/// includes other scripts, or is none.
#[must_use]
pub fn script_inputs(text: &str) -> Option<Vec<String>> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        plain.push_str(before);
        plain.push(' ');
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    let spaced = plain.replace('(', " ( ").replace(')', " ) ").replace([',', ';'], " ");
    let mut found = Vec::new();
    let (mut depth, mut reading) = (0_usize, false);
    let mut previous = "";
    for word in spaced.split_whitespace() {
        match word {
            "INCLUDE" => return None,
            "(" => {
                depth += 1;
                if depth == 1 {
                    reading = matches!(previous, "INPUT" | "GROUP");
                }
            }
            ")" => {
                depth = depth.checked_sub(1)?;
                reading &= depth > 0;
            }
            "AS_NEEDED" => {}
            word if reading => found.push(word.trim_matches('"').to_owned()),
            _ => {}
        }
        previous = word;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gcc_and_clang_show_it() {
        let gcc = "Using built-in specs.\nCOLLECT_GCC=gcc\n /usr/libexec/gcc/x/16/collect2 -plugin \"-plugin-opt=a b\" -o prog main.o\nCOLLECT_GCC_OPTIONS='-o'\n";
        assert_eq!(
            linker_words(gcc).expect("words"),
            ["-plugin", "-plugin-opt=a b", "-o", "prog", "main.o"]
        );
        let clang = "clang version 14\n \"/usr/bin/ld\" \"-o\" \"p\" \"a.o\"\n";
        assert_eq!(linker_words(clang).expect("words"), ["-o", "p", "a.o"]);
        assert_eq!(linker_words(" /usr/bin/cc1 a.c\n"), None);
        assert_eq!(linker_words(" /usr/bin/x86_64-linux-gnu-ld a.o\n").expect("words"), ["a.o"]);
    }

    #[test]
    fn scripts() {
        let libc = "/* GNU ld script */\nOUTPUT_FORMAT(elf64-x86-64)\nGROUP ( /lib/libc.so.6 /usr/lib/libc_nonshared.a  AS_NEEDED ( /lib64/ld.so.2 ) )\n";
        assert_eq!(
            script_inputs(libc).expect("a script"),
            ["/lib/libc.so.6", "/usr/lib/libc_nonshared.a", "/lib64/ld.so.2"]
        );
        assert_eq!(script_inputs("INPUT(-lncurses)").expect("a script"), ["-lncurses"]);
        assert_eq!(script_inputs("INCLUDE other.ld"), None);
        assert_eq!(
            search_dirs("x SEARCH_DIR(\"=/usr/lib\"); SEARCH_DIR(\"/lib\");"),
            ["=/usr/lib", "/lib"]
        );
    }
}
