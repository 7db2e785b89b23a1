//! Chance that can be repeated.

/// A generator of numbers (xorshift64*).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not begin alike, and zero would stay zero.
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in `times` on average.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub(crate) fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Something that changes at random, beside what it is compared with.
pub(crate) trait World {
    /// Changes it and compares; `what` names the step in the message of a failure.
    fn step(&mut self, what: &str);
    /// How often the cache was used.
    fn hits(&self) -> usize;
    /// Steps whose command the compared tool could do.
    fn succeeded(&self) -> usize;
}

/// How much was done in all worlds.
pub(crate) struct Walk {
    pub(crate) steps: usize,
    pub(crate) hits: usize,
    pub(crate) succeeded: usize,
}

/// Lets worlds change, one after the other, each for `in_one` steps. `FORERUNNER_STEPS` and
/// `FORERUNNER_SEED` say otherwise than `steps` and `seed`; the seed is printed.
pub(crate) fn walk<W: World>(
    steps: usize,
    seed: u64,
    in_one: usize,
    make: impl Fn(Dice) -> W,
) -> Walk {
    let number = |variable: &str| -> Option<u64> {
        Some(std::env::var(variable).ok()?.parse().expect("a number"))
    };
    let steps = number("FORERUNNER_STEPS").map_or(steps, |steps| steps as usize);
    let mut seed = number("FORERUNNER_SEED").unwrap_or(seed);
    let mut walk = Walk { steps, hits: 0, succeeded: 0 };
    let mut left = steps;
    while left > 0 {
        println!("FORERUNNER_SEED={seed}");
        let mut world = make(Dice::new(seed));
        let here = left.min(in_one);
        for step in 0..here {
            world.step(&format!("FORERUNNER_SEED={seed}, step {step}"));
        }
        walk.hits += world.hits();
        walk.succeeded += world.succeeded();
        (left, seed) = (left - here, seed + 1);
    }
    println!("{} hits; {} of {steps} commands succeeded", walk.hits, walk.succeeded);
    walk
}
