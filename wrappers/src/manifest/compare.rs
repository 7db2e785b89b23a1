//! What a variant still says after some of its inputs were edited.

use std::path::PathBuf;

use crate::paths;
use crate::scan::scan;
use crate::stamp;
use crate::stat_cache::StatCache;

use super::{Outline, Variant, decide};

/// How much of it still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// The command reads these files and no others.
    SameFiles,
    /// If the command succeeds with these files and no others, it does the same here.
    SameNames,
}

impl Variant {
    /// Takes in the inputs' outlines as they are now, and says what that means; `None` if nothing
    /// can be concluded.
    pub fn compare(&mut self, directory: &str, stats: &mut StatCache) -> Option<Likeness> {
        let mut likeness = match (self.steadiness.by_directives, self.steadiness.by_names) {
            (true, _) => Likeness::SameFiles,
            (false, true) => Likeness::SameNames,
            (false, false) => return None,
        };
        self.check_names(directory, stamp::now()).ok()?;
        let mut by_pragma = false;
        let mut edited = Vec::new();
        for input in &mut self.inputs {
            let path = PathBuf::from(paths::absolute(&input.path, directory));
            let known = stats.know(&path).ok()?;
            if known.digest == input.digest {
                continue;
            }
            let before = input.outline?;
            let text = std::fs::read(&path).ok()?;
            // What is compared must be what is digested.
            if stats.function().digest(&text) != known.digest {
                return None;
            }
            let facts = scan(&text, false);
            let now = Outline::of(&text, &facts);
            if now.names != before.names {
                return None;
            }
            let other = now.directives.is_none() || now.directives != before.directives;
            let pragma = decide::by_pragma(&text);
            if other || pragma {
                likeness = Likeness::SameNames;
            }
            by_pragma |= pragma;
            self.steadiness.counts |= decide::counts(&text);
            input.outline = Some(now);
            if facts.once {
                edited.push(known.digest);
            }
            input.digest = known.digest;
        }
        // A file that is read once only is not read at all where another has the same content.
        let twins = edited.iter().any(|digest| {
            self.inputs.iter().filter(|input| input.digest == *digest).nth(1).is_some()
        });
        let holds = likeness == Likeness::SameFiles || self.steadiness.by_names;
        if likeness == Likeness::SameNames {
            // With other directives a counter may decide, or another file with the content of one
            // that is read once only be passed over.
            let again = !edited.is_empty();
            self.steadiness.by_directives &= !by_pragma && !self.steadiness.counts && !again;
            self.steadiness.by_names &= !again;
        }
        (holds && !twins).then_some(likeness)
    }
}
