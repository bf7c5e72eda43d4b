//! Which finals are on their way, so that the same one sent again meets itself.
//!
//! A final sent twice is judged once: the verdict of the one on its way serves both. One whose judging found that
//! nothing can be decided in this process stays here with its stamp and its ticket, and whoever sends it again takes
//! *that* one up: a stamp is never taken anew.

use std::collections::BTreeMap;

use kaibiao_protocol::ids::{OrganisationId, ProjectId, UploadId};

use super::{judging::Final, tickets::TicketNo};

/// What a final is known by.
pub type FinalName = (ProjectId, OrganisationId, UploadId);

/// The finals on their way; `W` is by what those who wait for a verdict hear it.
pub struct Reception<W> {
    finals: BTreeMap<FinalName, Standing<W>>,
}

enum Standing<W> {
    Running(W),
    Left(LeftFinal),
}

/// A final without a verdict that nobody works on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftFinal {
    /// The final with its stamp.
    pub one: Final,
    /// Whether stamp and bytes are durable.
    pub staged: bool,
    /// Its ticket, which is still open.
    pub ticket: TicketNo,
}

/// Whom a final that came in meets.
pub enum Met<'a, W> {
    /// The same final on its way: wait with those who wait.
    Running(&'a mut W),
    /// The same final, left without a verdict. It is on its way from now on.
    Left(LeftFinal),
    /// Nobody. It is on its way from now on; a stamp must be taken.
    Nobody,
}

impl<W> Default for Reception<W> {
    fn default() -> Self {
        Self { finals: BTreeMap::new() }
    }
}

impl<W> Reception<W> {
    /// Nothing on its way.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks whom a final meets that is handed in.
    pub fn meet(&mut self, name: &FinalName) -> Met<'_, W> {
        if let Some(Standing::Left(_)) = self.finals.get(name)
            && let Some(Standing::Left(left)) = self.finals.remove(name)
        {
            return Met::Left(left);
        }
        match self.finals.get_mut(name) {
            Some(Standing::Running(waiting)) => Met::Running(waiting),
            Some(Standing::Left(_)) | None => Met::Nobody,
        }
    }

    /// A final is on its way.
    pub fn begin(&mut self, name: FinalName, waiting: W) {
        self.finals.insert(name, Standing::Running(waiting));
    }

    /// A final has its verdict, and the committed project holds it: a repeat from now on meets it there.
    pub fn end(&mut self, name: &FinalName) -> Option<W> {
        match self.finals.remove(name) {
            Some(Standing::Running(waiting)) => Some(waiting),
            Some(Standing::Left(_)) | None => None,
        }
    }

    /// No verdict can be had now: the final stays, with its stamp and its open ticket.
    pub fn leave(&mut self, left: LeftFinal) -> Option<W> {
        match self.finals.insert(left.one.name(), Standing::Left(left)) {
            Some(Standing::Running(waiting)) => Some(waiting),
            Some(Standing::Left(_)) | None => None,
        }
    }

    /// How many are on their way or left.
    pub fn len(&self) -> usize {
        self.finals.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.finals.is_empty()
    }
}
