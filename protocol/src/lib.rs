//! The language of kaibiao: what people, actors, files and the wire say to each other.
//!
//! Every type here is plain data with one meaning, checked when it is parsed: a [`ids::ProjectId`]
//! that exists is well-formed, a [`money::Fen`] is an exact amount, a [`moment::Moment`] is a
//! UTC instant. This crate depends on no other crate of the workspace, reads no clock and draws no
//! random number; the terms are those of the glossary in `docs/glossary.md`.

pub mod bid;
pub mod blob;
pub mod command;
pub mod deadline;
pub mod digest;
pub mod directory;
pub mod evaluation;
pub mod event;
pub mod frame;
pub mod ids;
pub mod moment;
pub mod money;
pub mod once;
pub mod project;
pub mod record;
pub mod refusal;
pub mod role;
pub mod view;
