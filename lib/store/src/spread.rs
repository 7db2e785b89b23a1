//! Work for several threads, or for one where the system gives us no more.
//!
//! A user may be at the limit of processes (`ulimit -u`) because of something else that runs; then
//! it takes longer.

use std::sync::OnceLock;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// The threads, if there is more than one thing to do for them, and they can be had.
fn pool<T>(list: &[T]) -> Option<&'static ThreadPool> {
    static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();
    if list.len() < 2 {
        return None;
    }
    POOL.get_or_init(|| ThreadPoolBuilder::new().build().ok()).as_ref()
}

/// What `work` makes of each, in the same order.
pub(crate) fn map<T: Sync, R: Send>(list: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    match pool(list) {
        Some(pool) => pool.install(|| list.par_iter().map(&work).collect()),
        None => list.iter().map(work).collect(),
    }
}

/// Does `work` for each. After an error no more is begun.
pub(crate) fn try_each<T: Sync, E: Send>(
    list: &[T],
    work: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    match pool(list) {
        Some(pool) => pool.install(|| list.par_iter().try_for_each(&work)),
        None => list.iter().try_for_each(work),
    }
}

/// As [`map`], up to the first error.
pub(crate) fn try_map<T: Sync, R: Send, E: Send>(
    list: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    match pool(list) {
        Some(pool) => pool.install(|| list.par_iter().map(&work).collect()),
        None => list.iter().map(work).collect(),
    }
}
