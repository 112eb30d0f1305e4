//! Messages to values and back.
//!
//! [`v1`] is generated from `proto/moulin/v1` by `make gen`; [`decode`] and [`encode`] are the only code that
//! reads or fills its messages, and [`status`] carries a [`moulin_core::Fault`] in a gRPC status. What is absent
//! or unknown in a message is refused or given its documented default here, so that nobody below has to ask.

pub mod decode;
pub mod encode;
mod enums;
mod source;
pub mod status;
mod table_input;
mod time;

/// Generated code.
#[allow(
    missing_docs,
    unreachable_pub,
    rust_2018_idioms,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    reason = "generated"
)]
pub mod v1 {
    include!("generated/moulin.v1.rs");

    /// The descriptor set of this package, for gRPC reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/moulin.v1.bin");
}
