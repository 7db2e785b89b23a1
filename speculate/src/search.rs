//! Where a compiler looks for the files that a text includes.

use forerunner_merkle::TreePath;
use forerunner_proto::reapi;

/// The folders that a command makes a compiler look into, in its order: paths in the input root.
#[derive(Clone, Debug)]
pub(crate) struct SearchPath {
    here: TreePath,
    /// Only for names in quotes.
    quoted: Vec<TreePath>,
    folders: Vec<TreePath>,
}

impl SearchPath {
    /// As the arguments of `command` say; `None` if it runs nowhere in its input root.
    pub(crate) fn new(command: &reapi::Command) -> Option<Self> {
        let here = TreePath::parse(&command.working_directory).ok()?;
        let mut path = Self { here, quoted: Vec::new(), folders: Vec::new() };
        path.quoted = path.folders(command, "-iquote");
        // gcc(1): these are searched in this order, whatever the order of the options.
        for option in ["-I", "-isystem", "-idirafter"] {
            let folders = path.folders(command, option);
            path.folders.extend(folders);
        }
        Some(path)
    }

    fn folders(&self, command: &reapi::Command, option: &str) -> Vec<TreePath> {
        let mut folders = Vec::new();
        let mut words = command.arguments.iter();
        while let Some(word) = words.next() {
            let Some(rest) = word.strip_prefix(option) else { continue };
            let folder =
                if rest.is_empty() { words.next().map(String::as_str) } else { Some(rest) };
            folders.extend(folder.and_then(|folder| self.here.join(folder).ok()));
        }
        folders
    }

    /// A path that the command names.
    pub(crate) fn named(&self, path: &str) -> Option<TreePath> {
        self.here.join(path).ok()
    }

    /// The paths that `name` may mean in the file `includer`, the first to be tried first.
    pub(crate) fn places<'a>(
        &'a self,
        includer: &TreePath,
        name: &'a str,
        quoted: bool,
    ) -> impl Iterator<Item = TreePath> + use<'a> {
        let beside = includer.split_last().map(|(folder, _)| folder).filter(|_| quoted);
        let beside = beside.and_then(|folder| folder.join(name).ok());
        let quoted = self.quoted.iter().filter(move |_| quoted);
        let folders = quoted.chain(&self.folders).filter_map(move |folder| folder.join(name).ok());
        beside.into_iter().chain(folders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_compilers_look() {
        let words = ["cc", "-Iinc", "-isystem", "/usr/sys", "-iquote", "q", "-c", "lib/a.c"];
        let command = reapi::Command {
            arguments: words.map(str::to_owned).to_vec(),
            working_directory: "work".to_owned(),
            ..Default::default()
        };
        let path = SearchPath::new(&command).expect("a path");
        let includer = path.named("lib/a.c").expect("a path");
        let places = |name: &str, quoted: bool| -> Vec<String> {
            path.places(&includer, name, quoted).map(|place| place.to_string()).collect()
        };
        assert_eq!(places("../b.h", true), ["work/b.h", "work/b.h", "work/b.h", "usr/b.h"]);
        assert_eq!(
            places("b.h", true),
            ["work/lib/b.h", "work/q/b.h", "work/inc/b.h", "usr/sys/b.h"]
        );
        assert_eq!(places("b.h", false), ["work/inc/b.h", "usr/sys/b.h"]);
        assert!(places("../../../b.h", false).is_empty());
    }
}
