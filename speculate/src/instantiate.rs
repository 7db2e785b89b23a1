//! Building a recorded action anew with today's content. Nothing here does I/O.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use forerunner_merkle::{Digest, DigestFunction, Directory, Forest, MissingDirectory, Name, Node};
use forerunner_proto::reapi;
use forerunner_reapi::Content;
use prost::Message;

use crate::loaded::{CHROOT_PROPERTIES, LoadedAction};
use crate::mode::Mode;
use crate::paths::{Names, Paths};
use crate::place::{Kind, Place, rank};
use crate::reason::{Reason, Wait};
use crate::recorded::Recorded;
use crate::today::{Found, Produced, Today};

/// What becomes of a recorded action today.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// No input differs: the recorded action is still the one that will be asked for.
    Unchanged,
    /// The action that will be asked for.
    Changed(Box<Adapted>),
    /// An input is not known yet.
    Deferred(Vec<Wait>),
    /// It cannot be adapted.
    Skipped(Reason),
}

/// An adapted action. The directories of its input root are in the forest.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapted {
    /// Its digest.
    pub digest: Digest,
    /// Its input root.
    pub root: Digest,
    /// The encoded Action.
    pub bytes: Bytes,
    /// The encoded Command, if that is a new one, too.
    pub command: Option<(Digest, Bytes)>,
    /// Further content that it refers to: Tree messages.
    pub trees: Vec<(Digest, Bytes)>,
}

impl Adapted {
    /// Everything that has to be uploaded before it is executed, but for directories.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = (Digest, Content)> {
        let parts = self.command.iter().chain(&self.trees);
        let own = std::iter::once((self.digest, self.bytes.clone()));
        let all = parts.cloned().chain(own);
        all.map(|(digest, bytes)| (digest, Content::Bytes(bytes)))
    }

    /// The same action on another input root.
    pub(crate) fn with_root(&self, root: Digest, function: DigestFunction) -> Option<Self> {
        let mut action = reapi::Action::decode(self.bytes.clone()).ok()?;
        action.input_root_digest = Some(root.to_proto());
        let bytes: Bytes = action.encode_to_vec().into();
        Some(Self { digest: function.digest(&bytes), root, bytes, ..self.clone() })
    }
}

/// Adapts the actions of one element. Work is memoised: a directory at a path is rewritten once,
/// as long as no output of an action is in it.
#[derive(Debug)]
pub struct Instantiator<'a> {
    pub(crate) recorded: &'a Recorded,
    mode: Mode,
    /// Index in the graph of each element that places refer to.
    elements: Vec<Option<usize>>,
    order: HashMap<Digest, usize>,
    paths: Paths,
    /// `None`: it stays as it is, which most do.
    memo: HashMap<(Digest, u32), Option<Box<Digest>>>,
}

/// What a part of a tree becomes.
struct Part {
    /// `None`: it is not there any more.
    digest: Option<Digest>,
    /// The same for every action of the element, now and later.
    lasting: bool,
}

/// Why a walk ends early.
enum Stop {
    Skip(Reason),
}

impl From<MissingDirectory> for Stop {
    fn from(_: MissingDirectory) -> Self {
        Self::Skip(Reason::BaseGone)
    }
}

impl<'a> Instantiator<'a> {
    /// For the actions in `recorded`, in the world of `today`'s elements.
    #[must_use]
    pub fn new(recorded: &'a Recorded, today: &Today, mode: Mode) -> Self {
        let elements = recorded.elements.iter().map(|known| today.element(&known.name)).collect();
        // The first use counts: whoever comes after it may have used its outputs.
        let mut order = HashMap::new();
        for (index, digest) in recorded.actions.iter().enumerate() {
            order.entry(*digest).or_insert(index);
        }
        Self { recorded, mode, elements, order, paths: Paths::default(), memo: HashMap::new() }
    }

    /// Adapts the action `base`, which is number `index` of the element's actions.
    pub fn adapt(
        &mut self,
        index: usize,
        base: &LoadedAction,
        today: &Today,
        forest: &mut Forest,
    ) -> Outcome {
        if base.action.do_not_cache {
            return Outcome::Skipped(Reason::DoNotCache);
        }
        let mut waits = Vec::new();
        let arguments = &base.command.arguments;
        let mut job = Job { own: self, index, arguments, today, forest, waits: &mut waits };
        let root = match job.directory(base.root, Paths::ROOT, &Names::Root) {
            Ok(Part { digest: Some(root), .. }) => root,
            // Nothing is left of it.
            Ok(Part { digest: None, .. }) => job.forest.insert(Directory::default()),
            Err(Stop::Skip(reason)) => return Outcome::Skipped(reason),
        };
        let mut trees = Vec::new();
        let chroots = match job.chroots(base, &mut trees) {
            Ok(chroots) => chroots,
            Err(Stop::Skip(reason)) => return Outcome::Skipped(reason),
        };
        if !waits.is_empty() {
            waits.dedup();
            return Outcome::Deferred(waits);
        }
        if root == base.root && chroots.is_empty() {
            return Outcome::Unchanged;
        }
        match encode(base, root, &chroots, forest) {
            Some(adapted) => Outcome::Changed(Box::new(Adapted { trees, ..adapted })),
            None => Outcome::Skipped(Reason::ForeignEncoding),
        }
    }
}

struct Job<'j, 'a> {
    own: &'j mut Instantiator<'a>,
    index: usize,
    arguments: &'j [String],
    today: &'j Today,
    forest: &'j mut Forest,
    waits: &'j mut Vec<Wait>,
}

impl Job<'_, '_> {
    fn directory(&mut self, digest: Digest, at: u32, names: &Names<'_>) -> Result<Part, Stop> {
        if let Some(done) = self.own.memo.get(&(digest, at)) {
            let digest = done.as_deref().copied().unwrap_or(digest);
            return Ok(Part { digest: Some(digest), lasting: true });
        }
        let directory = Arc::clone(self.forest.require(&digest)?);
        let mut lasting = true;
        let mut changed: BTreeMap<&Name, Option<Digest>> = BTreeMap::new();
        for (name, file) in directory.files() {
            let part = self.file(file.digest, &Names::Below(names, name))?;
            lasting &= part.lasting;
            if part.digest != Some(file.digest) {
                changed.insert(name, part.digest);
            }
        }
        for (name, child) in directory.directories() {
            let below = self.own.paths.child(at, name);
            let part = self.directory(*child, below, &Names::Below(names, name))?;
            lasting &= part.lasting;
            if part.digest != Some(*child) {
                changed.insert(name, part.digest);
            }
        }
        let after = if changed.is_empty() {
            digest
        } else {
            let after = rewrite(&directory, &changed);
            if after.is_empty() {
                // A directory without files is no input, unless it was one before.
                return Ok(Part { digest: None, lasting });
            }
            self.forest.insert(after)
        };
        // A root is hardly ever seen twice, and is found unchanged quickly if what is below it is.
        if lasting && at != Paths::ROOT {
            self.own.memo.insert((digest, at), (after != digest).then(|| Box::new(after)));
        }
        Ok(Part { digest: Some(after), lasting })
    }

    /// The places that count for this action: of actions of the same element only earlier ones.
    fn candidates(&self, digest: &Digest) -> (Vec<&Place>, bool) {
        let Some(places) = self.own.recorded.origins.get(digest) else {
            return (Vec::new(), true);
        };
        let mut lasting = true;
        let mut list = Vec::with_capacity(places.len());
        for place in places {
            let own = place.element == 0;
            if !self.own.mode.takes(place.kind, own) {
                continue;
            }
            if let Some(action) = &place.action
                && own
            {
                lasting = false;
                let earlier = self.own.order.get(action).is_some_and(|place| *place < self.index);
                if !earlier {
                    continue;
                }
            }
            list.push(place);
        }
        (list, lasting)
    }

    fn file(&mut self, digest: Digest, names: &Names<'_>) -> Result<Part, Stop> {
        let (candidates, mut lasting) = self.candidates(&digest);
        if candidates.is_empty() {
            // It comes from nowhere that we know: the toolchain, or a command that no wrapper saw.
            return Ok(Part { digest: Some(digest), lasting });
        }
        let names = names.collect();
        let ranked = rank(&candidates, &names, 0, digest.size() == 0);
        let mut wait = None;
        let mut reason = None;
        let mut rest = ranked.as_slice();
        while let Some(((index, fit), after)) = rest.split_first() {
            let place = candidates[*index];
            // A guess is no answer where something better is missing or still to come.
            if !fit.plausible() && (wait.is_some() || reason.is_some()) {
                break;
            }
            // Sources that fit equally well are meant as long as they agree.
            let ties = match place.kind {
                Kind::Source => after.iter().take_while(|(_, other)| other == fit).count(),
                _ => 0,
            };
            let (ties, after) = after.split_at(ties);
            rest = after;
            match self.find(place, digest) {
                Found::Content(content) => {
                    let agree =
                        ties.iter().all(|(index, _)| match self.find(candidates[*index], digest) {
                            Found::Content(other) => other == content,
                            _ => true,
                        });
                    if !agree {
                        let path = place.path.to_string();
                        let element = self.element_name(place).to_owned();
                        reason.get_or_insert(Reason::Ambiguous { element, path });
                        continue;
                    }
                    lasting &= place.kind != Kind::Action && wait.is_none();
                    return Ok(Part { digest: Some(content), lasting });
                }
                Found::Later(later) => {
                    wait.get_or_insert(later);
                }
                Found::Never(why) => {
                    reason.get_or_insert(why);
                }
            }
        }
        match (wait, reason) {
            (Some(wait), _) => {
                self.waits.push(wait);
                Ok(Part { digest: Some(digest), lasting: false })
            }
            // A header that is gone is no input any more. What includes it still will say so.
            (None, Some(Reason::SourceGone { .. })) if !self.is_named(names.last().copied()) => {
                Ok(Part { digest: None, lasting: false })
            }
            (None, Some(reason)) => Err(Stop::Skip(reason)),
            (None, None) => Ok(Part { digest: Some(digest), lasting }),
        }
    }

    /// Whether the command names a file called `name`.
    fn is_named(&self, name: Option<&str>) -> bool {
        name.is_none_or(|name| self.arguments.iter().any(|word| word.ends_with(name)))
    }

    fn find(&self, place: &Place, target: Digest) -> Found {
        let element = self.own.elements.get(place.element as usize).copied().flatten();
        self.today.find(self.forest, place, element, self.element_name(place), target)
    }

    fn element_name(&self, place: &Place) -> &str {
        let known = self.own.recorded.elements.get(place.element as usize);
        known.map_or("", |known| known.name.as_str())
    }

    /// The properties of the platform whose value changes: name, old and new value.
    fn chroots(
        &mut self,
        base: &LoadedAction,
        trees: &mut Vec<(Digest, Bytes)>,
    ) -> Result<Vec<(String, String, String)>, Stop> {
        let mut changed: Vec<(String, String, String)> = Vec::new();
        for property in base.chroots() {
            let Ok(before) = property.value.parse::<Digest>() else { continue };
            let Some(place) = self.own.recorded.origins.get(&before).and_then(|places| {
                places.iter().find(|p| p.kind == Kind::Artifact && matches!(&*p.path, "" | "/"))
            }) else {
                continue;
            };
            let element = self.own.elements.get(place.element as usize).copied().flatten();
            let Some(element) = element else {
                let element = self.element_name(place).to_owned();
                return Err(Stop::Skip(Reason::ElementGone { element }));
            };
            let Some(after) = self.whole(&place.path, element)? else { continue };
            let after = if property.name == "chrootTreeDigest" {
                let bytes: Bytes = self.forest.tree(after)?.encode_to_vec().into();
                let digest = self.forest.function().digest(&bytes);
                trees.push((digest, bytes));
                digest
            } else {
                after
            };
            if after != before {
                let name = property.name.clone();
                changed.push((name, property.value.clone(), after.to_string()));
            }
        }
        Ok(changed)
    }

    /// The tree of an artifact, alone or laid over those below it; `None`: wait.
    fn whole(&mut self, path: &str, element: usize) -> Result<Option<Digest>, Stop> {
        if path.is_empty() {
            let root = self.today.artifact(element);
            if root.is_none() {
                self.waits.push(Wait::Artifact(element));
            }
            return Ok(root);
        }
        match self.today.union(element) {
            Err(wait) => {
                self.waits.push(wait);
                Ok(None)
            }
            Ok(roots) => union(self.forest, &roots).map_err(|_| Stop::Skip(Reason::BaseGone)),
        }
    }
}

/// Trees laid over each other, the last on top.
///
/// # Errors
/// If a directory is not known.
pub fn union(
    forest: &mut Forest,
    roots: &[Digest],
) -> Result<Option<Digest>, forerunner_merkle::EditError> {
    let Some((first, rest)) = roots.split_first() else { return Ok(None) };
    let mut merged = *first;
    for root in rest {
        merged = forest.merge(merged, *root)?;
    }
    Ok(Some(merged))
}

/// The directory with some of its entries replaced or left out; everything else stays as it is, empty
/// directories included.
fn rewrite(directory: &Directory, changed: &BTreeMap<&Name, Option<Digest>>) -> Directory {
    let entries = directory.entries().filter_map(|(name, node)| {
        let node = match (changed.get(name), node) {
            (Some(None), _) => return None,
            (Some(Some(digest)), Node::File(mut file)) => {
                file.digest = *digest;
                Node::File(file)
            }
            (Some(Some(digest)), Node::Directory(_)) => Node::Directory(*digest),
            (_, node) => node,
        };
        Some((name.clone(), node))
    });
    match Directory::from_entries(entries) {
        Ok(new) => new.with_properties(directory.properties().cloned()),
        Err(error) => unreachable!("the names stay distinct: {error}"),
    }
}

/// The action with another input root and other trees in its platform; `None` if what we write
/// would not be what the client writes.
fn encode(
    base: &LoadedAction,
    root: Digest,
    chroots: &[(String, String, String)],
    forest: &Forest,
) -> Option<Adapted> {
    if base.action.encode_to_vec() != base.bytes[..] {
        return None;
    }
    let function = forest.function();
    let mut action = base.action.clone();
    action.input_root_digest = Some(root.to_proto());
    let mut command = None;
    if !chroots.is_empty() {
        let mut new = reapi::Command::clone(&base.command);
        let before = function.digest(&new.encode_to_vec());
        if action.command_digest.as_ref() != Some(&before.to_proto()) {
            return None;
        }
        #[allow(deprecated)]
        replace(new.platform.as_mut(), chroots);
        replace(action.platform.as_mut(), chroots);
        let bytes: Bytes = new.encode_to_vec().into();
        let digest = function.digest(&bytes);
        if action.command_digest.as_ref() != Some(&digest.to_proto()) {
            action.command_digest = Some(digest.to_proto());
            command = Some((digest, bytes));
        }
    }
    let bytes: Bytes = action.encode_to_vec().into();
    Some(Adapted { digest: function.digest(&bytes), root, bytes, command, trees: Vec::new() })
}

fn replace(platform: Option<&mut reapi::Platform>, chroots: &[(String, String, String)]) {
    let Some(platform) = platform else { return };
    for property in &mut platform.properties {
        if !CHROOT_PROPERTIES.contains(&property.name.as_str()) {
            continue;
        }
        let new = chroots
            .iter()
            .find(|(name, before, _)| *name == property.name && *before == property.value);
        if let Some((_, _, after)) = new {
            property.value.clone_from(after);
        }
    }
}

impl Outcome {
    /// What the producers' table says after this outcome.
    #[must_use]
    pub fn produced(&self) -> Produced {
        match self {
            Self::Unchanged => Produced::Unchanged,
            Self::Changed(_) | Self::Deferred(_) => Produced::Pending,
            Self::Skipped(_) => Produced::Skipped,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed(_) => "changed",
            Self::Deferred(_) => "deferred",
            Self::Skipped(_) => "skipped",
        }
    }
}
