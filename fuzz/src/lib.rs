//! What comes in from outside, and what must hold of it whatever it is.
//!
//! Each target takes any bytes, hands them to the reader that the programs use, and asserts more than that it does not
//! panic: what was accepted is written again to the same bytes, readers that share no code with ours
//! ([`independent`]) find the same in it, and what is refused is refused by a documented name.
//!
//! `cargo test` replays the kept inputs (`corpus/`, `found/`, the vectors of the formats); `scripts/fuzz` draws new ones.

pub mod independent;
mod targets;

use std::path::{Path, PathBuf};

/// One way in from outside.
#[derive(Debug)]
pub struct Target {
    /// Its name: that of its program and of its folder of inputs.
    pub name: &'static str,
    /// Panics if something that must hold of these bytes does not.
    pub run: fn(&[u8]),
    /// The most bytes of an input worth drawing.
    pub bytes_max: usize,
    /// Folders of the house whose files it starts from beside its own.
    pub seeds: &'static [&'static str],
}

/// Every target.
pub const TARGETS: &[Target] = &[
    target_of("sealed_bid_header", targets::sealed_bid::header, 16_384, &[]),
    target_of("sealed_bid_arrival", targets::sealed_bid::arrival, 16_384, &["sealed/tests/vectors"]),
    target_of("package", targets::package::package, 8_192, &["sealed/tests/package_vectors"]),
    target_of("part", targets::package::part, 4_096, &[]),
    target_of("manifest", targets::package::manifest, 4_096, &[]),
    target_of("request_frame", targets::frames::request, 2_048, &[]),
    target_of("incoming_frame", targets::frames::incoming, 4_096, &[]),
    target_of(
        "journal_event",
        targets::journal::event,
        4_096,
        &["engine/tests/golden/project", "engine/tests/golden/directory"],
    ),
    target_of("journal_head", targets::journal::head, 8_192, &[]),
    target_of("pkcs12", targets::tokens::pkcs12, 8_192, &[]),
    target_of("certificate", targets::tokens::certificate, 4_096, &[]),
    target_of("signature", targets::tokens::signature, 4_096, &[]),
    target_of("revocation_list", targets::tokens::revocation_list, 4_096, &[]),
    target_of("pdf", targets::package::pdf, 8_192, &[]),
    target_of("signed_text", targets::texts::signed_text, 8_192, &[]),
    target_of("upload_metadata", targets::uploads::metadata, 2_048, &[]),
    target_of("contact_form", targets::uploads::contact_form, 1_024, &[]),
];

const fn target_of(
    name: &'static str,
    run: fn(&[u8]),
    bytes_max: usize,
    seeds: &'static [&'static str],
) -> Target {
    Target { name, run, bytes_max, seeds }
}

/// The target of this name.
///
/// # Panics
/// There is none.
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("{name} is no target"))
}

/// Runs a target by its name.
///
/// # Panics
/// There is none of this name, or something does not hold.
pub fn run(name: &str, data: &[u8]) {
    (target(name).run)(data);
}

/// The house's folder.
pub fn house() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the house is around it").to_owned()
}
