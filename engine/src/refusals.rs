//! The words and the rule of every refusal.

use kaibiao_protocol::refusal::{Refusal, RefusalCode};

use crate::rules::RulePack;

/// A refusal with its rule and its words.
pub fn refuse(code: RefusalCode, pack: RulePack) -> Refusal {
    let _ = (code, pack);
    todo!()
}

/// The same refusal, naming what exactly is wrong.
pub fn because(refusal: Refusal, zh: &str, en: &str) -> Refusal {
    let _ = (refusal, zh, en);
    todo!()
}
