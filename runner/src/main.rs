//! `buildbox-run`: runs one action of the Remote Execution API in a sandbox.

mod blueprint;
mod bounds;
mod capability;
mod capture;
mod cgroup;
mod claim;
mod cli;
mod failure;
mod image;
mod job;
mod log;
mod logs;
mod mount;
mod outputs;
mod plan;
mod platform;
mod report;
mod run;
mod sandbox;
mod scratch;
mod seccomp;
mod settings;
mod speculation;
mod stage;
mod staging_mode;
mod start;
mod sys;
mod toolchain;

use std::process::ExitCode;

fn main() -> ExitCode {
    start::main()
}
