//! A plan played: the loop around the kernel, with people on one side and the oracle on the other.

use std::collections::BTreeMap;

use kaibiao_engine::invariants::Broken;

use super::{
    draw::Draw,
    fault::Fault,
    kernel::{Kernel, Setup, Step},
    oracle::Oracle,
    people::{ERRANDS_FROM, Errand, Hands, Person},
    plan::{Deed, Plan, Profile, Trouble, What, Who},
    schedule::Instant,
    stock::SUPPLIERS,
    wire::ConnId,
};

/// How a world ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What broke, and when; none: everything held.
    pub broken: Option<Found>,
    /// The digest of everything sent and stored.
    pub digest: [u8; 32],
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
pub fn run(plan: &Plan) -> Outcome {
    let mut play = Play::new(plan);
    let broken = play.goes_on();
    let at = play.kernel.now();
    let Play { kernel, mut oracle, counts, .. } = play;
    let end = kernel.finish();
    let broken = broken.or_else(|| oracle.settle(&end).err());
    Outcome { broken: broken.map(|broken| Found { broken, at }), digest: end.digest, until: at, counts }
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
}

impl<'p> Play<'p> {
    fn new(plan: &'p Plan) -> Self {
        let mut kernel =
            Kernel::new(Setup { seed: plan.seed, projects: plan.specs(), latency_us: LATENCY_US });
        let seed = Draw::new(plan.seed).named("people");
        let everybody = (0..SUPPLIERS).map(Who::Supplier).chain([Who::Agent, Who::Supervisor]);
        let people = everybody.enumerate().map(|(place, who)| Person::new(who, place, &seed)).collect();
        for (place, deed) in plan.deeds.iter().enumerate() {
            kernel.wake_at(deed.at, place as u64);
        }
        Self {
            plan,
            kernel,
            oracle: Oracle::new(plan),
            people,
            whose: Vec::new(),
            errands: Vec::new(),
            counts: BTreeMap::new(),
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
            if self.is_done() {
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
                format!("{} finals have no verdict long after the last fault", self.oracle.finals_open())
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
            Step::Up { .. } => self.oracle.up(now),
            Step::Down => self.oracle.down(now),
            Step::NoStart { why, for_good } => {
                self.oracle.down(now);
                if for_good {
                    self.oracle.no_start(&why);
                }
            }
        }
    }

    fn does(&mut self, deed: &Deed) {
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
            Trouble::Platform(fault) => fault.clone(),
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
const LATENCY_US: u64 = 15_000;
