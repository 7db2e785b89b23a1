//! The protocols that Forerunner speaks, as Rust types.
//!
//! The sources are in `proto/defs`; `cargo xtask proto` writes `src/gen` from them, and
//! `cargo xtask proto --check` says whether both agree. Services hand over the messages that
//! others may have extended as [`Kept`]: the bytes as they came.

mod kept;

pub use kept::Kept;
pub use prost::Message;
pub use prost_types::{Any, Duration, Timestamp};

/// The compiled `FileDescriptorSet` of every file in `proto/defs`.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");

/// The packages as the compiler of the protocols nests them.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    unused_qualifications,
    unreachable_pub,
    deprecated
)]
mod r#gen {
    pub mod build {
        pub mod bazel {
            pub mod remote {
                pub mod asset {
                    pub mod v1 {
                        include!("gen/build.bazel.remote.asset.v1.rs");
                        include!("gen/services.build.bazel.remote.asset.v1.rs");
                    }
                }
                pub mod execution {
                    pub mod v2 {
                        include!("gen/build.bazel.remote.execution.v2.rs");
                        include!("gen/services.build.bazel.remote.execution.v2.rs");
                    }
                }
            }
            pub mod semver {
                include!("gen/build.bazel.semver.rs");
            }
        }
        pub mod buildbox {
            include!("gen/build.buildbox.rs");
        }
        pub mod buildgrid {
            include!("gen/build.buildgrid.rs");
            include!("gen/services.build.buildgrid.rs");
        }
    }
    pub mod buildstream {
        pub mod v2 {
            include!("gen/buildstream.v2.rs");
        }
    }
    pub mod forerunner {
        pub mod v1 {
            include!("gen/forerunner.v1.rs");
        }
    }
    pub mod google {
        pub mod bytestream {
            include!("gen/google.bytestream.rs");
            include!("gen/services.google.bytestream.rs");
        }
        pub mod longrunning {
            include!("gen/google.longrunning.rs");
            include!("gen/services.google.longrunning.rs");
        }
        pub mod rpc {
            include!("gen/google.rpc.rs");
        }
    }
}

pub use r#gen::build::bazel::remote::asset::v1 as asset;
pub use r#gen::build::bazel::remote::execution::v2 as reapi;
pub use r#gen::build::bazel::semver;
pub use r#gen::build::{buildbox, buildgrid};
pub use r#gen::buildstream::v2 as buildstream;
pub use r#gen::forerunner::v1 as ours;
pub use r#gen::google::{bytestream, longrunning, rpc};
