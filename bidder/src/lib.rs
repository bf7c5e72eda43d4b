//! The supplier's side of kaibiao: CA tokens, the way to a server, and what the command `kaibiao-bid` does.
//!
//! One noun a module, each with typed outcomes: [`pack`] a bid package, [`seal`] it, [`inspect`] and [`open`]
//! what was sealed, [`submit`] it, [`unseal`] it in the opening, [`confirm`] the record, [`verify`] what the
//! platform signed. [`client`] talks to a server, [`token`] to a CA token, [`report`] puts outcomes into words.
//!
//! What is absent: any key of the platform's. And nothing here unwraps a bid key for the platform but on an
//! opening order signed with the key that the bid is bound to.

pub mod backup;
pub mod client;
pub mod clock;
pub mod command;
pub mod confirm;
pub mod inspect;
pub mod open;
pub mod pack;
pub mod pdf;
#[cfg(feature = "practice")]
pub mod practice;
pub mod private_file;
pub mod report;
pub mod seal;
pub mod sealed_bid;
pub mod signer;
pub mod submit;
pub mod token;
pub mod unseal;
pub mod verify;
