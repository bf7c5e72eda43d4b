//! A sealed bid as it lies in the store, at its opening: whether it is still the one of the receipt, what its
//! keys open, and whose the damage is where something does not fit.
//!
//! Everything here blocks on the disk and belongs on a thread of the pool. What it says of a failure never names
//! content: it reaches people before the barrier.

use std::sync::Arc;

use kaibiao_engine::project::Project;
pub(crate) use kaibiao_engine::reaction::opening::{Failure, Sheets};
use kaibiao_protocol::{
    bid::{BidFacts, FailureCause, PartName},
    digest::Digest,
};
use kaibiao_sealed::{
    digest::{Sha256, sha256},
    header::{Header, PREAMBLE_BYTES},
    key::PartKey,
    package::{PackageFault, PartPackage},
    read_at::ReadAt,
    unseal::{OpenFault, OpenPart, PartOpener},
};
use zeroize::Zeroizing;

use crate::{
    files::{FileFault, Files},
    final_checks::at_once,
    proofs::{EachTime, Proofs},
    unsealing::{BidToCheck, CheckFault},
};

/// The stored bytes, with a header proved to be the receipt's.
pub(crate) struct StoredBid {
    file: Arc<dyn ReadAt>,
    header: Header,
}

impl StoredBid {
    /// Opens the stored file and holds its header against the receipt.
    pub(crate) fn load(files: &dyn Files, facts: &BidFacts) -> Result<Self, Failure> {
        Self::load_with(files, facts, &EachTime)
    }

    /// The same, by somebody's proofs.
    pub(crate) fn load_with(
        files: &dyn Files,
        facts: &BidFacts,
        proofs: &dyn Proofs,
    ) -> Result<Self, Failure> {
        let damaged = |seen: &dyn std::fmt::Display| Failure::new(FailureCause::DamagedStore, seen);
        let file = files.open(&facts.file).map_err(|fault| match fault {
            FileFault::Unknown(_) => damaged(&"the stored file is gone"),
            fault => damaged(&format_args!("the stored file cannot be opened: {}", public(&fault))),
        })?;
        if file.bytes() != facts.size_bytes {
            let seen = format!("the stored file has {} bytes instead of {}", file.bytes(), facts.size_bytes);
            return Err(damaged(&seen));
        }
        let bytes = header_bytes(&*file).map_err(|seen| damaged(&seen))?;
        let found = sha256(&bytes);
        if found != facts.header_digest {
            let seen = "the stored header is not the receipt's";
            return Err(Failure::digests(FailureCause::DamagedStore, seen, facts.header_digest, found));
        }
        // From here on the header is the one that passed every check of reception; a fault now is the program's.
        let ours = |seen: &dyn std::fmt::Display| Failure::new(FailureCause::PlatformFault, seen);
        let header = Header::parse(&bytes).map_err(|fault| ours(&fault))?;
        let signed = proofs.signature(&header).map_err(|fault| ours(&fault))?;
        if signed.fingerprint != facts.signing_certificate {
            return Err(ours(&"the header is signed by another certificate than the receipt says"));
        }
        Ok(Self { file, header })
    }

    /// Bytes of the header area: where the parts begin.
    pub(crate) fn header_len(&self) -> u64 {
        self.header.len
    }

    /// What the keys open. Each key is held against its commitment first.
    ///
    /// # Errors
    /// The first part whose key is not the one fixed by the receipt.
    pub(crate) fn opened_by(&self, keys: &[(PartName, PartKey)]) -> Result<BidToCheck, Failure> {
        let mut parts = Vec::with_capacity(keys.len());
        for (part, key) in keys {
            let opener = PartOpener::new(&self.header, *part, key).map_err(|fault| match fault {
                OpenFault::WrongKey => Failure::new(
                    FailureCause::WrongKey,
                    format_args!("the key of part {part} is not the one that the receipt commits to"),
                ),
                fault => Failure::new(FailureCause::PlatformFault, fault),
            })?;
            parts.push((*part, OpenPart::new(opener, self.file.clone())));
        }
        Ok(BidToCheck { file: self.file.clone(), parts })
    }
}

fn header_bytes(file: &dyn ReadAt) -> Result<Vec<u8>, String> {
    let unreadable = |fault: std::io::Error| format!("the stored header cannot be read: {}", fault.kind());
    let mut first = [0; PREAMBLE_BYTES];
    file.read_exact_at(&mut first, 0).map_err(unreadable)?;
    let length = Header::length_needed(&first).map_err(|fault| fault.to_string())?;
    let mut bytes = vec![0; length.ok_or("the stored header is cut")?];
    file.read_exact_at(&mut bytes, 0).map_err(unreadable)?;
    Ok(bytes)
}

/// What a fault of the store says to people outside: no path of the server.
fn public(fault: &FileFault) -> String {
    match fault {
        FileFault::Disk { doing, fault, .. } => format!("failed to {doing} it: {}", fault.kind()),
        fault @ (FileFault::NoRoom
        | FileFault::TooLarge
        | FileFault::Unknown(_)
        | FileFault::Gap { .. }
        | FileFault::Spoiled(_)) => fault.to_string(),
    }
}

/// Tells whose the damage is, after a chunk failed: the stored ciphertext is hashed now, and only now.
pub(crate) fn diagnose(file: &dyn ReadAt, header_len: u64, facts: &BidFacts, fault: &CheckFault) -> Failure {
    let mut offset = header_len;
    for part in &facts.parts {
        if part.part == fault.part {
            let found = match digest_of(file, offset, part.length) {
                Ok(found) => found,
                Err(unreadable) => {
                    let seen = format_args!(
                        "part {} cannot be read from the store: {}",
                        part.part,
                        unreadable.kind()
                    );
                    return Failure::new(FailureCause::DamagedStore, seen);
                }
            };
            return if found == part.ciphertext {
                let seen =
                    format_args!("part {} is as received, yet it does not open: {}", part.part, fault.fault);
                Failure::digests(FailureCause::DamagedUpload, seen, part.ciphertext, found)
            } else {
                let seen = format_args!("the stored part {} is not the receipt's", part.part);
                Failure::digests(FailureCause::DamagedStore, seen, part.ciphertext, found)
            };
        }
        offset += part.length;
    }
    Failure::new(FailureCause::PlatformFault, format_args!("the receipt has no part {}", fault.part))
}

fn digest_of(file: &dyn ReadAt, mut offset: u64, mut left: u64) -> std::io::Result<Digest> {
    let mut piece = vec![0; at_once(left, HASHED_AT_ONCE_BYTES)];
    let mut hash = Sha256::new();
    while left > 0 {
        let count = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
        file.read_exact_at(&mut piece[..count], offset)?;
        hash.update(&piece[..count]);
        offset += count as u64;
        left -= count as u64;
    }
    Ok(hash.finish())
}

const HASHED_AT_ONCE_BYTES: usize = 1 << 20;

/// Reads the sheets of a bid whose every chunk is authentic, and holds each part's package against the bid.
pub(crate) fn sheets_of(bid: &BidToCheck, facts: &BidFacts, project: &Project) -> Result<Sheets, Failure> {
    let malformed = |part: PartName, fault: &dyn std::fmt::Display| {
        Failure::new(FailureCause::MalformedPackage, format_args!("part {part}: {fault}"))
    };
    let Some(spec) = project.spec() else {
        return Err(Failure::new(FailureCause::PlatformFault, "the bid's project is not there"));
    };
    let mut sheets = Sheets::new();
    for (part, open) in &bid.parts {
        let package = PartPackage::read(open, open.clear_len()).map_err(|fault| match fault {
            // Every chunk was authentic a moment ago: the store fails.
            PackageFault::Io(fault) if fault.kind() != std::io::ErrorKind::UnexpectedEof => Failure::new(
                FailureCause::DamagedStore,
                format_args!("part {part} can no longer be read: {}", fault.kind()),
            ),
            fault => malformed(*part, &fault),
        })?;
        package.check_belongs(&spec.id, &facts.supplier, *part).map_err(|fault| malformed(*part, &fault))?;
        if let PartName::Lot(lot) = part {
            let sheet = package.sheet().ok_or_else(|| malformed(*part, &"there is no bid sheet"))?;
            sheets.insert(*lot, sheet.clone());
        }
    }
    project
        .check_sheets(&facts.bid, &sheets)
        .map_err(|refusal| Failure::new(FailureCause::MalformedPackage, refusal.say.en))?;
    Ok(sheets)
}

/// Part keys as they are wrapped under the store key: for each part a byte of the name's length, the name, and
/// the 32 bytes of the key.
pub(crate) fn keys_to_bytes(keys: &[(PartName, PartKey)]) -> Zeroizing<Vec<u8>> {
    let names: Vec<String> = keys.iter().map(|(part, _)| part.to_string()).collect();
    // Allocated once: a vector that grew would leave keys behind.
    let size = names.iter().map(|name| 1 + name.len() + 32).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    for (name, (_, key)) in names.iter().zip(keys) {
        bytes.push(u8::try_from(name.len()).expect("a part's name is short"));
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(key.expose());
    }
    bytes
}

/// The keys that [`keys_to_bytes`] wrote; none if the bytes are not such.
pub(crate) fn keys_from_bytes(mut bytes: &[u8]) -> Option<Vec<(PartName, PartKey)>> {
    let mut keys = Vec::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (key, rest) = rest.split_at_checked(32)?;
        let part = std::str::from_utf8(name).ok()?.parse().ok()?;
        keys.push((part, PartKey::from_bytes(key)?));
        bytes = rest;
    }
    Some(keys)
}

#[cfg(test)]
mod tests {
    use kaibiao_protocol::ids::LotNo;

    use super::*;

    #[test]
    fn part_keys_are_read_as_they_were_written() {
        let lot = PartName::Lot(LotNo::new(7).unwrap());
        let keys: Vec<_> = [(PartName::Common, [1; 32]), (lot, [2; 32])]
            .into_iter()
            .map(|(part, bytes)| (part, PartKey::from_bytes(&bytes).unwrap()))
            .collect();
        let bytes = keys_to_bytes(&keys);
        let read = keys_from_bytes(&bytes).unwrap();
        assert_eq!(read.len(), 2);
        assert!(
            read.iter().zip(&keys).all(|(read, kept)| read.0 == kept.0 && read.1.expose() == kept.1.expose())
        );
        assert!(keys_from_bytes(&bytes[..bytes.len() - 1]).is_none());
        assert!(keys_from_bytes(&[]).unwrap().is_empty());
    }
}
