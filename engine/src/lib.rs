//! The meaning of kaibiao: what may happen to a project, to the directory, and what follows.
//!
//! Everything here is an argument or a result. The engine never reads a clock, draws a random
//! number, opens a file or a socket, waits, logs or starts a thread; `engine/clippy.toml` makes
//! these build errors. A command goes through [`keeper::Keeper`], which asks a
//! [`keeper::Machine`] what it means and hands the shell what is to be stored, answered and told.
//!
//! - [`asks`]: what a person asks for, as the command it means.
//! - [`project`]: the project's state, what may be done to it by whom, and what happened.
//! - [`directory`]: organisations, people, certificates, roots of trust.
//! - [`evaluation`]: from the prices and scores of a lot to its candidates, exactly.
//! - [`reaction`]: what the platform itself should do next.
//! - [`session`]: what reaches one connection, and what is cut.
//! - [`visibility`]: who may see what; nothing leaves the server but through it.
//! - [`refusals`]: the words and the rule of every refusal; [`rules`]: the rules as data.
//! - [`invariants`]: what must hold always, as predicates.
//! - [`stored`]: events as the journal keeps them.
//! - [`planted`]: wrongs the simulated world must find; constant `false` in every shipped build.

pub mod asks;
pub mod directory;
pub mod evaluation;
pub mod invariants;
pub mod keeper;
pub mod planted;
pub mod project;
pub mod reaction;
pub mod refusals;
pub mod rules;
pub mod session;
pub mod stored;
pub mod visibility;
