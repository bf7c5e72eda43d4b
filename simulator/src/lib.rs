//! Many suppliers at once, against a real server over real sockets.
//!
//! [`load`] makes a crowd with soft tokens of practice, lets it seal, hand in and unseal through the very client
//! that suppliers use, meters every step, and holds the published record against the receipts: a bid that was
//! acknowledged and is not in the record exactly once is the one result that must never come.

pub mod command;
pub mod load;
pub mod world;
