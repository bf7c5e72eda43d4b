//! What befalls single calls to the simulated disk.

/// A call that changes the disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DiskCall {
    /// Bytes written to a file, or its length changed.
    Write,
    /// A file or a folder synced.
    Sync,
    /// A name made, changed or removed.
    Rename,
}

/// What the call meets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Befalls {
    /// An input/output error. A write changes nothing. A sync makes nothing durable, and no later sync makes
    /// durable what this one should have (the pages count as clean): it reads as written until a crash.
    Fails,
    /// No room: nothing is changed.
    NoRoom,
    /// A write breaks off in the middle, with an error.
    Torn,
}

/// One fault to come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SimFault {
    /// Which kind of call.
    pub on: DiskCall,
    /// Only calls on names that begin so.
    pub prefix: String,
    /// How many such calls go well first.
    pub skipped: u32,
    /// What the next one meets.
    pub befalls: Befalls,
}

/// The faults to come; each is met once.
#[derive(Clone, Default)]
pub(super) struct Faults(Vec<SimFault>);

impl Faults {
    pub(super) fn plan(&mut self, fault: SimFault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What befalls this call. Every fault that waits for such calls counts it.
    pub(super) fn meet(&mut self, on: DiskCall, name: &str) -> Option<Befalls> {
        let mut met = None;
        self.0.retain_mut(|fault| {
            if fault.on != on || !name.starts_with(&fault.prefix) {
                return true;
            }
            if fault.skipped > 0 {
                fault.skipped -= 1;
                return true;
            }
            if met.is_some() {
                return true;
            }
            met = Some(fault.befalls);
            false
        });
        met
    }
}
