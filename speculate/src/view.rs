//! Recorded actions, input by input, for people.

use forerunner_merkle::{Digest, Node};

use crate::loaded::Loaded;
use crate::place::{Kind, Place, rank};
use crate::plan::title;
use crate::recorded::Recorded;

/// One action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionView {
    /// Its digest.
    pub digest: Digest,
    /// Its program and first output.
    pub title: String,
    /// Whether it could be loaded.
    pub known: bool,
    /// The inputs with a known origin.
    pub inputs: Vec<InputView>,
    /// How many have none: the toolchain's, or what no wrapper saw being made.
    pub without_origin: usize,
}

/// One input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputView {
    /// Where it stands; `NAME=` for a tree that the platform names.
    pub path: String,
    /// Its content.
    pub digest: Digest,
    /// Where it comes from, the first to be tried first.
    pub origins: Vec<OriginView>,
}

/// One overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginView {
    /// Its type.
    pub kind: Kind,
    /// Whose.
    pub element: String,
    /// Where; see [`Place::path`].
    pub path: String,
    /// The producing action.
    pub action: Option<Digest>,
}

/// Everything recorded of one element.
#[must_use]
pub fn view(recorded: &Recorded, loaded: &Loaded) -> Vec<ActionView> {
    let origin = |place: &Place| OriginView {
        kind: place.kind,
        element: recorded
            .elements
            .get(place.element as usize)
            .map_or_else(String::new, |known| known.name.clone()),
        path: place.path.to_string(),
        action: place.action,
    };
    let mut views = Vec::with_capacity(recorded.actions.len());
    for (index, digest) in recorded.actions.iter().enumerate() {
        let mut view = ActionView {
            digest: *digest,
            title: String::new(),
            known: false,
            inputs: Vec::new(),
            without_origin: 0,
        };
        if let Some(action) = loaded.actions.get(digest) {
            view.known = true;
            view.title = title(&action.command);
            // Of the element's own actions only earlier ones can have made an input.
            let earlier = |place: &&Place| match place.action {
                Some(producer) if place.element == 0 => {
                    recorded.actions[..index].contains(&producer)
                }
                _ => true,
            };
            let leaves = loaded.forest.leaves(action.root, &mut |path, node| {
                let Node::File(file) = node else { return };
                let places: Vec<&Place> = recorded
                    .origins
                    .get(&file.digest)
                    .into_iter()
                    .flatten()
                    .filter(earlier)
                    .collect();
                let names: Vec<&str> = path.names().iter().map(|name| &**name).collect();
                let ranked = rank(&places, &names, 0, file.digest.size() == 0);
                if ranked.is_empty() {
                    view.without_origin += 1;
                    return;
                }
                let origins = ranked.iter().map(|(index, _)| origin(places[*index])).collect();
                let path = path.to_string();
                view.inputs.push(InputView { path, digest: file.digest, origins });
            });
            view.known &= leaves.is_ok();
            for property in action.chroots() {
                let Ok(digest) = property.value.parse::<Digest>() else { continue };
                let places = recorded.origins.get(&digest).into_iter().flatten();
                let origins = places.map(origin).collect();
                let path = format!("{}=", property.name);
                // The Command of an older client names it, too.
                if view.inputs.iter().any(|input| input.path == path && input.digest == digest) {
                    continue;
                }
                view.inputs.push(InputView { path, digest, origins });
            }
            view.inputs.sort_by(|left, right| left.path.cmp(&right.path));
        }
        views.push(view);
    }
    views
}
