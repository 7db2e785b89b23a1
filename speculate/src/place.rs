//! Where content was found, and which of several places is meant.

use std::cmp::Reverse;

use forerunner_merkle::Digest;

/// What kind of place it is; the order is the one in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The source tree of an element: known before anything is built.
    Source,
    /// An output of an action.
    Action,
    /// What an element installs.
    Artifact,
}

impl Kind {
    /// The word in messages and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "SOURCE",
            Self::Action => "ACTION",
            Self::Artifact => "ARTIFACT",
        }
    }
}

/// A place where content was found.
///
/// `element` is a number whose meaning depends on the table that holds the place: the index in
/// the graph while origins are gathered, the index in [`crate::Recorded::elements`] afterwards.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// What it is.
    pub kind: Kind,
    /// Whose.
    pub element: u32,
    /// The path: in the source tree, in the artifact, or in the input root of the producing
    /// action. Empty for the whole tree of an artifact.
    pub path: Box<str>,
    /// The producing action, for [`Kind::Action`].
    pub action: Option<Digest>,
}

/// How well a place fits an input; the greatest is tried first.
///
/// Content may be found in many places (empty files, identical headers, stubs), so the path
/// decides. An element that installs a file at exactly the input's path has staged it, so its
/// places go first, also one that was renamed on installation. Any other place whose last name is
/// not that of the input is the last resort of all. Then comes the kind, then the longest common
/// suffix of the paths, then a place whose whole path is that suffix, then the element itself.
/// Sources that fit equally well are ambiguous as soon as they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fit {
    plausible: bool,
    kind: Reverse<Kind>,
    stager: bool,
    suffix: usize,
    whole: bool,
    own: bool,
}

/// How many names at the end of both paths are equal.
#[must_use]
pub fn common_suffix(path: &str, names: &[&str]) -> usize {
    path.rsplit('/').zip(names.iter().rev()).take_while(|(left, right)| left == *right).count()
}

/// Whether `path` is exactly the path of `names`.
#[must_use]
pub fn same_path(path: &str, names: &[&str]) -> bool {
    let mut there = path.split('/');
    names.iter().all(|name| there.next() == Some(name)) && there.next().is_none()
}

impl Fit {
    /// Whether it is more than a guess by content alone.
    #[must_use]
    pub fn plausible(&self) -> bool {
        self.plausible
    }

    /// The fit of a place that has no competitor.
    fn alone(place: &Place, names: &[&str], own: u32) -> Self {
        let suffix = common_suffix(&place.path, names);
        Self {
            plausible: suffix > 0,
            kind: Reverse(place.kind),
            stager: false,
            suffix,
            whole: false,
            own: place.element == own,
        }
    }
}

/// The elements that install a file at exactly the path of `names`.
#[must_use]
pub fn stagers(places: &[&Place], names: &[&str]) -> Vec<u32> {
    places
        .iter()
        .filter(|place| place.kind == Kind::Artifact && same_path(&place.path, names))
        .map(|place| place.element)
        .collect()
}

/// Sorts the indices of `places` by how well they fit, best first; those that are no good are
/// left out: an empty file under another name says nothing, and neither do several candidates
/// of one kind of which none has the right name.
#[must_use]
pub fn rank(places: &[&Place], names: &[&str], own: u32, empty: bool) -> Vec<(usize, Fit)> {
    if let [only] = places {
        // The common case, without a list to sort.
        let fit = Fit::alone(only, names, own);
        return if fit.plausible || !empty { vec![(0, fit)] } else { Vec::new() };
    }
    let stagers = stagers(places, names);
    let suffixes: Vec<usize> =
        places.iter().map(|place| common_suffix(&place.path, names)).collect();
    // Under another name only one place can be meant, and no empty file.
    let only_one = |place: &Place, among: &dyn Fn(&Place) -> bool| {
        let strangers = places
            .iter()
            .zip(&suffixes)
            .filter(|(other, suffix)| **suffix == 0 && other.kind == place.kind && among(other));
        !empty && strangers.count() == 1
    };
    let mut rated: Vec<(Fit, usize)> = Vec::with_capacity(places.len());
    for (index, place) in places.iter().enumerate() {
        let suffix = suffixes[index];
        let stager = stagers.contains(&place.element);
        let plausible =
            suffix > 0 || (stager && only_one(place, &|other| other.element == place.element));
        if plausible || only_one(place, &|_| true) {
            let own = place.element == own;
            let kind = Reverse(place.kind);
            let whole = suffix > 0 && place.path.split('/').count() == suffix;
            rated.push((Fit { plausible, kind, stager, suffix, whole, own }, index));
        }
    }
    // Of equal ones the last action is meant (an archive, then its index), else the first path.
    rated.sort_by(|(left, a), (right, b)| {
        right.cmp(left).then_with(|| match places[*a].kind {
            Kind::Action => b.cmp(a),
            _ => places[*a].cmp(places[*b]),
        })
    });
    rated.into_iter().map(|(fit, index)| (index, fit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(kind: Kind, element: u32, path: &str) -> Place {
        Place { kind, element, path: path.into(), action: None }
    }

    fn best(places: &[Place], path: &str) -> Option<usize> {
        let names: Vec<&str> = path.split('/').collect();
        let places: Vec<&Place> = places.iter().collect();
        rank(&places, &names, 0, false).first().map(|(index, _)| *index)
    }

    #[test]
    fn suffixes() {
        assert_eq!(common_suffix("src/a.h", &["usr", "include", "a.h"]), 1);
        assert_eq!(common_suffix("src/a.h", &["x", "src", "a.h"]), 2);
        assert_eq!(common_suffix("a.h", &["b.h"]), 0);
        assert_eq!(common_suffix("", &["b.h"]), 0);
        assert!(same_path("usr/a", &["usr", "a"]));
        assert!(!same_path("usr/a", &["usr", "a", "b"]));
        assert!(!same_path("usr/a/b", &["usr", "a"]));
    }

    #[test]
    fn sources_go_first_then_actions() {
        let places = [
            place(Kind::Artifact, 1, "usr/include/a.h"),
            place(Kind::Action, 1, "build/a.h"),
            place(Kind::Source, 1, "src/a.h"),
        ];
        let names = ["usr", "include", "a.h"];
        let places: Vec<&Place> = places.iter().collect();
        let order: Vec<usize> =
            rank(&places, &names, 0, false).into_iter().map(|(index, _)| index).collect();
        assert_eq!(order, [2, 1, 0]);
    }

    #[test]
    fn the_longest_suffix_wins() {
        let places = [place(Kind::Source, 0, "a/empty.h"), place(Kind::Source, 0, "b/empty.h")];
        assert_eq!(best(&places, "work/a/empty.h"), Some(0));
        assert_eq!(best(&places, "work/b/empty.h"), Some(1));
    }

    #[test]
    fn a_whole_path_is_better_than_a_part() {
        let places = [place(Kind::Source, 0, "src/unit.c"), place(Kind::Source, 0, "unit.c")];
        assert_eq!(best(&places, "build/unit.c"), Some(1));
        assert_eq!(best(&places, "build/src/unit.c"), Some(0));
    }

    #[test]
    fn who_stages_the_path_is_meant() {
        let places = [
            place(Kind::Source, 1, "b/config.h"),
            place(Kind::Source, 2, "src/config.h"),
            place(Kind::Artifact, 2, "usr/include/b/config.h"),
        ];
        assert_eq!(best(&places, "usr/include/b/config.h"), Some(1));
    }

    #[test]
    fn another_name_is_the_last_resort() {
        let places = [place(Kind::Source, 0, "config-linux.h"), place(Kind::Action, 0, "config.h")];
        assert_eq!(best(&places, "config.h"), Some(1));
        assert_eq!(best(&places[..1], "config.h"), Some(0));
        let renamed =
            [place(Kind::Source, 1, "src/a.h.in"), place(Kind::Artifact, 1, "usr/include/a.h")];
        assert_eq!(best(&renamed, "usr/include/a.h"), Some(0));
        let two = [place(Kind::Source, 0, "a.h"), place(Kind::Source, 0, "b.h")];
        assert_eq!(best(&two, "config.h"), None);
        let names = ["config.h"];
        assert!(rank(&[&places[0]], &names, 0, true).is_empty());
    }
}
