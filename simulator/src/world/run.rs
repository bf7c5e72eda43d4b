//! A plan played: the loop around the kernel, with people on one side and the oracle on the other.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::{self, AssertUnwindSafe},
};

use kaibiao_engine::invariants::Broken;
use kaibiao_protocol::frame::{Answer, Notice, Response};

use super::{
    draw::Draw,
    fault::Fault,
    kernel::{Kernel, Setup, Step},
    oracle::Oracle,
    people::{ERRANDS_FROM, Errand, Hands, Person, number_of},
    plan::{Deed, Plan, Profile, Trouble, What, Who},
    schedule::Instant,
    stock::SUPPLIERS,
    story::{Line, deed_words, name, notice_words, verdict_words},
    wire::{ConnId, ToClient},
};

/// How a world ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What broke, and when; none: everything held.
    pub broken: Option<Found>,
    /// The digest of everything sent and stored.
    pub digest: u64,
    /// How long the world went on.
    pub until: Instant,
    /// What was done and what befell, by kind.
    pub counts: BTreeMap<&'static str, u64>,
}

/// A broken invariant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Which, and what was seen.
    pub broken: Broken,
    /// When.
    pub at: Instant,
}

/// Plays a plan to its end, or until an invariant is broken.
///
/// A panic is a broken invariant too: its own.
pub fn run(plan: &Plan) -> Outcome {
    play(&exact(plan), None).0
}

/// The plan with the deadline that it means: where that is the instant of a final, it is played once to see which.
pub(crate) fn exact(plan: &Plan) -> Plan {
    let mut exact = Plan { deadline_on_a_final: false, ..plan.clone() };
    if plan.deadline_on_a_final && !plan.moves_clocks() {
        let mut play = Play::new(plan, None);
        let _ = panic::catch_unwind(AssertUnwindSafe(|| play.goes_on()));
        if let Some(stamp) = play.oracle.last_received(0) {
            exact.projects[0].deadline = Kernel::instant_of(stamp);
        }
    }
    exact
}

/// The same, and tells what was done and heard.
pub(crate) fn run_told(plan: &Plan) -> (Outcome, Vec<Line>) {
    play(&exact(plan), Some(Vec::new()))
}

fn play(plan: &Plan, telling: Option<Vec<Line>>) -> (Outcome, Vec<Line>) {
    let mut play = Play::new(plan, telling);
    let broken = match panic::catch_unwind(AssertUnwindSafe(|| play.goes_on())) {
        Ok(broken) => broken,
        Err(panicked) => Some(Broken { invariant: "panic", what: words_of(&*panicked) }),
    };
    let at = play.kernel.now();
    let Play { kernel, mut oracle, mut counts, telling, refused_rightly, .. } = play;
    let mut digest = 0;
    let broken = broken.or_else(|| {
        let ended = panic::catch_unwind(AssertUnwindSafe(|| {
            let end = kernel.finish();
            digest = end.digest;
            *counts.entry("(crashes)").or_default() += u64::from(end.counts.crashes);
            *counts.entry("(messages to people)").or_default() += end.counts.to_people;
            if refused_rightly { None } else { oracle.settle(&end).err() }
        }));
        ended.unwrap_or_else(|panicked| Some(Broken { invariant: "panic", what: words_of(&*panicked) }))
    });
    let broken = broken.map(|broken| Found { broken, at });
    (Outcome { broken, digest, until: at, counts }, telling.unwrap_or_default())
}

fn words_of(panicked: &(dyn Any + Send)) -> String {
    let text = panicked.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panicked.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

struct Play<'p> {
    plan: &'p Plan,
    kernel: Kernel,
    oracle: Oracle,
    people: Vec<Person>,
    /// Whose connection: its place among the people.
    whose: Vec<usize>,
    errands: Vec<(usize, Errand)>,
    counts: BTreeMap<&'static str, u64>,
    /// A bad disk lost half of the journal: the server must not start from it.
    journal_lost: bool,
    /// It did not, and the world ends there.
    refused_rightly: bool,
    /// What happened, for a story.
    telling: Option<Vec<Line>>,
}

impl<'p> Play<'p> {
    fn new(plan: &'p Plan, telling: Option<Vec<Line>>) -> Self {
        let mut kernel = Kernel::new(Setup {
            seed: plan.seed,
            projects: plan.specs(),
            latency_us: LATENCY_US,
            pipe_deliveries_max: PIPE_DELIVERIES_MAX,
        });
        let seed = Draw::new(plan.seed).named("people");
        let everybody = (0..SUPPLIERS).map(Who::Supplier).chain([Who::Agent, Who::Supervisor]);
        let people = everybody.enumerate().map(|(place, who)| Person::new(who, place, &seed)).collect();
        for (place, deed) in plan.deeds.iter().enumerate() {
            kernel.wake_at(deed.at, place as u64);
        }
        let mut play = Self {
            plan,
            kernel,
            oracle: Oracle::new(plan),
            people,
            whose: Vec::new(),
            errands: Vec::new(),
            counts: BTreeMap::new(),
            journal_lost: false,
            refused_rightly: false,
            telling,
        };
        // The supervisor looks on from the beginning, so that somebody always does.
        play.person(place_of(Who::Supervisor), |person, hands| person.follows_all(plan, hands));
        play
    }

    fn tells(&mut self, project: Option<usize>, words: impl FnOnce() -> String) {
        let at = self.kernel.now();
        if let Some(telling) = &mut self.telling {
            telling.push(Line { at, project, words: words() });
        }
    }

    fn goes_on(&mut self) -> Option<Broken> {
        let ends_at = self.plan.ends_at();
        loop {
            match self.kernel.next(ends_at) {
                Some(step) => self.takes(step),
                None => return self.standstill(),
            }
            if let Some(broken) = self.oracle.broken() {
                return Some(broken);
            }
            if self.refused_rightly || self.is_done() {
                return None;
            }
        }
    }

    /// Whether the plan is played and everything came to its end.
    fn is_done(&self) -> bool {
        self.kernel.now() > self.plan.calm_at()
            && (0..self.plan.projects.len()).all(|project| self.is_over(project))
            && self.oracle.finals_open() == 0
    }

    fn is_over(&self, project: usize) -> bool {
        match self.plan.profile {
            Profile::Life => self.oracle.is_ended(project),
            Profile::Deadline | Profile::Opening | Profile::Crash => self.oracle.is_signed(project),
        }
    }

    /// Time is over: what did not come to its end?
    fn standstill(&mut self) -> Option<Broken> {
        let stuck = (0..self.plan.projects.len()).find(|project| !self.is_over(*project));
        let what = match stuck {
            Some(project) => format!(
                "project {} stands still long after the last fault: {}",
                project + 1,
                self.oracle.stands(project)
            ),
            None if self.oracle.finals_open() > 0 => {
                let open = self.oracle.finals_open();
                let what = format!("{open} finals have no verdict long after the last fault");
                return Some(Broken { invariant: "verdict", what });
            }
            None => return None,
        };
        Some(Broken { invariant: "liveness", what })
    }

    fn takes(&mut self, step: Step) {
        let now = self.kernel.now();
        match step {
            Step::Heard { conn, message } => {
                let notice = self.oracle.heard(conn, &message, now);
                self.tells_of(conn, &message, notice.as_deref());
                if self.is_current(conn) {
                    self.person_of(conn, |person, hands| person.heard(message, notice, hands));
                }
            }
            Step::Gone { conn } => {
                self.oracle.gone(conn, now);
                if self.is_current(conn) {
                    self.person_of(conn, |person, hands| person.lost_line(hands));
                }
            }
            Step::Woken { token } if token >= ERRANDS_FROM => {
                let place = usize::try_from(token - ERRANDS_FROM).expect("an errand's place");
                let (whose, errand) = self.errands[place].clone();
                self.person(whose, |person, hands| person.runs(errand, hands));
            }
            Step::Woken { token } => {
                let place = usize::try_from(token).expect("a deed's place");
                self.does(&self.plan.deeds[place]);
            }
            Step::Up { start } => {
                self.tells(None, || format!("== the server serves, start {start}"));
                if self.journal_lost {
                    self.oracle.started_without_its_journal();
                }
                self.oracle.up(now);
            }
            Step::Down => {
                self.tells(None, || "== the server is down".to_owned());
                self.oracle.down(now);
            }
            Step::NoStart { why, for_good } => {
                self.tells(None, || format!("== the server does not start: {why}"));
                self.oracle.down(now);
                if for_good && self.journal_lost {
                    self.refused_rightly = true;
                } else if for_good {
                    self.oracle.no_start(&why);
                }
            }
        }
    }

    /// For a story: every frame when it is first heard, every verdict, every refusal.
    fn tells_of(&mut self, conn: ConnId, message: &ToClient, notice: Option<&Notice>) {
        if self.telling.is_none() {
            return;
        }
        let place = self.whose.get(conn.0 as usize).copied().unwrap_or(usize::MAX);
        let who = self.people.get(place).map_or_else(|| "somebody".to_owned(), |person| name(person.who));
        match message {
            ToClient::Frame(_) => {
                let Some(notice) = notice else { return };
                let project = number_of(notice.stream.project());
                self.tells(Some(project), || notice_words(&who, notice.seq, notice.at, &notice.event));
            }
            ToClient::Answer(Response::Refused { id, refused }) => {
                self.tells(None, || format!("   {who}: ask {id} is refused: {}", refused.code.as_str()));
            }
            ToClient::Answer(Response::Ok { id, ok }) => {
                if let Answer::Done { .. } = ok {
                    self.tells(None, || format!("   {who}: ask {id} is done"));
                }
            }
            ToClient::Stands { offset, verdict, .. } => {
                let verdict = verdict.as_deref().map(verdict_words);
                self.tells(None, || match verdict {
                    Some(verdict) => format!("   {who} gets {verdict}"),
                    None => format!("   {who}: {offset} bytes are there"),
                });
            }
            ToClient::NoUpload { refusal, .. } => {
                self.tells(None, || format!("   {who}: no upload: {}", refusal.code.as_str()));
            }
        }
    }

    fn does(&mut self, deed: &Deed) {
        self.tells(Some(deed.project), || deed_words(deed));
        *self.counts.entry(deed.what.kind()).or_default() += 1;
        let who = match &deed.what {
            What::Befalls { trouble } => return self.befalls(deed, trouble),
            What::Joins { who }
            | What::ChecksIn { who }
            | What::LosesLine { who, .. }
            | What::ReadsSlowly { who, .. }
            | What::Meddles { who, .. }
            | What::Looks { who } => *who,
            What::HandsIn { supplier, .. }
            | What::Withdraws { supplier }
            | What::Unseals { supplier, .. }
            | What::Objects { supplier } => Who::Supplier(*supplier),
            What::AgentRuns { .. }
            | What::AgentStarts { .. }
            | What::AgentExtends { .. }
            | What::AgentCloses
            | What::AgentAdmits { .. } => Who::Agent,
        };
        let plan = self.plan;
        self.person(place_of(who), |person, hands| person.does(plan, deed, hands));
    }

    fn befalls(&mut self, deed: &Deed, trouble: &Trouble) {
        let fault = match trouble {
            Trouble::Platform(fault) => {
                self.journal_lost |= matches!(fault, Fault::JournalLost { .. });
                fault.clone()
            }
            Trouble::BitFlip { supplier, at } => {
                let Some(bid) = self.oracle.bid_of(deed.project, *supplier) else { return };
                Fault::BitFlip { bid, at: *at }
            }
            Trouble::Cut { who } => {
                let Some(conn) = self.people[place_of(*who)].conn() else { return };
                Fault::Cut { conn }
            }
            Trouble::Revoked { who } => {
                let Some(conn) = self.people[place_of(*who)].conn() else { return };
                self.oracle.revoked(conn, self.kernel.now());
                Fault::Revoked { conn }
            }
        };
        self.kernel.bring(fault);
    }

    fn person<R>(&mut self, place: usize, does: impl FnOnce(&mut Person, &mut Hands<'_>) -> R) -> R {
        let before = self.people[place].conn();
        let Self { people, kernel, oracle, errands, whose, .. } = self;
        let result = does(&mut people[place], &mut Hands { kernel, oracle, errands });
        if let Some(conn) = people[place].conn().filter(|conn| Some(*conn) != before) {
            let at = conn.0 as usize;
            if whose.len() <= at {
                whose.resize(at + 1, usize::MAX);
            }
            whose[at] = place;
        }
        result
    }

    fn person_of(&mut self, conn: ConnId, does: impl FnOnce(&mut Person, &mut Hands<'_>)) {
        let place = self.whose[conn.0 as usize];
        self.person(place, does);
    }

    /// Whether the connection is the one its person has now.
    fn is_current(&self, conn: ConnId) -> bool {
        let place = self.whose.get(conn.0 as usize).copied().unwrap_or(usize::MAX);
        self.people.get(place).is_some_and(|person| person.conn() == Some(conn))
    }
}

fn place_of(who: Who) -> usize {
    match who {
        Who::Supplier(number) => number,
        Who::Agent => SUPPLIERS,
        Who::Supervisor => SUPPLIERS + 1,
    }
}

/// The usual latency of a line, one way.
/// Deliveries a connection may be behind before it is cut as a slow reader.
const PIPE_DELIVERIES_MAX: usize = 6;
const LATENCY_US: u64 = 15_000;
