//! Never a wrong object: a small tree of sources is changed at random, in every way that could
//! deceive a cache, and after each change recc's files, messages and exit status equal those of
//! the compiler alone.
//!
//! The seed is printed; `FORERUNNER_SEED` repeats a run, `FORERUNNER_STEPS` changes its length.

mod change;
pub(crate) mod dice;
mod headers;
mod plan;
mod world;

use forerunner_tests::{bin, long, on_path, peer};

use dice::Dice;
use world::World;

/// Changes to one world before the next one begins, with a store of its own.
const STEPS_PER_WORLD: usize = 100;

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn never_a_wrong_object() {
    let recc = bin("recc");
    let Some(_) = peer("clang", on_path("clang")) else { return };
    let steps = number("FORERUNNER_STEPS", if long() { 3_000 } else { 60 });
    let first = number("FORERUNNER_SEED", 20_240_229);
    let (mut left, mut seed, mut hits, mut succeeded) = (steps as usize, first, 0, 0);
    while left > 0 {
        println!("FORERUNNER_SEED={seed}");
        let mut world = World::new(&recc, Dice::new(seed));
        let here = left.min(STEPS_PER_WORLD);
        for step in 0..here {
            world.step(&format!("FORERUNNER_SEED={seed}, step {step}"));
        }
        hits += world.hits();
        succeeded += world.succeeded;
        (left, seed) = (left - here, seed + 1);
    }
    println!("{hits} hits; {succeeded} of {steps} commands succeeded");
    // Otherwise nothing was tried.
    assert!(succeeded * 4 > steps, "only {succeeded} of {steps} commands succeeded");
    assert!(hits * 10 > steps, "{hits} hits in {steps} steps");
}
