//! The measurements of docs/benchmarks.md: `cargo xtask bench [NAME…]`.
//!
//! Whole processes, taken in turns with the peer they are compared with, so that a change of the
//! machine's pace hits both. Ratios are of medians.
#![allow(missing_docs)]

mod measure;
mod rear;
mod recc;
mod runner;
mod speculating;
mod start_up;

use measure::Bench;

fn main() {
    let names: Vec<String> =
        std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let mut bench = Bench::new(names);
    start_up::run(&mut bench);
    recc::run(&mut bench);
    rear::run(&mut bench);
    runner::run(&mut bench);
    speculating::run(&mut bench);
    bench.finish();
}
