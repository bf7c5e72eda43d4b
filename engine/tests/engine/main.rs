//! The engine at its own door: rules as tables in text, every state against every command, who may
//! do what, every interleaving.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod answers;
mod backup;
mod creating;
mod deadline;
mod directory;
mod evaluation;
mod evaluation_holds;
mod golden;
mod hall;
mod hub;
mod interleavings;
mod invariants;
mod judging;
mod keeper;
mod opening;
mod opening_machine;
mod permissions;
mod race;
mod reactions;
mod receiving;
mod record;
mod restoring;
mod room;
mod script;
mod tending;
mod visibility;
mod window;
mod world;
