//! Fills a store with a synthetic project, to measure `generate` and `instantiate`.
//!
//! `corpus STORE ELEMENTS ACTIONS HEADERS [SYSTEM_HEADERS]` makes so many elements, each with so
//! many actions (compiles, and an archive at the end) and public headers; each element depends on
//! the two before it, and on a system of 200 headers, all of which every compile reads. Beside the
//! store it writes `after.json`, the graph after the build, and `before.json`, the graph before the
//! next one, in which the first header of the lowest element has changed.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use forerunner_merkle::{Digest, DigestFunction, File, Forest, Node, TreeBuilder, TreePath};
use forerunner_proto::{Message, reapi};
use forerunner_store::{Options, Store};
use speculate::{Element, Graph, Tree};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, numbers @ ..] = arguments.as_slice() else {
        return Err("usage: corpus STORE ELEMENTS ACTIONS HEADERS [SYSTEM_HEADERS]".into());
    };
    let numbers: Vec<usize> =
        numbers.iter().map(|number| number.parse()).collect::<std::result::Result<_, _>>()?;
    let (elements, actions, headers, system) = match numbers[..] {
        [elements, actions, headers] => (elements, actions, headers, 200),
        [elements, actions, headers, system] => (elements, actions, headers, system),
        _ => return Err("three or four numbers are needed".into()),
    };
    let root = Path::new(store);
    let function = DigestFunction::Sha256;
    let options = Options { root: root.to_owned(), size_limit: u64::MAX / 2, function };
    let mut corpus = Corpus {
        store: Store::open(&options)?,
        forest: Forest::new(function),
        elements: Vec::new(),
        system: Digest::from_hex(&"0".repeat(64), 0)?,
        libraries: HashMap::new(),
    };
    corpus.system(system)?;
    for index in 1..=elements {
        corpus.element(index, actions, headers)?;
    }
    corpus.save()?;
    let folder = root.parent().unwrap_or(Path::new("."));
    let after = Graph::new(corpus.elements.clone())?;
    std::fs::write(folder.join("after.json"), after.to_json())?;
    let changed = corpus.sources(1, actions, headers, true)?;
    corpus.elements[1].sources = Some(Tree::Digest(changed));
    for element in corpus.elements.iter_mut().skip(1) {
        element.artifact = None;
        element.subactions = None;
    }
    corpus.save()?;
    let before = Graph::new(corpus.elements)?;
    std::fs::write(folder.join("before.json"), before.to_json())?;
    Ok(())
}

struct Corpus {
    store: Store,
    forest: Forest,
    elements: Vec<Element>,
    /// The directory with the system's headers.
    system: Digest,
    libraries: HashMap<usize, Digest>,
}

impl Corpus {
    fn save(&mut self) -> Result<()> {
        for (_, bytes) in self.forest.take_made() {
            self.store.put(&bytes)?;
        }
        Ok(())
    }

    fn content(&self, text: &str) -> Result<File> {
        Ok(File::new(self.store.put(text.as_bytes())?, false))
    }

    fn system(&mut self, count: usize) -> Result<()> {
        let mut builder = TreeBuilder::new();
        for number in 0..count {
            let file = self.content(&format!("system header {number}"))?;
            builder.file(&TreePath::parse(&format!("system{number}.h"))?, file)?;
        }
        self.system = builder.build(&mut self.forest);
        let mut artifact = TreeBuilder::new();
        artifact.leaf(&TreePath::parse("usr/include/system")?, Node::Directory(self.system))?;
        let root = artifact.build(&mut self.forest);
        self.elements.push(Element {
            name: "system.bst".to_owned(),
            artifact: Some(Tree::Digest(root)),
            ..Element::default()
        });
        Ok(())
    }

    fn headers(&mut self, index: usize, count: usize, changed: bool) -> Result<Digest> {
        let mut builder = TreeBuilder::new();
        for number in 0..count {
            let mark = if changed && number == 0 { " (changed)" } else { "" };
            let file = self.content(&format!("header {number} of {index}{mark}"))?;
            builder.file(&TreePath::parse(&format!("h{number}.h"))?, file)?;
        }
        Ok(builder.build(&mut self.forest))
    }

    fn sources(
        &mut self,
        index: usize,
        actions: usize,
        headers: usize,
        changed: bool,
    ) -> Result<Digest> {
        let headers = self.headers(index, headers, changed)?;
        let mut builder = TreeBuilder::new();
        builder.leaf(&TreePath::parse("include")?, Node::Directory(headers))?;
        for number in 1..actions {
            let file = self.content(&format!("unit {number} of {index}"))?;
            builder.file(&TreePath::parse(&format!("src/u{number}.c"))?, file)?;
        }
        Ok(builder.build(&mut self.forest))
    }

    fn element(&mut self, index: usize, actions: usize, headers: usize) -> Result<()> {
        let name = format!("e{index}.bst");
        let directory = format!("buildstream/corpus/{name}");
        let sources = self.sources(index, actions, headers, false)?;
        let own_headers = self.headers(index, headers, false)?;
        let below: Vec<usize> = (index.saturating_sub(2)..index).filter(|i| *i > 0).collect();
        let mut subactions = Vec::new();
        let mut objects = TreeBuilder::new();
        for number in 1..actions {
            let mut builder = TreeBuilder::new();
            let system = TreePath::parse("usr/include/system")?;
            builder.leaf(&system, Node::Directory(self.system))?;
            for other in &below {
                let headers = self.headers(*other, headers, false)?;
                let at = TreePath::parse(&format!("usr/include/e{other}"))?;
                builder.leaf(&at, Node::Directory(headers))?;
            }
            let at = TreePath::parse(&format!("{directory}/include"))?;
            builder.leaf(&at, Node::Directory(own_headers))?;
            let unit = self.content(&format!("unit {number} of {index}"))?;
            builder.file(&TreePath::parse(&format!("{directory}/src/u{number}.c"))?, unit)?;
            let root = builder.build(&mut self.forest);
            let output = format!("u{number}.o");
            let (action, made) =
                self.action(&directory, root, &format!("cc -c u{number}.c"), &output)?;
            objects.file(
                &TreePath::parse(&format!("{directory}/{output}"))?,
                File::new(made, false),
            )?;
            subactions.push(action);
        }
        let root = objects.build(&mut self.forest);
        let (archive, library) = self.action(&directory, root, "ar rcs", "lib.a")?;
        subactions.push(archive);
        self.libraries.insert(index, library);
        let mut artifact = TreeBuilder::new();
        let at = TreePath::parse(&format!("usr/include/e{index}"))?;
        artifact.leaf(&at, Node::Directory(own_headers))?;
        let at = TreePath::parse(&format!("usr/lib/libe{index}.a"))?;
        artifact.file(&at, File::new(library, false))?;
        let artifact = artifact.build(&mut self.forest);
        self.elements.push(Element {
            name,
            depends: std::iter::once(0).chain(below).collect(),
            sources: Some(Tree::Digest(sources)),
            artifact: Some(Tree::Digest(artifact)),
            subactions: Some(subactions),
            speculative: None,
        });
        self.save()
    }

    fn action(
        &mut self,
        directory: &str,
        root: Digest,
        arguments: &str,
        output: &str,
    ) -> Result<(Digest, Digest)> {
        let command = reapi::Command {
            arguments: arguments.split(' ').map(str::to_owned).collect(),
            output_paths: vec![output.to_owned()],
            working_directory: directory.to_owned(),
            ..Default::default()
        };
        let command = self.store.put(&command.encode_to_vec())?;
        let action = reapi::Action {
            command_digest: Some(command.to_proto()),
            input_root_digest: Some(root.to_proto()),
            ..Default::default()
        };
        let action = self.store.put(&action.encode_to_vec())?;
        let made = self.store.put(format!("{action} made {output}").as_bytes())?;
        let result = reapi::ActionResult {
            output_files: vec![reapi::OutputFile {
                path: output.to_owned(),
                digest: Some(made.to_proto()),
                ..Default::default()
            }],
            ..Default::default()
        };
        self.store.put_action_result(&action, &result.encode_to_vec())?;
        Ok((action, made))
    }
}
