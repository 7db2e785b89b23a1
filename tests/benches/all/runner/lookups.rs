//! Hits in the action cache: through a socket as the runner serves it, through a relay that only
//! copies bytes, and through casd's own.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use forerunner_gateway::{Gateway, Policy, Recorder};
use forerunner_merkle::Digest;
use forerunner_proto::{Kept, reapi};
use forerunner_reapi::{Config, Endpoint};
use forerunner_tests::{FUNCTION, config};

use super::Place;
use crate::measure::Bench;

/// The rounds of the first case, which vary more than those of others.
const FIRST_ROUNDS: usize = 100;

/// Calls that one client makes in a row.
const TIMES: usize = 200;

/// The same where each socket is used by itself, as a build does: each leaves the processors as the
/// other finds them, for some time.
const LONG_TIMES: usize = 4000;
const LONG_ROUNDS: usize = 10;

pub(super) fn run(bench: &mut Bench, place: &Place) {
    let folder = place.folder.path();
    let nowhere = folder.join("none");
    let behind = config(&nowhere, Some(&place.casd.url()));
    let path = folder.join("gateway.sock");
    let policy = Policy { update_allowed: true };
    let gateway = Gateway::start(&path, &behind, policy, Recorder::new()).expect("a socket");
    let at = |path: &Path| config(&nowhere, Some(&format!("unix:{}", path.display())));
    let copied = folder.join("relay.sock");
    relay(&place.casd.socket(), &copied).expect("a socket");
    let [ours, copied] = [&path, &copied].map(|path| at(path));

    // Nobody asks for the same action twice, but for the case of that name.
    let in_turns = TIMES * (bench.rounds + 1);
    let short = (in_turns * (1 + 2 + 8)).max(TIMES * (FIRST_ROUNDS + 1));
    let count = short + LONG_TIMES * (LONG_ROUNDS + 1);
    let actions: Vec<Digest> = (0..count).map(|n| FUNCTION.digest(&n.to_le_bytes())).collect();
    place.runtime.block_on(async {
        let casd = Endpoint::open(&behind).expect("casd");
        // casd takes an empty result for none.
        let result = reapi::ActionResult { stdout_raw: vec![b'x'], ..Default::default() };
        let result = Kept::new(&result);
        for action in &actions {
            casd.update_action_result(action, &result).await.expect("an update");
        }
    });
    let rounds = std::mem::replace(&mut bench.rounds, FIRST_ROUNDS);
    for (case, end) in [("the first time", &ours), ("through a relay of bytes", &copied)] {
        pair(bench, &format!("GetActionResult, {case}"), [end, &behind], &actions, TIMES);
    }
    bench.rounds = LONG_ROUNDS;
    let case = "GetActionResult, the first time, 4000 in a row";
    pair(bench, case, [&ours, &behind], &actions[short..], LONG_TIMES);
    bench.rounds = rounds;
    // The gateway remembers the same few for some seconds.
    pair(bench, "GetActionResult, again", [&ours, &behind], &actions[..TIMES], TIMES);
    let mut rest = &actions[in_turns..];
    for clients in [2, 8] {
        let case = format!("GetActionResult, {clients} clients, each call");
        together(bench, &case, clients, [&ours, &behind], rest);
        rest = &rest[in_turns * clients.min(2)..];
    }
    gateway.stop();
}

/// One client on a connection that stays.
fn pair(bench: &mut Bench, case: &str, ends: [&Config; 2], actions: &[Digest], times: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let ends = ends.map(|end| runtime.block_on(async { Endpoint::open(end) }).expect("a server"));
    let turns = [0, 0].map(std::cell::Cell::new);
    let once = |which: usize| {
        let turn = turns[which].replace(turns[which].get() + 1);
        let mut chunks = actions.chunks(times).cycle().skip(turn);
        runtime.block_on(calls(&ends[which], chunks.next().expect("actions")))
    };
    bench.pair_of(case, || once(0), || once(1));
}

/// Several clients, each with a thread and a connection of its own.
fn together(bench: &mut Bench, case: &str, clients: usize, ends: [&Config; 2], actions: &[Digest]) {
    let turns = [0, 0].map(std::cell::Cell::new);
    let once = |which: usize| {
        let turn = turns[which].replace(turns[which].get() + 1);
        let start = Instant::now();
        std::thread::scope(|scope| {
            for part in actions.chunks(TIMES).skip(turn * clients).take(clients) {
                scope.spawn(move || {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.expect("a runtime").block_on(async {
                        let end = Endpoint::open(ends[which]).expect("a server");
                        calls(&end, part).await;
                    });
                });
            }
        });
        start.elapsed() / (TIMES * clients) as u32
    };
    bench.pair_of(case, || once(0), || once(1));
}

/// What one call takes.
async fn calls(end: &Endpoint, actions: &[Digest]) -> Duration {
    let start = Instant::now();
    for action in actions {
        end.action_result(action, &[]).await.expect("an answer").expect("a hit");
    }
    start.elapsed() / actions.len() as u32
}

/// Passes bytes on, for as long as the program runs.
fn relay(from: &Path, at: &Path) -> std::io::Result<()> {
    let listener = UnixListener::bind(at)?;
    let from = from.to_owned();
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = UnixStream::connect(&from) else { continue };
            let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { continue };
            for (mut read, mut write) in [(near, far), (far_too, near_too)] {
                std::thread::spawn(move || {
                    let mut buffer = [0; 64 * 1024];
                    while let Ok(count @ 1..) = read.read(&mut buffer) {
                        if write.write_all(&buffer[..count]).is_err() {
                            break;
                        }
                    }
                    let _ = write.shutdown(Shutdown::Both);
                });
            }
        }
    });
    Ok(())
}
