//! From what a build did to where each input came from.

use std::collections::{BTreeSet, HashMap, HashSet};

use forerunner_merkle::{Digest, Directory, Forest, MissingDirectory};
use forerunner_proto::buildstream::SpeculativeActions;
use forerunner_proto::buildstream::speculative_actions::SpeculativeAction;

use crate::loaded::{Loaded, LoadedAction};
use crate::mode::Mode;
use crate::origins::Origins;
use crate::paths::{Names, Paths};
use crate::place::{Kind, Place, common_suffix, rank, stagers};
use crate::recorded::{Known, Recorded};

/// What `generate` is told of one element.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its index in the graph.
    pub element: usize,
    /// The indices of everything below it.
    pub below: &'a HashSet<usize>,
    /// All elements of the graph, with their trees.
    pub known: &'a [Known],
    /// The actions of its build, in order; those that are not loaded are left out.
    pub actions: &'a [Digest],
    /// What is recorded.
    pub mode: Mode,
}

/// Finds the origins of every input of the subject's actions.
///
/// # Errors
/// If a directory of an input tree is not loaded.
pub fn generate(
    subject: &Subject<'_>,
    loaded: &Loaded,
    origins: &Origins,
) -> Result<Recorded, MissingDirectory> {
    let mut walk = Walk {
        subject,
        forest: &loaded.forest,
        origins,
        paths: Paths::default(),
        seen: HashSet::new(),
        chosen: HashMap::new(),
    };
    let mut actions = Vec::new();
    if subject.mode.generates() {
        for digest in subject.actions {
            let Some(action) = loaded.actions.get(digest) else { continue };
            walk.tree(action.root, Paths::ROOT, &Names::Root)?;
            walk.chroots(action);
            actions.push(*digest);
        }
    }
    let artifact_overlays = walk.artifact()?;
    Ok(finish(subject, actions, walk.chosen, artifact_overlays))
}

/// Numbers the elements that places refer to, the subject first.
fn finish(
    subject: &Subject<'_>,
    actions: Vec<Digest>,
    chosen: HashMap<Digest, Vec<&Place>>,
    artifact_overlays: Vec<(&Place, Digest)>,
) -> Recorded {
    let all = chosen.values().flatten().copied();
    let all = all.chain(artifact_overlays.iter().map(|(place, _)| *place));
    let others: BTreeSet<u32> =
        all.map(|place| place.element).filter(|e| *e as usize != subject.element).collect();
    let mut numbers = HashMap::from([(subject.element as u32, 0)]);
    let mut elements = vec![subject.known[subject.element].clone()];
    for element in others {
        numbers.insert(element, elements.len() as u32);
        elements.push(subject.known[element as usize].clone());
    }
    let renumber = |place: &Place| Place {
        element: numbers.get(&place.element).copied().unwrap_or_default(),
        ..place.clone()
    };
    let origins = chosen
        .into_iter()
        .map(|(digest, places)| (digest, places.into_iter().map(renumber).collect()))
        .collect();
    let artifact_overlays =
        artifact_overlays.into_iter().map(|(place, digest)| (renumber(place), digest)).collect();
    Recorded { elements, actions, origins, artifact_overlays }
}

struct Walk<'a> {
    subject: &'a Subject<'a>,
    forest: &'a Forest,
    origins: &'a Origins,
    paths: Paths,
    /// Directories at paths that were looked at: the same one at the same path says nothing new.
    seen: HashSet<(Digest, u32)>,
    chosen: HashMap<Digest, Vec<&'a Place>>,
}

impl<'a> Walk<'a> {
    fn tree(&mut self, digest: Digest, at: u32, names: &Names<'_>) -> Result<(), MissingDirectory> {
        if !self.seen.insert((digest, at)) {
            return Ok(());
        }
        let forest = self.forest;
        let directory: &Directory = forest.require(&digest)?;
        for (name, file) in directory.files() {
            self.choose(file.digest, &Names::Below(names, name));
        }
        for (name, child) in directory.directories() {
            let below = self.paths.child(at, name);
            self.tree(*child, below, &Names::Below(names, name))?;
        }
        Ok(())
    }

    fn candidates(&self, digest: &Digest) -> Vec<&'a Place> {
        let own = self.subject.element;
        let mut places = self.origins.candidates(digest, own, self.subject.below);
        places.retain(|place| self.subject.mode.takes(place.kind, place.element as usize == own));
        places
    }

    /// Keeps the best place of each kind. Of actions all that made the file at the same path are
    /// kept: which of them ran before the consumer differs from consumer to consumer.
    fn choose(&mut self, digest: Digest, names: &Names<'_>) {
        let candidates = self.candidates(&digest);
        if candidates.is_empty() {
            return;
        }
        let names = names.collect();
        let own = self.subject.element as u32;
        let ranked = rank(&candidates, &names, own, digest.size() == 0);
        let chosen = self.chosen.entry(digest).or_default();
        let mut keep = |place: &'a Place| {
            if !chosen.contains(&place) {
                chosen.push(place);
            }
        };
        for kind in [Kind::Source, Kind::Action, Kind::Artifact] {
            let mut of_kind =
                ranked.iter().map(|(i, fit)| (candidates[*i], fit)).filter(|(p, _)| p.kind == kind);
            let Some((best, fit)) = of_kind.next() else { continue };
            keep(best);
            // Ambiguous ones are kept as ambiguous as they are.
            of_kind.take_while(|(_, other)| *other == fit).for_each(|(place, _)| keep(place));
            if kind == Kind::Action {
                let same = |place: &&&'a Place| {
                    place.kind == kind && place.element == best.element && place.path == best.path
                };
                candidates.iter().filter(same).for_each(|place| keep(place));
            }
        }
        // Two that might be meant under another name are kept, so that whoever reads the table
        // finds them as ambiguous as they are: of all, and of each element that stages the path.
        let stagers = stagers(&candidates, &names);
        let of = stagers.into_iter().map(Some).chain([None]);
        for (kind, element) in
            of.flat_map(|e| [Kind::Source, Kind::Action, Kind::Artifact].map(|kind| (kind, e)))
        {
            let strangers = candidates.iter().filter(|place| {
                place.kind == kind
                    && element.is_none_or(|element| place.element == element)
                    && common_suffix(&place.path, &names) == 0
            });
            let two: Vec<&&Place> = strangers.take(2).collect();
            if let [_, _] = two[..] {
                two.into_iter().for_each(|place| keep(place));
            }
        }
        if chosen.is_empty() {
            self.chosen.remove(&digest);
        }
        self.order(&digest);
    }

    /// Actions stay in the order of their use; [`rank`] relies on it.
    fn order(&mut self, digest: &Digest) {
        let Some(chosen) = self.chosen.get_mut(digest) else { return };
        if chosen.iter().filter(|place| place.kind == Kind::Action).count() > 1 {
            let all = self.origins.candidates(digest, self.subject.element, self.subject.below);
            chosen.sort_by_key(|place| all.iter().position(|other| other == place));
        }
    }

    /// A tree that the platform names is an input as a whole.
    fn chroots(&mut self, action: &LoadedAction) {
        for property in action.chroots() {
            let Ok(digest) = property.value.parse::<Digest>() else { continue };
            let places = self.candidates(&digest);
            if let Some(place) = places.into_iter().find(|place| place.kind == Kind::Artifact) {
                let chosen = self.chosen.entry(digest).or_default();
                if !chosen.contains(&place) {
                    chosen.push(place);
                }
            }
        }
    }

    /// The origins of the element's own artifact files. An artifact is never its own origin.
    fn artifact(&mut self) -> Result<Vec<(&'a Place, Digest)>, MissingDirectory> {
        let mut overlays = Vec::new();
        let Some(root) = self.subject.known[self.subject.element].artifact else {
            return Ok(overlays);
        };
        if !self.subject.mode.generates() {
            return Ok(overlays);
        }
        let forest = self.forest;
        let mut stack = vec![(root, Vec::new())];
        while let Some((digest, names)) = stack.pop() {
            let directory: &'a Directory = forest.require(&digest)?;
            for (name, file) in directory.files() {
                let candidates = self.candidates(&file.digest);
                let mut names: Vec<&str> = names.clone();
                names.push(name);
                let own = self.subject.element as u32;
                let ranked = rank(&candidates, &names, own, file.digest.size() == 0);
                if let Some((best, _)) = ranked.first() {
                    overlays.push((candidates[*best], file.digest));
                }
            }
            for (name, child) in directory.directories() {
                let mut names = names.clone();
                names.push(name);
                stack.push((*child, names));
            }
        }
        Ok(overlays)
    }
}

/// The form that the reader of pull request 2109 understands: the overlays of each action are
/// written out, one list per content, the first to be tried first.
///
/// # Errors
/// If a directory of an input tree is not loaded.
pub fn expand(
    recorded: &Recorded,
    loaded: &Loaded,
) -> Result<SpeculativeActions, MissingDirectory> {
    let mut actions = Vec::with_capacity(recorded.actions.len());
    for digest in &recorded.actions {
        let mut overlays = Vec::new();
        if let Some(action) = loaded.actions.get(digest) {
            let mut done = HashSet::new();
            loaded.forest.leaves(action.root, &mut |path, node| {
                let forerunner_merkle::Node::File(file) = node else { return };
                let Some(places) = recorded.origins.get(&file.digest) else { return };
                if !done.insert(file.digest) {
                    return;
                }
                let places: Vec<&Place> = places.iter().collect();
                let names: Vec<&str> = path.names().iter().map(|name| &**name).collect();
                for (index, _) in rank(&places, &names, 0, file.digest.size() == 0) {
                    overlays.push(recorded.overlay(places[index], &file.digest));
                }
            })?;
            for property in action.chroots() {
                let Ok(target) = property.value.parse::<Digest>() else { continue };
                for place in recorded.origins.get(&target).into_iter().flatten() {
                    overlays.push(recorded.overlay(place, &target));
                }
            }
        }
        let base_action_digest = Some(digest.to_proto());
        actions.push(SpeculativeAction { base_action_digest, overlays });
    }
    let artifact_overlays = recorded.artifact_messages();
    Ok(SpeculativeActions { actions, artifact_overlays, ..SpeculativeActions::default() })
}
