//! The end-to-end tests, as one program.
#![allow(missing_docs, clippy::needless_pass_by_value)]

mod bad_input;
mod endpoint;
mod endpoint_faults;
mod faults_recc;
mod gateway;
mod house;
mod projects;
mod projects_random;
mod runner;
mod runner_buildstream;
mod runner_compliance;
mod runner_escape;
mod runner_hostile;
mod runner_kill;
mod runner_socket;
mod speculate_buildstream;
mod speculate_demo;
mod speculate_history;
mod speculate_kill;
mod speculate_lua;
mod speculate_prime;
mod store_faults;
mod store_hammer;
mod wire;
mod wire_golden;
