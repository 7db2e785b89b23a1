//! The files that a command writes.

use crate::paths;
use crate::reason::Reason;

use super::draft::Draft;
use super::kind::{Deps, Kind};
use super::sources::InputKind;

/// A file that the command writes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Product {
    /// Its name in the action, relative to the working directory.
    pub remote: String,
    /// Where it is here: absolute, or relative to the current directory.
    pub local: String,
}

impl Draft<'_> {
    /// Every file that the command writes, sorted by the name in the action.
    ///
    /// # Errors
    /// If one lies where an action cannot write it, or is not known.
    pub(super) fn products(&self, kind: Kind) -> Result<Vec<Product>, Reason> {
        let mut locals: Vec<String> = Vec::new();
        let compiled: Vec<(&str, InputKind)> = self
            .inputs
            .iter()
            .filter(|(_, kind)| *kind != InputKind::Object)
            .map(|(path, kind)| (path.as_str(), *kind))
            .collect();
        if self.outputs.is_empty() {
            match kind {
                Kind::Link => locals.push("a.out".to_owned()),
                Kind::Compile => {
                    locals.extend(compiled.iter().map(|(path, kind)| default_output(path, *kind)));
                }
            }
        } else {
            if kind == Kind::Compile && compiled.len() > 1 {
                return Err(Reason::Multiple);
            }
            locals.extend(self.outputs.iter().cloned());
        }
        let further =
            self.deps != Deps::None || self.coverage || self.split_dwarf || self.stack_usage;
        if kind == Kind::Link && further && !compiled.is_empty() {
            // Their names are made from both the program's and the sources'.
            return Err(Reason::Multiple);
        }
        if kind == Kind::Compile {
            self.further(&compiled, &mut locals);
        }
        locals.extend(self.maps.iter().cloned());
        let mut products = Vec::new();
        for local in locals {
            products.push(self.place(local)?);
        }
        products.sort();
        products.dedup();
        Ok(products)
    }

    /// The files beside the objects.
    fn further(&self, compiled: &[(&str, InputKind)], locals: &mut Vec<String>) {
        // What the names of further files are made from: the output, or each source.
        let stems: Vec<String> = match self.outputs.last() {
            Some(output) => vec![output.clone()],
            None => compiled.iter().map(|(path, _)| paths::file_name(path).to_owned()).collect(),
        };
        if self.deps != Deps::None {
            match &self.deps_file {
                Some(file) => locals.push(file.clone()),
                None => locals.extend(stems.iter().map(|stem| paths::with_suffix(stem, "d"))),
            }
        }
        if self.coverage {
            match &self.profile_note {
                Some(file) => locals.push(file.clone()),
                None => locals.extend(stems.iter().map(|stem| paths::with_suffix(stem, "gcno"))),
            }
        }
        let only_headers = compiled.iter().all(|(_, kind)| *kind == InputKind::Header);
        if self.split_dwarf && !only_headers {
            locals.extend(stems.iter().map(|stem| paths::with_suffix(stem, "dwo")));
        }
        if self.stack_usage {
            locals.extend(stems.iter().map(|stem| paths::with_suffix(stem, "su")));
        }
    }

    /// The files that `-Map` names. What they say of sources compiled on the way has names that are
    /// made up each time.
    pub(super) fn map_files(&self, words: &[String]) -> Result<Vec<String>, Reason> {
        let mut linker: Vec<&str> = Vec::new();
        let mut at = words.iter();
        while let Some(word) = at.next() {
            if let Some(list) = word.strip_prefix("-Wl,") {
                linker.extend(list.split(','));
            } else if word == "-Xlinker" {
                linker.extend(at.next().map(String::as_str));
            }
        }
        let mut maps = Vec::new();
        let mut at = linker.into_iter();
        while let Some(word) = at.next() {
            let name = word.trim_start_matches('-');
            match name.strip_prefix("Map=") {
                Some(file) => maps.push(file.to_owned()),
                None if name == "Map" && word.starts_with('-') => {
                    maps.push(at.next().ok_or(Reason::Syntax)?.to_owned());
                }
                None => {}
            }
        }
        let fleeting = self.inputs.iter().any(|(_, kind)| *kind != InputKind::Object)
            || words.iter().any(|word| word.starts_with("-flto"));
        if !maps.is_empty() && fleeting {
            return Err(Reason::LinkerFile);
        }
        Ok(maps)
    }

    fn place(&self, local: String) -> Result<Product, Reason> {
        if local.is_empty() || local == "-" || local.starts_with("/dev/") {
            return Err(Reason::OutputSpecial);
        }
        let mut remote = self.rules.rewrite(&local);
        let above = |path: &str| path.split('/').any(|part| part == "..");
        if self.anywhere && self.rules.keep() {
            let directory = &self.rules.directory;
            remote = paths::relative(&paths::absolute(&remote, directory), directory);
        } else if remote.starts_with('/') || above(&remote) {
            return Err(Reason::OutputPlace);
        } else {
            remote = paths::normalise(&remote);
        }
        Ok(Product { remote, local })
    }
}

fn default_output(path: &str, kind: InputKind) -> String {
    if kind == InputKind::Header {
        return format!("{path}.gch");
    }
    paths::with_suffix(paths::file_name(path), "o")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_that_are_not_named() {
        assert_eq!(default_output("s/a.cpp", InputKind::Source), "a.o");
        assert_eq!(default_output("s/a.h", InputKind::Header), "s/a.h.gch");
    }
}
