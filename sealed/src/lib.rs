//! The files both sides must agree on byte by byte, and their cryptography.
//!
//! A supplier packs a bid package (`.bfbs`), seals it (`.jmbs`) and hands it in; the platform takes it in,
//! signs a receipt, and after the deadline opens it with keys that suppliers release under a signed opening
//! order. Every byte of these files is specified in `docs/formats/`, this crate is one implementation.
//!
//! What is absent: a clock (a moment is always an argument), a socket, an asynchronous call, and any private
//! RSA operation outside the feature `practice`. Random numbers come from aws-lc-rs only, in functions that
//! say so.

pub mod arrival;
pub mod binding;
mod body_stream;
pub mod certificate;
pub mod chain;
pub mod check;
pub mod cobblestone;
pub mod digest;
pub mod envelope;
#[cfg(test)]
mod flip;
#[cfg(test)]
mod forge;
pub mod header;
pub mod key;
pub mod order;
pub mod package;
pub mod platform_key;
#[cfg(feature = "practice")]
pub mod practice;
pub mod purpose;
pub mod read_at;
pub mod receipt;
pub mod record;
pub mod refusal_notice;
pub mod revocation;
pub mod shown;
pub mod signature;
pub mod signed_file;
pub mod statement;
pub mod statements;
pub mod strict_json;
pub mod trust;
pub mod unseal;
pub mod wrap;
pub mod writer;
mod x509;
