//! Values as they stand in the environment and in configuration files.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::table::{self, Kind};

/// Values by the name of their setting, before they are checked.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    values: HashMap<&'static str, String>,
    sets: HashMap<&'static str, BTreeSet<String>>,
    maps: HashMap<&'static str, BTreeMap<String, String>>,
    /// Names that no setting has, with the nearest one that there is.
    pub unknown: Vec<(String, Option<&'static str>)>,
}

/// Prefixes of the variables that are looked at.
const OURS: &[&str] = &["RECC_", "FORERUNNER_"];
const EXACT: &[&str] = &["TMPDIR", "CLANG_SCAN_DEPS", "REAR_AR", "RERANLIB_RANLIB"];

impl Raw {
    /// Sets one variable. Sets grow, everything else is replaced: call it for the weakest place
    /// first.
    pub fn set(&mut self, variable: &str, value: &str) {
        if !OURS.iter().any(|prefix| variable.starts_with(prefix)) && !EXACT.contains(&variable) {
            return;
        }
        let Some((row, key)) = table::find(variable) else {
            // Variables of our other programs are none of our business.
            if variable.starts_with("RECC_") {
                self.unknown.push((variable.to_owned(), nearest(variable)));
            }
            return;
        };
        match row.kind {
            Kind::Set => {
                self.sets.entry(row.name).or_default().extend(split_set(value));
            }
            Kind::Map => {
                self.maps.entry(row.name).or_default().insert(key.to_owned(), value.to_owned());
            }
            _ => {
                self.values.insert(row.name, value.to_owned());
            }
        }
    }

    /// Reads a `recc.conf`: `key=value`, the key in any case and without `RECC_`; lines that
    /// begin with `#` or white space are skipped, nothing is trimmed or unquoted.
    pub fn read_file(&mut self, text: &str) {
        for line in text.lines() {
            if line.is_empty() || line.starts_with(|c: char| c == '#' || c.is_whitespace()) {
                continue;
            }
            if let Some((key, value)) = line.split_once('=') {
                self.set(&variable_of(key), value);
            }
        }
    }

    /// Text, if it is set at all.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// A list.
    #[must_use]
    pub fn list(&self, name: &str) -> BTreeSet<String> {
        self.sets.get(name).cloned().unwrap_or_default()
    }

    /// A map.
    #[must_use]
    pub fn map(&self, name: &str) -> BTreeMap<String, String> {
        self.maps.get(name).cloned().unwrap_or_default()
    }
}

/// The variable that a key of a configuration file means. The case of what follows the name of a
/// map is kept.
fn variable_of(key: &str) -> String {
    let upper = key.to_ascii_uppercase();
    if EXACT.contains(&upper.as_str()) || upper.starts_with("FORERUNNER_") {
        return upper;
    }
    let full = if upper.starts_with("RECC_") { upper } else { format!("RECC_{upper}") };
    match table::find(&full) {
        Some((row, rest)) if row.kind == Kind::Map => {
            format!("{}{}", row.name, &key[key.len() - rest.len()..])
        }
        _ => full,
    }
}

/// Splits at commas; a backslash escapes the next character and is dropped.
fn split_set(value: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        let last = parts.len() - 1;
        match character {
            ',' => parts.push(String::new()),
            '\\' => parts[last].extend(characters.next()),
            other => parts[last].push(other),
        }
    }
    parts
}

/// The setting whose name is most like `variable`, if one is near.
fn nearest(variable: &str) -> Option<&'static str> {
    table::all()
        .map(|row| (strsim::damerau_levenshtein(row.name, variable), row.name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 6)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_the_reference_does() {
        let mut raw = Raw::default();
        raw.read_file(
            "# a comment\n server=no\nserver=unix:/s\nremote_platform_OSFamily=linux\nTmpDir=/t\nlink_remote_platform_ISA=x\n\nbroken\n",
        );
        assert_eq!(raw.text("RECC_SERVER"), Some("unix:/s"));
        assert_eq!(raw.text("TMPDIR"), Some("/t"));
        assert_eq!(raw.map("RECC_REMOTE_PLATFORM_")["OSFamily"], "linux");
        assert_eq!(raw.map("RECC_LINK_REMOTE_PLATFORM_")["ISA"], "x");
    }

    #[test]
    fn sets_grow_and_escape() {
        let mut raw = Raw::default();
        raw.set("RECC_DEPS_OVERRIDE", r"a\,b,c");
        raw.set("RECC_DEPS_OVERRIDE", "d");
        let list: Vec<_> = raw.list("RECC_DEPS_OVERRIDE").into_iter().collect();
        assert_eq!(list, ["a,b", "c", "d"]);
    }

    #[test]
    fn misspelt_names_have_a_neighbour() {
        let mut raw = Raw::default();
        raw.set("RECC_CAHCE_ONLY", "1");
        raw.set("RECC_ZZZ", "1");
        raw.set("PATH", "/bin");
        assert_eq!(raw.unknown[0], ("RECC_CAHCE_ONLY".to_owned(), Some("RECC_CACHE_ONLY")));
        assert_eq!(raw.unknown[1].1, None);
        assert_eq!(raw.unknown.len(), 2);
    }
}
