//! A small build through recc, rear and reranlib in cache-only mode while the endpoint refuses,
//! falls silent, breaks off, lies, or is dead: the files, the messages and the exit status of
//! every command are those of the plain tools, nothing waits longer than it was told to, and what
//! the server holds afterwards does no harm.

mod build;
mod hang;
mod line;

use std::sync::Mutex;

use forerunner_tests::{long, temp};
use tonic::Code;

use build::{Build, Settings};
use line::{Dead, Line};

use crate::scripted::lies::Lie;
use crate::scripted::{Content, Fault, Rpc, Server};

const RPCS: [Rpc; 8] = [
    Rpc::GetCapabilities,
    Rpc::GetActionResult,
    Rpc::UpdateActionResult,
    Rpc::FindMissingBlobs,
    Rpc::BatchUpdateBlobs,
    Rpc::BatchReadBlobs,
    Rpc::Read,
    Rpc::Write,
];

/// Those that a server answers with when it is not well.
const CODES: &[Code] = &[
    Code::Unavailable,
    Code::PermissionDenied,
    Code::Internal,
    Code::Unimplemented,
    Code::ResourceExhausted,
    Code::Unauthenticated,
    Code::NotFound,
    Code::InvalidArgument,
    Code::FailedPrecondition,
    Code::Cancelled,
    Code::DeadlineExceeded,
];

/// Waiting is most of it.
const AT_ONCE: usize = 6;

/// Runs every case, several at once; fails with all that is wrong.
fn for_all<T: Sync + std::fmt::Debug>(cases: &[T], run: impl Fn(&T) -> Result<(), String> + Sync) {
    let (next, wrong) = (Mutex::new(0..cases.len()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(at) = { next.lock().expect("no panic").next() } {
                    if let Err(error) = run(&cases[at]) {
                        wrong.lock().expect("no panic").push(format!("{:?}: {error}", cases[at]));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no panic");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
}

/// What a server holds after a build without faults.
fn filled(build: &Build) -> Content {
    let folder = temp();
    let server = Server::default();
    let line = Line::to(&server, folder.path());
    build.check(&Settings::cache_only(line.url())).expect("a build without faults");
    let content = server.content();
    assert!(!content.results.is_empty() && !content.blobs.is_empty(), "nothing was stored");
    // And it is used.
    let before = server.content().results.len();
    let hits = build.check_hits(&Settings::cache_only(line.url())).expect("a build of hits");
    assert!(hits >= 4, "{hits} hits");
    assert_eq!(server.content().results.len(), before);
    content
}

/// Every method with this fault, with an empty server and with a full one; then the fault is gone.
fn each_method(faults: &[Fault]) {
    let build = Build::new();
    let full = filled(&build);
    let mut cases = Vec::new();
    for rpc in RPCS {
        for fault in faults {
            cases.extend([(rpc, *fault, false), (rpc, *fault, true)]);
        }
    }
    if !long() {
        // An empty server is written to, a full one is read.
        let reads = [Rpc::GetActionResult, Rpc::BatchReadBlobs, Rpc::Read];
        cases.retain(|(rpc, _, full)| *rpc == Rpc::GetCapabilities || reads.contains(rpc) == *full);
    }
    let met = Mutex::new(Vec::new());
    for_all(&cases, |&(rpc, fault, is_full)| {
        let folder = temp();
        let server = Server::with(if is_full { full.clone() } else { Content::default() });
        let line = Line::to(&server, folder.path());
        server.set_fault(Some((rpc, fault)));
        let mut settings = Settings::cache_only(line.url());
        // With a store of one's own for manifests, and without.
        settings.own_store = is_full;
        settings.retries = u32::from(is_full);
        build.check(&settings)?;
        if server.met() > 0 {
            met.lock().expect("no panic").push(rpc);
        }
        server.set_fault(None);
        build.check(&settings).map_err(|error| format!("when the fault was gone: {error}"))
    });
    let met = met.into_inner().expect("no panic");
    // No fault may have been tried in vain.
    for rpc in RPCS {
        assert!(met.contains(&rpc), "{rpc:?} was never called: {met:?}");
    }
}

#[test]
fn a_method_is_refused() {
    let codes = if long() { CODES } else { &CODES[..2] };
    let faults: Vec<Fault> = codes.iter().map(|code| Fault::Refuse(*code)).collect();
    each_method(&faults);
}

#[test]
fn a_method_is_never_answered() {
    each_method(&[Fault::Silent]);
}

#[test]
fn the_connection_breaks() {
    each_method(&[Fault::Cut]);
}

#[test]
fn a_method_lies() {
    each_method(&Lie::ALL.map(Fault::Lie));
}

#[test]
fn the_server_is_dead() {
    let build = Build::new();
    for_all(&Dead::ALL, |dead| {
        let folder = temp();
        let url = dead.url(folder.path());
        build.check(&Settings::cache_only(&url))
    });
}

/// Without a cache-only mode the reference fails; asked to, it runs the command here.
#[test]
fn execution_fails() {
    let build = Build::new();
    let mut faults: Vec<Option<(Rpc, Fault)>> = Lie::ALL
        .iter()
        .map(|lie| Fault::Lie(*lie))
        .chain([Fault::Refuse(Code::Unavailable), Fault::Refuse(Code::Internal), Fault::Cut])
        .map(|fault| Some((Rpc::Execute, fault)))
        .collect();
    // The server says by itself that it executes nothing.
    faults.push(None);
    for_all(&faults, |fault| {
        let folder = temp();
        let server = Server::default();
        let line = Line::to(&server, folder.path());
        server.set_fault(*fault);
        let mut settings = Settings::cache_only(line.url());
        settings.remote = true;
        build.check_failure(&settings)?;
        settings.fallback = true;
        build.check(&settings)
    });
}
