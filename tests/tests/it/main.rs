//! The end-to-end tests, as one program.
#![allow(missing_docs, clippy::needless_pass_by_value)]

mod endpoint;
mod gateway;
mod house;
