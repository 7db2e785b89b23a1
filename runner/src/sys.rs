//! The one place with `unsafe` code: births of processes, mounts, confinement, and the system
//! calls that no safe library has.
//!
//! - [`spawn`] starts a [`crate::plan::Plan`];
//! - `child` is what runs in the new namespaces, without allocating;
//! - [`beside`] starts a program that must not be in a build's way;
//! - [`open_in_root`] resolves a path that cannot leave a directory.
#![allow(unsafe_code)]

mod beside;
mod call;
mod child;
mod confine;
mod exec;
mod init;
mod message;
mod open;
mod prepared;
mod spawn;

pub(crate) use beside::{Beside, beside};
pub(crate) use message::Message;
pub(crate) use open::open_in_root;
pub(crate) use spawn::{Resources, Sandboxed, Stdio, spawn};
