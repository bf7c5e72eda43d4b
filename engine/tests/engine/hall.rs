//! A small machine and a shell with a journal in memory, to try the keeper on.

use kaibiao_engine::{
    keeper::{
        Ask, AskNo, Batch, Done, Input, Keeper, Machine, NewRecord, Output, SideSpace, SideWrite, Subject,
    },
    refusals::refuse,
    rules::RulePack,
};
use kaibiao_protocol::{
    digest::Digest,
    ids::CommandId,
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    role::{Asker, Reactor},
};

use crate::world::platform;

/// A hall with two seats a row; taking several at once is one command. Row 0 is the open air, where
/// nobody need be seated, and row 1000 and so many only asks about a row.
pub(crate) struct Hall;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seats {
    /// In the order they were taken.
    pub(crate) taken: Vec<u16>,
}

pub(crate) const SEATS: usize = 2;

impl Machine for Hall {
    type State = Seats;
    /// The rows in which a seat is wanted.
    type Command = Vec<u16>;
    type Event = u16;

    fn decide(state: &Seats, command: &Vec<u16>, _: &Asker, _: Moment) -> Result<Vec<u16>, Refusal> {
        let wanted: Vec<u16> = command.iter().copied().filter(|row| (1..1_000).contains(row)).collect();
        let count = |rows: &[u16], row| rows.iter().filter(|taken| **taken == row).count();
        if wanted.iter().any(|row| count(&state.taken, *row) + count(&wanted, *row) > SEATS) {
            return Err(refuse(RefusalCode::NotInvited, RulePack::Gp1));
        }
        Ok(wanted)
    }

    fn apply(state: &mut Seats, event: &u16, _: Moment) {
        state.taken.push(*event);
    }

    fn wake_at(state: &Seats) -> Option<Moment> {
        Some(Moment(i64::try_from(state.taken.len()).unwrap()))
    }

    fn about(command: &Vec<u16>) -> Option<Subject> {
        command.first().and_then(|row| row.checked_sub(1_000)).map(subject)
    }

    fn settles(event: &u16) -> Option<Subject> {
        Some(subject(*event))
    }
}

pub(crate) fn subject(row: u16) -> Subject {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&row.to_be_bytes());
    bytes
}

/// A shell with a journal in memory.
pub(crate) struct Shell<M: Machine> {
    pub(crate) keeper: Keeper<M>,
    pub(crate) out: Vec<Output<M>>,
    pub(crate) asks: u64,
    pub(crate) journal: Vec<NewRecord<M::Event>>,
    pub(crate) in_flight: Option<Batch<M>>,
    pub(crate) answers: Vec<(u64, Result<Done, Refusal>)>,
    pub(crate) published: Vec<u64>,
    pub(crate) stopped: bool,
}

impl<M: Machine> Shell<M> {
    pub(crate) fn new() -> Self {
        Shell {
            keeper: Keeper::new(),
            out: Vec::new(),
            asks: 0,
            journal: Vec::new(),
            in_flight: None,
            answers: Vec::new(),
            published: Vec::new(),
            stopped: false,
        }
    }

    pub(crate) fn ask_as(&mut self, id: Option<u8>, command: M::Command, side: Vec<SideWrite>) -> u64 {
        self.asks += 1;
        let no = AskNo(self.asks);
        let command_id = id.map(|id| CommandId([id; 16]));
        let at = Moment(i64::try_from(self.asks).unwrap());
        let asker = platform(Reactor::Console);
        self.take(Input::Ask(Ask { no, command_id, asker, at, command, side }));
        self.asks
    }

    pub(crate) fn ask(&mut self, command: M::Command) -> u64 {
        self.ask_as(None, command, Vec::new())
    }

    pub(crate) fn take(&mut self, input: Input<M>) {
        self.keeper.handle(input, &mut self.out);
        for output in self.out.drain(..) {
            match output {
                Output::Append(batch) => {
                    assert!(self.in_flight.is_none(), "one append in flight");
                    assert_eq!(batch.expected_seq, self.journal.len() as u64);
                    assert!(!batch.records.is_empty());
                    self.in_flight = Some(batch);
                }
                Output::Answer { no, answer } => self.answers.push((no.0, answer)),
                Output::Publish { first_seq, records } => {
                    for (seq, record) in (first_seq..).zip(&records) {
                        assert_eq!(seq, record.seq);
                        assert_eq!(hash(seq), record.hash);
                        self.published.push(seq);
                    }
                }
                Output::Stopped => self.stopped = true,
            }
        }
    }

    /// The batch in flight becomes durable.
    pub(crate) fn sync(&mut self) -> Batch<M> {
        let batch = self.in_flight.take().expect("an append is in flight");
        self.journal.extend(batch.records.iter().cloned());
        let last_seq = self.journal.len() as u64;
        let first = batch.expected_seq + 1;
        self.take(Input::Appended { last_seq, hashes: (first..=last_seq).map(hash).collect() });
        batch
    }

    pub(crate) fn sync_all(&mut self) {
        while self.in_flight.is_some() {
            self.sync();
        }
    }

    pub(crate) fn answer(&self, no: u64) -> Option<&Result<Done, Refusal>> {
        self.answers.iter().find(|(answered, _)| *answered == no).map(|(_, answer)| answer)
    }

    pub(crate) fn done(&self, no: u64) -> &Done {
        self.answer(no).expect("answered").as_ref().expect("done")
    }

    pub(crate) fn code(&self, no: u64) -> &'static str {
        self.answer(no).expect("answered").as_ref().expect_err("refused").code.as_str()
    }

    /// A keeper that knows only the journal.
    pub(crate) fn replayed(&self) -> Keeper<M> {
        let mut keeper = Keeper::new();
        for (seq, record) in (1..).zip(&self.journal) {
            keeper.replay(seq, record.at, record.event.clone(), record.command_id, hash(seq));
        }
        keeper
    }
}

pub(crate) fn hash(seq: u64) -> Digest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seq.to_be_bytes());
    Digest(bytes)
}

pub(crate) fn put(key: &str) -> SideWrite {
    SideWrite::Put { space: SideSpace::Contact, key: key.to_owned(), value: vec![1].into() }
}
