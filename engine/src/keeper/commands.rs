//! What makes a command that is sent twice happen once.

use std::collections::{BTreeMap, VecDeque};

use kaibiao_protocol::{digest::Digest, ids::CommandId, moment::Moment};

use super::{COMMAND_IDS_MAX, Done};

/// The last commands that left records, and their answers. A refusal is not remembered: it changed
/// nothing, so it may be decided again.
#[derive(Default)]
pub(super) struct Commands {
    /// Without an answer: its records are not durable yet.
    answers: BTreeMap<CommandId, Option<Done>>,
    oldest_first: VecDeque<CommandId>,
}

impl Commands {
    pub(super) fn knows(&self, id: &CommandId) -> bool {
        self.answers.contains_key(id)
    }

    pub(super) fn done(&self, id: &CommandId) -> Option<&Done> {
        self.answers.get(id).and_then(Option::as_ref)
    }

    pub(super) fn note_pending(&mut self, id: CommandId) {
        if self.answers.insert(id, None).is_none() {
            self.oldest_first.push_back(id);
        }
        while self.oldest_first.len() > COMMAND_IDS_MAX {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.answers.remove(&oldest);
            }
        }
    }

    pub(super) fn note_record(&mut self, id: CommandId, at: Moment, seq: u64, hash: Digest) {
        if !self.knows(&id) {
            self.note_pending(id);
        }
        let answer = self.answers.entry(id).or_default();
        let done = answer.get_or_insert_with(|| Done { at, first_seq: seq, hashes: Vec::new() });
        done.hashes.push(hash);
    }
}
