//! `speculate store`: looking after the embedded store.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use forerunner_reapi::record;
use speculate::history;

use crate::context::{Usage, endpoint, print};
use crate::options::EndpointArgs;

/// What is to be done with the store.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Chore {
    /// How much is in it.
    Stats,
    /// Hash everything again, and remove what is wrong. Exit status 1 if something was.
    Verify,
    /// Remove what dead processes left, and evict down to the limit.
    Gc,
    /// Let go of the records of elements that are gone: what they refer to may be evicted from now
    /// on. Exit status 1 if there is none of one of them.
    Forget {
        /// Names of elements.
        #[arg(required = true, value_name = "ELEMENT")]
        elements: Vec<String>,
    },
}

/// Does it, and says what was found or done.
pub(crate) fn run(args: &EndpointArgs, chore: &Chore) -> Result<ExitCode> {
    if args.remote.is_some() {
        return Err(Usage(
            "`speculate store` is about the embedded store: leave out --remote".to_owned(),
        )
        .into());
    }
    let endpoint = endpoint(args)?;
    let Some(store) = endpoint.store() else { return Ok(ExitCode::FAILURE) };
    let failed = |error: forerunner_store::StoreError| forerunner_reapi::Error::from(error);
    let root = store.root().display();
    match chore {
        Chore::Stats => {
            let stats = store.stats().map_err(failed)?;
            print(&format!(
                "{root}\n{:>14} bytes of at most {}\n{:>14} blobs ({} bytes)\n{:>14} action \
                 results, {} of them element records\n{:>14} trees\n{:>14} temporary folders\n",
                stats.bytes,
                store.size_limit(),
                stats.blobs,
                stats.blob_bytes,
                stats.results,
                stats.pinned,
                stats.trees,
                stats.temporaries,
            ))?;
        }
        Chore::Verify => {
            let verified = store.verify().map_err(failed)?;
            let mut text = format!(
                "{} blobs, {} action results and {} trees checked, {} wrong\n",
                verified.blobs,
                verified.results,
                verified.trees,
                verified.bad.len(),
            );
            for path in &verified.bad {
                text.push_str(&format!("removed {}\n", path.display()));
            }
            print(&text)?;
            return Ok(if verified.bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Chore::Gc => {
            let done = store.gc().map_err(failed)?;
            print(&format!(
                "{} temporary folders and {} holds of dead processes removed, {} element records \
                 expired, {} entries ({} bytes) evicted, {} bytes left\n",
                done.temporaries,
                done.holds,
                done.unpinned,
                done.evicted,
                done.evicted_bytes,
                done.left_bytes,
            ))?;
        }
        Chore::Forget { elements } => {
            let mut unknown = false;
            for element in elements {
                let function = store.function();
                let keys = [record::key(function, element), history::key(function, element)];
                let mut any = false;
                for key in keys {
                    any |= store.unpin(&key).map_err(failed)?;
                }
                if !any {
                    eprintln!("speculate: there is no record of element `{element}` in `{root}`");
                    unknown = true;
                }
            }
            return Ok(ExitCode::from(u8::from(unknown)));
        }
    }
    Ok(ExitCode::SUCCESS)
}
