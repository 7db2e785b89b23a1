//! Never a wrong object: a small tree of sources is changed at random, in every way that could
//! deceive a cache, and after each change recc's files, messages and exit status equal those of
//! the compiler alone.
//!
//! The seed is printed; `FORERUNNER_SEED` repeats a run, `FORERUNNER_STEPS` changes its length.

mod change;
mod headers;
mod plan;
mod world;

use forerunner_tests::{bin, long, on_path, peer};

use crate::dice::walk;
use world::World;

/// Changes to one world before the next one begins, with a store of its own.
const STEPS_PER_WORLD: usize = 100;

#[test]
fn never_a_wrong_object() {
    let recc = bin("recc");
    let Some(_) = peer("clang", on_path("clang")) else { return };
    let steps = if long() { 3_000 } else { 60 };
    let walk = walk(steps, 20_240_229, STEPS_PER_WORLD, |dice| World::new(&recc, dice));
    // Otherwise nothing was tried.
    assert!(walk.succeeded * 4 > walk.steps, "only {} commands succeeded", walk.succeeded);
    assert!(walk.hits * 10 > walk.steps, "{} hits in {} steps", walk.hits, walk.steps);
}
