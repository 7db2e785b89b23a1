//! The action that is to be run, read and checked.

use std::path::Path;
use std::time::Duration;

use forerunner_merkle::{Digest, Forest, TreePath};
use forerunner_proto::{Message, reapi};
use forerunner_reapi::Endpoint;

use crate::failure::Failure;
use crate::outputs::Outputs;
use crate::platform::{Base, Platform};
use crate::settings::Settings;

/// A checked action.
#[derive(Debug)]
pub(crate) struct Job {
    /// Digest of the Action.
    pub(crate) action: Digest,
    /// Its input root, before anything is laid under it.
    pub(crate) input_root: Digest,
    /// After so long it is ended.
    pub(crate) timeout: Option<Duration>,
    /// What it asks of the sandbox.
    pub(crate) platform: Platform,
    /// Where the command starts.
    pub(crate) working_directory: TreePath,
    /// What is kept of it.
    pub(crate) outputs: Outputs,
    /// Its arguments; there is at least one.
    pub(crate) arguments: Vec<String>,
    /// Names and values.
    pub(crate) environment: Vec<(String, String)>,
}

impl Job {
    /// Reads the Action from a file and its Command from `endpoint`.
    ///
    /// # Errors
    /// If one is missing or makes no sense.
    pub(crate) async fn read(endpoint: &Endpoint, file: &Path) -> Result<Self, Failure> {
        let bytes = std::fs::read(file).map_err(Failure::file("read the action", file))?;
        let digest = endpoint.function().digest(&bytes);
        let action = reapi::Action::decode(&bytes[..]).map_err(|error| Failure::Malformed {
            what: format!("`{}` is not an Action", file.display()),
            why: error.to_string(),
        })?;
        let command = Digest::required(action.command_digest.as_ref())
            .map_err(|error| malformed(&digest, "the command digest", &error))?;
        let command = endpoint.message(&command).await?;
        Self::parse(digest, &action, command)
    }

    /// Checks an Action and its Command.
    ///
    /// # Errors
    /// If one makes no sense.
    #[allow(deprecated, reason = "older clients put the platform into the Command")]
    pub(crate) fn parse(
        digest: Digest,
        action: &reapi::Action,
        command: reapi::Command,
    ) -> Result<Self, Failure> {
        let malformed = |what: &str, why: &dyn ToString| malformed(&digest, what, why);
        let input_root = Digest::required(action.input_root_digest.as_ref())
            .map_err(|error| malformed("the input root digest", &error))?;
        let timeout = match &action.timeout {
            None => None,
            Some(time) => {
                let seconds = u64::try_from(time.seconds);
                let nanoseconds = u32::try_from(time.nanos).ok().filter(|n| *n < 1_000_000_000);
                let (Ok(seconds), Some(nanoseconds)) = (seconds, nanoseconds) else {
                    return Err(malformed("the timeout", &"it is negative"));
                };
                Some(Duration::new(seconds, nanoseconds)).filter(|time| !time.is_zero())
            }
        };
        let properties = action.platform.as_ref().or(command.platform.as_ref());
        let platform = match properties {
            Some(properties) => Platform::parse(properties)?,
            None => Platform::default(),
        };
        let working_directory = TreePath::parse(&command.working_directory).map_err(|why| {
            Failure::WorkingDirectory { path: command.working_directory.clone(), why }
        })?;
        let outputs = Outputs::parse(&command, &working_directory)?;
        if command.arguments.is_empty() {
            return Err(malformed("the command", &"it has no arguments"));
        }
        let variables = &command.environment_variables;
        let nul = |text: &String| text.contains('\0');
        if command.arguments.iter().any(nul)
            || variables.iter().any(|pair| nul(&pair.name) || nul(&pair.value))
        {
            return Err(malformed("the command", &"an argument or a variable contains NUL"));
        }
        if let Some(pair) = variables.iter().find(|p| p.name.is_empty() || p.name.contains('=')) {
            let why = format!("`{}` is not the name of a variable", pair.name);
            return Err(malformed("the command", &why));
        }
        Ok(Self {
            action: digest,
            input_root,
            timeout,
            platform,
            working_directory,
            outputs,
            arguments: command.arguments,
            environment: command
                .environment_variables
                .into_iter()
                .map(|pair| (pair.name, pair.value))
                .collect(),
        })
    }

    /// The root of the action's tree, laid over its base if it has one.
    ///
    /// # Errors
    /// If a part that is needed for that is missing or malformed.
    pub(crate) async fn merge(
        &self,
        settings: &Settings,
        endpoint: &Endpoint,
        forest: &mut Forest,
    ) -> Result<Digest, Failure> {
        let tree = match &self.platform.base {
            None => return Ok(self.input_root),
            Some(Base::Directory(digest)) => Err(*digest),
            Some(Base::Tree(digest)) => Ok(*digest),
            Some(Base::Image(image)) => Ok(image.tree(settings, &endpoint.config().tool).await?),
        };
        let base = match tree {
            Err(directory) => directory,
            Ok(tree) => forest.insert_tree(&endpoint.message::<reapi::Tree>(&tree).await?)?,
        };
        endpoint.load(forest, &[base, self.input_root]).await?;
        Ok(forest.merge(base, self.input_root)?)
    }

    /// The name under which what it used is recorded, if it has one.
    pub(crate) fn element(&self) -> Option<String> {
        let named = self.platform.element.clone().filter(|name| !name.is_empty());
        named.or_else(|| {
            let path = self.working_directory.to_string();
            (!path.is_empty()).then_some(path)
        })
    }

    /// The files that the name of the program may mean, in the order of the command's own PATH.
    pub(crate) fn candidates(&self) -> Vec<String> {
        let Some(program) = self.arguments.first().filter(|program| !program.is_empty()) else {
            return Vec::new();
        };
        if program.contains('/') {
            return vec![program.clone()];
        }
        let path = self.environment.iter().rev().find(|(name, _)| name == "PATH");
        // What the C library takes when there is none.
        let path = path.map_or("/bin:/usr/bin", |(_, value)| value.as_str());
        path.split(':')
            .map(|folder| match folder {
                "" => format!("./{program}"),
                folder => format!("{folder}/{program}"),
            })
            .collect()
    }
}

fn malformed(action: &Digest, what: &str, why: &dyn ToString) -> Failure {
    Failure::Malformed { what: format!("{what} of action {action}"), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outputs::Format;
    use forerunner_merkle::DigestFunction;

    fn job(arguments: &[&str], environment: &[(&str, &str)], directory: &str) -> Job {
        let digest = DigestFunction::Sha256.digest(b"");
        Job {
            action: digest,
            input_root: digest,
            timeout: None,
            platform: Platform::default(),
            working_directory: TreePath::parse(directory).expect("a path"),
            outputs: Outputs {
                list: Vec::new(),
                format: Format { tree: true, directory: false },
                mtime: false,
                unix_mode: false,
            },
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn programs_are_found_on_the_commands_own_path() {
        let found = |program, path| job(&[program], path, "").candidates();
        assert_eq!(found("sh", &[("PATH", "/a::/b")]), ["/a/sh", "./sh", "/b/sh"]);
        assert_eq!(found("sh", &[]), ["/bin/sh", "/usr/bin/sh"]);
        assert_eq!(found("./x", &[("PATH", "/a")]), ["./x"]);
        assert_eq!(found("", &[("PATH", "/a")]), Vec::<String>::new());
    }

    #[test]
    fn elements_have_names() {
        let mut job = job(&["sh"], &[], "buildstream/p/e.bst");
        assert_eq!(job.element().as_deref(), Some("buildstream/p/e.bst"));
        job.platform.element = Some("mine".to_owned());
        assert_eq!(job.element().as_deref(), Some("mine"));
        job.platform.element = None;
        job.working_directory = TreePath::root();
        assert_eq!(job.element(), None);
    }
}
