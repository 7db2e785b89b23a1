//! The description of a tool: which of its options name files, and what it writes.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

/// How the words that are no options are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operands {
    /// Files that are read.
    #[default]
    Inputs,
    /// Files that are rewritten, unless an output is named.
    InPlace,
    /// The file that is read and the one that is written; one alone is rewritten.
    FromTo,
}

/// Further outputs, if an option is given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Also {
    /// The options.
    pub with: Vec<String>,
    /// The outputs; `{output-stem}` is the first output without its suffix.
    pub outputs: Vec<String>,
    /// The suffix of these outputs by that of the first output.
    #[serde(default)]
    pub suffixes: BTreeMap<String, String>,
}

/// One tool.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Names of its program; `*` stands for any beginning.
    pub programs: Vec<String>,
    /// How operands are meant.
    #[serde(default)]
    pub operands: Operands,
    /// Options whose value is a file that is written.
    #[serde(default)]
    pub output: Vec<String>,
    /// Options whose value is a file that is read.
    #[serde(default)]
    pub input: Vec<String>,
    /// Options whose value has a file that is read after its `=`.
    #[serde(default)]
    pub input_after_equals: Vec<String>,
    /// Options whose value is a directory in which files are searched.
    #[serde(default)]
    pub directory: Vec<String>,
    /// Options whose value is no file.
    #[serde(default)]
    pub value: Vec<String>,
    /// Of these, the short ones whose value stands in the same word only.
    #[serde(default)]
    pub joined: Vec<String>,
    /// Options without a value.
    #[serde(default)]
    pub plain: Vec<String>,
    /// Options with which the command is not cached. Unknown ones count as such.
    #[serde(default)]
    pub refuse: Vec<String>,
    /// Outputs per input for options whose value is a directory: `{value}`, `{name}` (the input
    /// without its suffix, seen from the directory in which it was found), `{module}` (the same
    /// with `-` as `_`).
    #[serde(default)]
    pub generates: BTreeMap<String, Vec<String>>,
    /// Outputs if no option names one: `{stem}` is the first input's name without its suffix.
    #[serde(default)]
    pub default_outputs: Vec<String>,
    /// Options that take the place of the default outputs.
    #[serde(default)]
    pub default_unless: Vec<String>,
    /// Options with which the default outputs are others.
    #[serde(default)]
    pub no_defaults_with: Vec<String>,
    /// Further outputs.
    #[serde(default)]
    pub also: Vec<Also>,
    /// Without a named output the command is not cached.
    #[serde(default)]
    pub needs_output: bool,
    /// Texts in an input with which the outputs cannot be foreseen.
    #[serde(default)]
    pub opaque: Vec<String>,
    /// Options with which the tool itself says what it reads: as a rule for make, or one name
    /// per line, in `{dependencies}` or on standard output. `{nowhere}` is a file that nobody
    /// reads.
    #[serde(default)]
    pub dependency_options: Vec<String>,
    /// Options that are left out then.
    #[serde(default)]
    pub dependency_drops: Vec<String>,
    /// It can say so for one input at a time only.
    #[serde(default)]
    pub dependency_each: bool,
    /// Further programs that it starts.
    #[serde(default)]
    pub helpers: Vec<String>,
    /// Files or directories that it reads wherever it runs.
    #[serde(default)]
    pub data: Vec<String>,
    /// Variables that it reads.
    #[serde(default)]
    pub variables: Vec<String>,
    /// It loads the plugins of the GNU tools.
    #[serde(default)]
    pub plugins: bool,
    /// An output may be an archive, which must bear no times.
    #[serde(default)]
    pub archives: bool,
}

/// Tools by their name.
pub type Specs = BTreeMap<String, Spec>;

/// Why a file of descriptions is none.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// It cannot be read.
    #[error("`{0}`: {1}")]
    Read(String, std::io::Error),
    /// It is no TOML, or has a key that nobody knows.
    #[error("`{0}`: {1}")]
    Form(String, String),
    /// A description contradicts itself.
    #[error("`{file}`: tool `{tool}`: {problem}")]
    Meaning {
        /// The file.
        file: String,
        /// The tool.
        tool: String,
        /// What is wrong.
        problem: String,
    },
}

/// The tools that we know.
///
/// # Errors
/// Never, which a test checks.
pub fn builtin() -> Result<Specs, SpecError> {
    parse("builtin.toml", include_str!("builtin.toml"))
}

/// The tools of a user's file.
///
/// # Errors
/// What is wrong with it, and where.
pub fn of_file(path: &Path) -> Result<Specs, SpecError> {
    let shown = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|error| SpecError::Read(shown.clone(), error))?;
    parse(&shown, &text)
}

fn parse(file: &str, text: &str) -> Result<Specs, SpecError> {
    let specs: Specs = toml::from_str(text)
        .map_err(|error| SpecError::Form(file.to_owned(), error.to_string().trim().to_owned()))?;
    for (tool, spec) in &specs {
        spec.check().map_err(|problem| SpecError::Meaning {
            file: file.to_owned(),
            tool: tool.clone(),
            problem,
        })?;
    }
    Ok(specs)
}

impl Spec {
    fn check(&self) -> Result<(), String> {
        if self.programs.is_empty() {
            return Err("`programs` names none".to_owned());
        }
        let lists = [
            &self.output,
            &self.input,
            &self.input_after_equals,
            &self.directory,
            &self.value,
            &self.plain,
            &self.refuse,
        ];
        for option in lists.iter().copied().flatten() {
            if !option.starts_with('-') {
                return Err(format!("the option `{option}` does not begin with `-`"));
            }
        }
        let writes = !self.output.is_empty()
            || !self.default_outputs.is_empty()
            || !self.generates.is_empty()
            || self.operands != Operands::Inputs;
        if !writes {
            return Err("nothing says what it writes: give `output`, `default-outputs`, `generates` or `operands`".to_owned());
        }
        let known = ["{value}", "{name}", "{module}", "{stem}", "{output-stem}"];
        let templates = self
            .default_outputs
            .iter()
            .chain(self.generates.values().flatten())
            .chain(self.also.iter().flat_map(|also| &also.outputs));
        for template in templates {
            let mut rest = template.clone();
            known.iter().for_each(|name| rest = rest.replace(name, ""));
            if rest.contains(['{', '}']) {
                return Err(format!(
                    "`{template}` has a placeholder that is none of {}",
                    known.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// Whether a program's name means this tool.
    #[must_use]
    pub fn is_program(&self, name: &str) -> bool {
        let name = crate::paths::file_name(name);
        let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        let bare = bare.strip_suffix('-').unwrap_or(name);
        self.programs.iter().any(|pattern| {
            [name, bare].into_iter().any(|name| match pattern.strip_prefix('*') {
                Some(end) => name.len() > end.len() && name.ends_with(end),
                None => name == pattern,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_descriptions_are_right() {
        let specs = builtin().expect("descriptions");
        assert_eq!(specs.len(), 6);
        assert!(specs["strip"].is_program("/usr/bin/aarch64-linux-gnu-strip"));
        assert!(specs["strip"].is_program("llvm-strip-14"));
        assert!(!specs["strip"].is_program("objcopy"));
    }

    #[test]
    fn mistakes_are_named() {
        let bad = |text: &str| parse("f.toml", text).expect_err("a mistake").to_string();
        assert!(bad("[t]\nprograms = [\"t\"]\noutptu = [\"-o\"]\n").contains("outptu"));
        assert!(bad("[t]\nprograms = []\noutput = [\"-o\"]\n").contains("`programs` names none"));
        assert!(bad("[t]\nprograms = [\"t\"]\n").contains("nothing says what it writes"));
        assert!(bad("[t]\nprograms = [\"t\"]\noutput = [\"o\"]\n").contains("`o`"));
        assert!(
            bad("[t]\nprograms = [\"t\"]\ndefault-outputs = [\"{stme}.c\"]\n").contains("{stme}")
        );
    }
}
