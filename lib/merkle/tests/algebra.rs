//! The algebra of trees, against a model that is slow and obvious.

mod model;

use std::collections::BTreeMap;

use forerunner_merkle::{
    Digest, DigestFunction, Directory, EditError, Forest, Name, Node, TreeBuilder, TreePath,
};
use model::{Folder, Model};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const FUNCTION: DigestFunction = DigestFunction::Sha256;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 512,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x20_11_11_11),
        ..ProptestConfig::default()
    }
}

/// A forest that holds `models`, and nothing that counts as made.
fn plant(models: &[&Folder]) -> (Forest, Vec<Digest>) {
    let mut forest = Forest::new(FUNCTION);
    let roots = models.iter().map(|model| model.plant(&mut forest)).collect();
    forest.take_made();
    (forest, roots)
}

fn edits() -> impl Strategy<Value = BTreeMap<TreePath, Option<Model>>> {
    let node = proptest::option::weighted(0.7, model::node());
    proptest::collection::btree_map(model::path(), node, 0..6)
}

fn is_prefix(short: &TreePath, long: &TreePath) -> bool {
    long.names().starts_with(short.names())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn decoding_undoes_encoding(model in model::folder(true)) {
        let (forest, roots) = plant(&[&model]);
        for digest in forest.walk(roots[0]).expect("known") {
            let directory = forest.get(&digest).expect("known");
            let (again, bytes) = directory.encode(FUNCTION);
            prop_assert_eq!(again, digest);
            prop_assert_eq!(FUNCTION.digest(&bytes), digest);
            prop_assert_eq!(&Directory::decode(&bytes).expect("canonical"), directory.as_ref());
        }
    }

    #[test]
    fn a_builder_makes_the_same_tree(model in model::folder(false)) {
        let (mut forest, roots) = plant(&[&model]);
        let mut builder = TreeBuilder::new();
        forest.leaves(roots[0], &mut |path, node| {
            let put = match node {
                Node::Directory(_) => builder.directory(path),
                leaf => builder.leaf(path, leaf.clone()),
            };
            put.expect("no conflict");
        }).expect("known");
        prop_assert_eq!(builder.build(&mut forest), roots[0]);
    }

    #[test]
    fn a_tree_message_and_back(model in model::folder(true)) {
        let (forest, roots) = plant(&[&model]);
        let tree = forest.tree(roots[0]).expect("known");
        let mut other = Forest::new(FUNCTION);
        prop_assert_eq!(other.insert_tree(&tree).expect("well-formed"), roots[0]);
        prop_assert!(other.missing_below(&roots).is_empty());
        prop_assert_eq!(&Folder::read(&other, roots[0]), &model);
    }

    #[test]
    fn a_walk_sees_parents_first(model in model::folder(false)) {
        let (forest, roots) = plant(&[&model]);
        let order = forest.walk(roots[0]).expect("known");
        for (index, digest) in order.iter().enumerate() {
            prop_assert!(!order[index + 1..].contains(digest), "each once");
            for (_, child) in forest.get(digest).expect("known").directories() {
                prop_assert!(order[index + 1..].contains(child), "children later");
            }
        }
    }

    #[test]
    fn lookup_is_that_of_the_model(model in model::folder(false), path in model::path()) {
        let (mut forest, roots) = plant(&[&model]);
        let expected = model.get(path.names()).map(|found| found.node(&mut forest));
        prop_assert_eq!(forest.lookup(roots[0], &path).expect("known"), expected);
    }

    /// Editing is rebuilding from the edited model, or both refuse.
    #[test]
    fn edit_is_that_of_the_model(model in model::folder(true), edits in edits()) {
        let (mut forest, roots) = plant(&[&model]);
        let nodes: BTreeMap<TreePath, Option<Node>> = edits
            .iter()
            .map(|(path, edit)| {
                (path.clone(), edit.as_ref().map(|edit| edit.node(&mut forest)))
            })
            .collect();
        let before = forest.clone();
        forest.take_made();
        match (forest.edit(roots[0], &nodes), model.edited(&edits)) {
            (Ok(root), Some(expected)) => {
                prop_assert_eq!(&Folder::read(&forest, root), &expected);
                prop_assert_eq!(expected.plant(&mut forest.clone()), root);
                for (digest, _) in forest.take_made() {
                    prop_assert!(before.get(&digest).is_none(), "{} was known", digest);
                }
                for (path, digest) in model.folders(&mut before.clone()) {
                    let touched = nodes
                        .keys()
                        .any(|edit| is_prefix(edit, &path) || is_prefix(&path, edit));
                    if !touched {
                        let there = forest.lookup(root, &path).expect("known");
                        prop_assert_eq!(there, Some(Node::Directory(digest)), "{}", path);
                    }
                }
            }
            (Err(EditError::NotADirectory(_)), None) => {}
            (edited, expected) => prop_assert!(false, "{:?} but {:?}", edited, expected),
        }
    }

    #[test]
    fn merge_is_that_of_the_model(base in model::folder(true), over in model::folder(true)) {
        let (mut forest, roots) = plant(&[&base, &over]);
        let merged = forest.merge(roots[0], roots[1]).expect("merged");
        prop_assert_eq!(Folder::read(&forest, merged), base.merged(&over));
        prop_assert_eq!(forest.merge(roots[0], roots[0]).expect("merged"), roots[0]);
        prop_assert_eq!(forest.merge(merged, roots[1]).expect("merged"), merged);
        let empty = forest.insert(Directory::default());
        prop_assert_eq!(forest.merge(roots[0], empty).expect("merged"), roots[0]);
        prop_assert_eq!(forest.merge(empty, roots[0]).expect("merged"), roots[0]);
    }

    /// Where no layer has a directory in the place of another's file: a file that hides a
    /// directory cannot be undone.
    #[test]
    fn merge_is_associative(
        a in model::sorted_folder(),
        b in model::sorted_folder(),
        c in model::sorted_folder(),
    ) {
        let (mut forest, roots) = plant(&[&a, &b, &c]);
        let left = forest.merge(roots[0], roots[1]).expect("merged");
        let left = forest.merge(left, roots[2]).expect("merged");
        let right = forest.merge(roots[1], roots[2]).expect("merged");
        let right = forest.merge(roots[0], right).expect("merged");
        prop_assert_eq!(left, right);
    }

    #[test]
    fn a_difference_applied_leads_over(
        before in model::folder(false),
        after in model::folder(false),
    ) {
        let (mut forest, roots) = plant(&[&before, &after]);
        let differences = forest.diff(roots[0], roots[1]).expect("known");
        let mut edits = BTreeMap::new();
        for difference in differences {
            let path = difference.path;
            prop_assert_ne!(&difference.before, &difference.after);
            prop_assert_eq!(forest.lookup(roots[0], &path).expect("known"), difference.before);
            prop_assert_eq!(&forest.lookup(roots[1], &path).expect("known"), &difference.after);
            prop_assert_eq!(edits.insert(path, difference.after), None, "each path once");
        }
        prop_assert_eq!(forest.edit(roots[0], &edits).expect("edited"), roots[1]);
        prop_assert_eq!(forest.diff(roots[1], roots[1]).expect("known"), Vec::new());
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        accept_or_refuse(&bytes)?;
    }

    /// Closer to the mark: an encoding with a few bytes changed, cut or doubled.
    #[test]
    fn damaged_directories_are_decoded_or_refused(
        model in model::folder(true),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let (forest, roots) = plant(&[&model]);
        let (_, bytes) = forest.get(&roots[0]).expect("known").encode(FUNCTION);
        let mut bytes = bytes.to_vec();
        if !bytes.is_empty() {
            for (index, byte) in damage {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
        }
        accept_or_refuse(&bytes)?;
        let doubled = [bytes.as_slice(), bytes.as_slice()].concat();
        accept_or_refuse(&doubled)?;
    }

    #[test]
    fn paths_are_parsed_or_refused(text in "[a./\u{0}é]{0,12}") {
        if let Ok(path) = TreePath::parse(&text) {
            prop_assert!(path.names().iter().all(|name| Name::check(name).is_ok()));
            prop_assert_eq!(TreePath::parse(&path.to_string()), Ok(path));
        }
    }

    #[test]
    fn digests_are_parsed_or_refused(text in "[0-9a-f]{62,66}/?[0-9+-]{0,20}") {
        if let Ok(digest) = text.parse::<Digest>() {
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        }
    }
}

/// What is accepted is sorted, free of duplicates, and means the same when encoded again.
fn accept_or_refuse(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(directory) = Directory::decode(bytes) else {
        return Ok(());
    };
    let mut names: Vec<&Name> = directory.entries().map(|(name, _)| name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    prop_assert_eq!(names.len(), count);
    let (_, again) = directory.encode(FUNCTION);
    prop_assert_eq!(Directory::decode(&again), Ok(directory));
    Ok(())
}
