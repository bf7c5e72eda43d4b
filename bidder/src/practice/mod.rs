//! Made-up suppliers' belongings: papers, and tokens of two made-up certification authorities.
//!
//! For the demo, the simulator and the tests; in a feature of its own so that no supplier's machine carries it.

pub mod forms;
pub mod papers;
mod pkcs12;
pub mod server;
mod shop;
mod softhsm;

pub use shop::{PracticeDesk, PracticeToken, PracticeVendor, ShopFault, TokenKind, TokenShop, TokenWish};
