//! Options that are passed to the preprocessor (`-Wp,…`, `-Xpreprocessor`).

use crate::reason::Reason;

use super::draft::Draft;
use super::flags::{self, Effect};
use super::kind::Deps;

impl Draft<'_> {
    /// The options for the preprocessor, which the reference puts at the end, one by one.
    ///
    /// # Errors
    /// Why the command is not cached.
    pub(super) fn preprocessor_words(&mut self) -> Result<(), Reason> {
        let words = std::mem::take(&mut self.preprocessor);
        let mut at = 0;
        while let Some(word) = words.get(at) {
            at += 1;
            let push = |this: &mut Self, text: &str, deps: Option<&str>| {
                this.arguments.extend(["-Xpreprocessor".to_owned(), text.to_owned()]);
                if let Some(deps) = deps {
                    this.deps_arguments.extend(["-Xpreprocessor".to_owned(), deps.to_owned()]);
                }
            };
            match word.as_str() {
                "-MD" | "-MMD" => {
                    // Here these two take the file as their value.
                    self.deps = if word == "-MD" { Deps::All } else { Deps::User };
                    let file = words.get(at).ok_or(Reason::Syntax)?;
                    at += 1;
                    self.deps_file = Some(file.clone());
                    let path = self.rules.rewrite(file);
                    push(self, word, None);
                    push(self, &path, None);
                }
                "-MF" | "-MT" | "-MQ" => {
                    let value = words.get(at).ok_or(Reason::Syntax)?;
                    at += 1;
                    if word == "-MF" {
                        self.deps_file = Some(value.clone());
                    }
                    let path = self.rules.rewrite(value);
                    push(self, word, None);
                    push(self, &path, None);
                }
                "-MP" | "-MG" | "-MV" => push(self, word, None),
                "-M" | "-MM" | "-E" => return Err(Reason::DependenciesOnly),
                _ => match flags::find(word, self.is_clang) {
                    Some((flag, value))
                        if matches!(
                            flag.effect,
                            Effect::Directory | Effect::IncludeFile | Effect::Path
                        ) =>
                    {
                        let inline = value.is_some();
                        let value = match value {
                            Some(value) => value.to_owned(),
                            None => {
                                at += 1;
                                words.get(at - 1).ok_or(Reason::Syntax)?.clone()
                            }
                        };
                        match flag.effect {
                            Effect::Directory => self.directories.push(value.clone()),
                            Effect::IncludeFile => self.forced.push(value.clone()),
                            _ => {}
                        }
                        let path = self.rules.rewrite(&value);
                        if inline {
                            push(self, &format!("{}{path}", flag.name), Some(word));
                        } else {
                            push(self, word, Some(word));
                            push(self, &path, Some(&value));
                        }
                    }
                    Some((flag, _)) if matches!(flag.effect, Effect::Refuse(_)) => {
                        return Err(Reason::Dump);
                    }
                    _ => push(self, word, Some(word)),
                },
            }
        }
        Ok(())
    }
}
