//! The end-to-end tests, as one program.
#![allow(missing_docs, clippy::needless_pass_by_value)]

mod endpoint;
mod endpoint_faults;
mod gateway;
mod house;
mod store_faults;
mod store_hammer;
mod wire;
mod wire_golden;
