//! The targets, by what comes in.

pub(crate) mod frames;
pub(crate) mod journal;
pub(crate) mod package;
pub(crate) mod sealed_bid;
pub(crate) mod texts;
pub(crate) mod tokens;
pub(crate) mod uploads;

/// Asserts that a fault's name stands in the format's document.
fn documented(code: &str, document: &str) {
    assert!(document.contains(&format!("`{code}`")), "{code} is refused and not documented");
}

/// Asserts that independent eyes see JSON of one meaning in what was accepted, and in one spelling.
fn has_one_spelling(accepted: &[u8]) {
    let seen = crate::independent::json::read(accepted);
    let seen =
        seen.unwrap_or_else(|why| panic!("accepted, but {why}: {}", String::from_utf8_lossy(accepted)));
    assert_eq!(seen.spelled().as_bytes(), accepted, "accepted, but not in its one spelling");
}

/// Asserts that independent eyes see JSON of one meaning in what was accepted.
fn has_one_meaning(accepted: &[u8]) {
    if let Err(why) = crate::independent::json::read(accepted) {
        panic!("accepted, but {why}: {}", String::from_utf8_lossy(accepted));
    }
}
