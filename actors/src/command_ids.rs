//! Names for the platform's own commands, so that one sent again gets its first answer.

use aws_lc_rs::rand::fill;
use kaibiao_protocol::ids::CommandId;
use kaibiao_sealed::digest::sha256_of;

/// A name that nothing else has.
pub(crate) fn drawn() -> CommandId {
    let mut bytes = [0; 16];
    fill(&mut bytes).expect("the system gives random bytes");
    CommandId(bytes)
}

/// The name of what these pieces say, each of them unambiguous by its length: who asks, for what, on which ground.
pub(crate) fn derived(pieces: &[&[u8]]) -> CommandId {
    let lengths: Vec<[u8; 8]> = pieces.iter().map(|piece| (piece.len() as u64).to_be_bytes()).collect();
    let mut framed: Vec<&[u8]> = vec![b"kaibiao command 1\n"];
    for (piece, length) in pieces.iter().zip(&lengths) {
        framed.extend([length.as_slice(), piece]);
    }
    let digest = sha256_of(&framed);
    CommandId(*digest.as_bytes().first_chunk().expect("a digest has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_otherwise_has_another_name() {
        assert_eq!(derived(&[b"a", b"bc"]), derived(&[b"a", b"bc"]));
        assert_ne!(derived(&[b"a", b"bc"]), derived(&[b"ab", b"c"]));
        assert_ne!(drawn(), drawn());
    }
}
