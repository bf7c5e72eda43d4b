//! The digest of a run: everything sent to people and everything stored, in order. Two runs of a seed have the same.

use kaibiao_engine::keeper::Recorded;
use kaibiao_protocol::{event::ProjectEvent, ids::ProjectId};

use super::{
    schedule::Instant,
    wire::{ConnId, ToClient},
};

/// A digest in the making. Eight bytes at a time, mixed by multiplication: its only enemy is chance.
pub(super) struct Trace {
    state: u64,
    scratch: Vec<u8>,
}

impl Default for Trace {
    fn default() -> Self {
        Self { state: 0x6b61_6962_6961_6f31, scratch: Vec::new() }
    }
}

impl Trace {
    pub(super) fn sent(&mut self, now: Instant, conn: ConnId, message: &ToClient) {
        self.number(now.0);
        self.number(u64::from(conn.0));
        match message {
            ToClient::Frame(frame) => self.bytes(frame.as_bytes()),
            ToClient::Answer(response) => self.json(response),
            ToClient::Stands { upload, offset, verdict } => {
                self.bytes(&upload.0);
                self.number(*offset);
                if let Some(verdict) = verdict {
                    self.json(verdict);
                }
            }
            ToClient::NoUpload { upload, refusal } => {
                self.bytes(&upload.0);
                self.bytes(refusal.code.as_str().as_bytes());
            }
        }
    }

    pub(super) fn stored(&mut self, id: &ProjectId, records: &[Recorded<ProjectEvent>]) {
        self.bytes(id.as_str().as_bytes());
        for record in records {
            self.number(record.seq);
            // The chain ties it to every record before it, byte for byte.
            self.bytes(&record.hash.0);
        }
    }

    pub(super) fn end(self) -> u64 {
        self.state
    }

    fn json(&mut self, value: &impl serde::Serialize) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        serde_json::to_writer(&mut scratch, value).expect("what is sent has a JSON form");
        self.bytes(&scratch);
        self.scratch = scratch;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.number(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.number(u64::from(*byte));
        }
    }

    fn number(&mut self, word: u64) {
        self.state = (self.state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}
