//! The plan of a seed.

use kaibiao_protocol::project::{BackupPolicy, StartMode};

use super::{
    Deed, Doubled, EXTENSIONS_MINUTES, File, Manner, Meddling, Plan, Profile, ProjectPlan, Running, Trouble,
    What, Who,
};
use crate::world::{
    draw::Draw,
    fault::{CrashKind, Fault},
    schedule::Instant,
    stock::{Make, PROJECTS, SUPPLIERS, VERSIONS, project_id},
};

/// The plan of a seed.
pub(super) fn plan(seed: u64, profile: Profile) -> Plan {
    let draw = Draw::new(seed).named("plan").named(profile.name());
    let mut drawing = Drawing { draw, profile, projects: Vec::new(), deeds: Vec::new() };
    drawing.projects();
    for project in 0..drawing.projects.len() {
        drawing.project(project);
    }
    drawing.faults();
    drawing.bad_disk();
    let Drawing { projects, mut deeds, .. } = drawing;
    deeds.sort_by_key(|deed| deed.at);
    for (no, deed) in (0..).zip(&mut deeds) {
        deed.no = no;
    }
    let mut draw = Draw::new(seed).named("deadline on a final");
    let deadline_on_a_final = profile == Profile::Deadline && draw.per_mille(100);
    Plan { seed, profile, deadline_on_a_final, projects, deeds }
}

struct Drawing {
    draw: Draw,
    profile: Profile,
    projects: Vec<ProjectPlan>,
    deeds: Vec<Deed>,
}

/// Milliseconds around a project's deadline.
type Ms = i64;

impl Drawing {
    fn deed(&mut self, project: usize, from_deadline: Ms, what: What) {
        let deadline = i64::try_from(self.projects[project].deadline.0).unwrap_or(i64::MAX);
        let at = deadline.saturating_add(from_deadline.saturating_mul(1_000)).max(MOMENT_ONE);
        let at = Instant(u64::try_from(at).unwrap_or_default());
        self.deeds.push(Deed { no: 0, at, project, what });
    }

    fn projects(&mut self) {
        let mut draw = self.draw.named("projects");
        let count = match self.profile {
            Profile::Life => draw.between(2, PROJECTS as u64),
            Profile::Deadline | Profile::Opening | Profile::Crash => 1,
        };
        for number in 0..count {
            let deadline_s = match self.profile {
                Profile::Deadline => draw.between(15, 30),
                Profile::Opening | Profile::Crash => draw.between(40, 60),
                // Far enough apart that a project falls asleep in between.
                Profile::Life => 60 + number * draw.between(30, 1_200),
            };
            let start = if draw.per_mille(300) { StartMode::OnAgentStart } else { StartMode::AtDeadline };
            let backup = match draw.between(0, 9) {
                0 => BackupPolicy::Never,
                1..=3 => BackupPolicy::PlatformFaultOnly,
                _ => BackupPolicy::AnyFault,
            };
            self.projects.push(ProjectPlan {
                deadline: Instant::default().plus_ms(deadline_s * 1_000 + draw.between(0, 999)),
                start,
                window_minutes: minutes(&mut draw, 2, 10),
                grace_minutes: minutes(&mut draw, 1, 5),
                confirm_minutes: minutes(&mut draw, 1, 5),
                backup,
            });
        }
    }

    fn project(&mut self, project: usize) {
        let number = project as u64;
        let suppliers = match self.profile {
            Profile::Opening => SUPPLIERS,
            Profile::Deadline => SUPPLIERS,
            Profile::Life => between(&mut self.draw.named("suppliers").of(number), 2, 6),
            Profile::Crash => between(&mut self.draw.named("suppliers").of(number), 3, 6),
        };
        for supplier in 0..suppliers {
            let mut draw = self.draw.named("supplier").of(number).of(supplier as u64);
            self.hands_in(&mut draw, project, supplier);
            self.unseals(&mut draw, project, supplier);
            self.presence(&mut draw, project, supplier);
        }
        self.agent(project);
    }

    /// What a supplier does until the deadline.
    fn hands_in(&mut self, draw: &mut Draw, project: usize, supplier: usize) {
        let early: Ms = match self.profile {
            Profile::Deadline => -(between(draw, 1, 1_000) as Ms),
            Profile::Opening | Profile::Crash => -(between(draw, 3_000, 38_000) as Ms),
            Profile::Life => -(between(draw, 500, 50_000) as Ms),
        };
        self.deed(
            project,
            early - between(draw, 200, 12_000) as Ms,
            What::Joins { who: Who::Supplier(supplier) },
        );
        let crowd = self.profile == Profile::Deadline;
        let file = match draw.between(0, 99) {
            0..=2 => File::Damaged,
            3 => File::Short,
            4..=6 => File::OfSupplier((supplier + 1) % SUPPLIERS),
            7 => File::OfProject((project + 1) % PROJECTS),
            8 => File::Own(Make::StrangeCertificate),
            9..=10 if !crowd => File::Own(Make::NeverWhole),
            11..=12 if !crowd => File::Own(Make::OtherInside),
            _ => File::Own(Make::Version(between(draw, 0, VERSIONS - 1))),
        };
        let late = if crowd && draw.per_mille(150) { between(draw, 0, 1_200) as Ms } else { 0 };
        self.upload(draw, project, supplier, early + late, file);
        // Whoever cheats often hands in something right besides.
        let cheats = !matches!(file, File::Own(Make::Version(_)));
        if cheats && draw.per_mille(700) || draw.per_mille(250) {
            let version = File::Own(Make::Version(between(draw, 0, VERSIONS - 1)));
            let again = if crowd {
                early + between(draw, 0, 900) as Ms
            } else {
                early / 2 + between(draw, 0, 900) as Ms
            };
            self.upload(draw, project, supplier, again, version);
        }
        if draw.per_mille(80) {
            let at = if draw.per_mille(500) { early / 3 } else { between(draw, 0, 4_000) as Ms - 2_000 };
            self.deed(project, at, What::Withdraws { supplier });
        }
        if draw.per_mille(30) {
            // After the deadline: a signed refusal.
            let version = File::Own(Make::Version(0));
            let at = 1_500 + between(draw, 0, 30_000) as Ms;
            self.upload(draw, project, supplier, at, version);
        }
    }

    fn upload(&mut self, draw: &mut Draw, project: usize, supplier: usize, at: Ms, file: File) {
        let pieces = if draw.per_mille(600) { 1 } else { between(draw, 2, 4) as u32 };
        let pause_ms = draw.between(0, if self.profile == Profile::Deadline { 200 } else { 1_500 });
        let doubled = match draw.between(0, 9) {
            0 => Doubled::LastPiece,
            1 => Doubled::Whole,
            _ => Doubled::No,
        };
        self.deed(project, at, What::HandsIn { supplier, file, pieces, pause_ms, doubled });
    }

    /// What a supplier will do when it is asked for its keys.
    fn unseals(&mut self, draw: &mut Draw, project: usize, supplier: usize) {
        let window_ms = u64::from(self.projects[project].window_minutes) * 60_000;
        let odd = if self.profile == Profile::Opening { 45 } else { 20 };
        let manner = if draw.between(0, 99) >= odd {
            Manner::Honest
        } else {
            *draw.one_of(&[
                Manner::Never,
                Manner::Early,
                Manner::WrongFirst,
                Manner::WrongOnly,
                Manner::KeysOfAnother,
                Manner::Twice,
                Manner::OtherEpoch,
                Manner::WrongToken,
                Manner::BackupUnasked,
                Manner::OthersBid,
            ])
        };
        let after_ms = match draw.between(0, 9) {
            // At the window's last moment, and after it.
            0 => window_ms - draw.between(0, 400),
            1 => window_ms + draw.between(0, 2_000),
            2..=4 => draw.between(1_000, window_ms),
            _ => draw.between(50, 5_000),
        };
        self.deed(project, -100_000, What::Unseals { supplier, after_ms, manner });
        if draw.per_mille(150) {
            let at = between(draw, 500, 40_000) as Ms;
            self.deed(project, at, What::Objects { supplier });
        }
    }

    /// Coming, going and looking on of a supplier.
    fn presence(&mut self, draw: &mut Draw, project: usize, supplier: usize) {
        let who = Who::Supplier(supplier);
        if draw.per_mille(500) {
            let at = between(draw, 0, 20_000) as Ms - 14_000;
            self.deed(project, at, What::ChecksIn { who });
        }
        if draw.per_mille(250) {
            let at = between(draw, 0, 40_000) as Ms - 10_000;
            let for_ms = if draw.per_mille(200) { 3_600_000 } else { draw.between(100, 60_000) };
            self.deed(project, at, What::LosesLine { who, for_ms });
        }
        if draw.per_mille(120) {
            let at = between(draw, 0, 20_000) as Ms - 5_000;
            let for_ms = draw.between(1_000, 120_000);
            self.deed(project, at, What::ReadsSlowly { who, for_ms });
        }
        if draw.per_mille(80) {
            let with = *draw.one_of(&[
                Meddling::Start,
                Meddling::Extend,
                Meddling::Close,
                Meddling::End,
                Meddling::Record,
                Meddling::Contacts,
                Meddling::OthersBid,
            ]);
            let at = between(draw, 0, 30_000) as Ms - 15_000;
            self.deed(project, at, What::Meddles { who, with });
        }
        if draw.per_mille(300) {
            let at = between(draw, 0, 30_000) as Ms - 20_000;
            self.deed(project, at, What::Looks { who });
        }
    }

    fn agent(&mut self, project: usize) {
        let mut draw = self.draw.named("agent").of(project as u64);
        for who in [Who::Agent, Who::Supervisor] {
            self.deed(project, -100_000, What::Joins { who });
        }
        let manner = match draw.between(0, 9) {
            0..=1 => Running::Sparing,
            2..=4 => Running::Hurried,
            _ => Running::Dutiful,
        };
        self.deed(project, -100_000, What::AgentRuns { manner });
        if self.projects[project].start == StartMode::OnAgentStart {
            // Pressed before the deadline as well, and twice: only one of them counts.
            let at = between(&mut draw, 0, 20_000) as Ms - 2_000;
            let twice = draw.per_mille(500);
            self.deed(project, at, What::AgentStarts { twice });
        }
        let mut left = EXTENSIONS_MINUTES;
        while draw.per_mille(300) && left > 1 {
            let minutes = (draw.between(1, 5) as u32).min(left / 2);
            let twice = draw.per_mille(300);
            left -= minutes * if twice { 2 } else { 1 };
            let at = between(&mut draw, 500, 90_000) as Ms;
            self.deed(project, at, What::AgentExtends { minutes, twice });
        }
        if draw.per_mille(200) {
            let at = between(&mut draw, 500, 120_000) as Ms;
            self.deed(project, at, What::AgentCloses);
        }
        if draw.per_mille(150) {
            let (at, supplier) =
                (between(&mut draw, 500, 20_000) as Ms, between(&mut draw, 0, SUPPLIERS - 1));
            self.deed(project, at, What::AgentAdmits { supplier });
        }
        if draw.per_mille(200) {
            let at = between(&mut draw, 0, 30_000) as Ms - 15_000;
            let who = *draw.one_of(&[Who::Agent, Who::Supervisor]);
            let with =
                *draw.one_of(&[Meddling::Record, Meddling::OwnStream, Meddling::Contacts, Meddling::End]);
            self.deed(project, at, What::Meddles { who, with });
        }
        for who in [Who::Agent, Who::Supervisor] {
            if draw.per_mille(400) {
                let at = between(&mut draw, 0, 30_000) as Ms - 20_000;
                self.deed(project, at, What::Looks { who });
            }
            if draw.per_mille(150) {
                let at = between(&mut draw, 0, 30_000) as Ms - 5_000;
                let for_ms = draw.between(100, 30_000);
                self.deed(project, at, What::LosesLine { who, for_ms });
            }
            if draw.per_mille(100) {
                let at = between(&mut draw, 0, 10_000) as Ms - 2_000;
                let for_ms = draw.between(1_000, 120_000);
                self.deed(project, at, What::ReadsSlowly { who, for_ms });
            }
        }
    }

    /// What befalls the platform.
    fn faults(&mut self) {
        let mut draw = self.draw.named("faults");
        let count = match self.profile {
            Profile::Deadline => draw.between(1, 4),
            Profile::Opening => draw.between(0, 4),
            Profile::Life => draw.between(1, 6),
            Profile::Crash => draw.between(2, 5),
        };
        for number in 0..count {
            let mut draw = draw.of(number);
            let project = between(&mut draw, 0, self.projects.len() - 1);
            let window_ms = i64::from(self.projects[project].window_minutes) * 60_000;
            let at: Ms = match self.profile {
                Profile::Deadline => between(&mut draw, 0, 4_000) as Ms - 2_500,
                Profile::Opening => match draw.between(0, 9) {
                    0 => window_ms - between(&mut draw, 0, 10_000) as Ms,
                    _ => between(&mut draw, 0, 20_000) as Ms,
                },
                Profile::Life => between(&mut draw, 0, 200_000) as Ms - 60_000,
                Profile::Crash => between(&mut draw, 0, 60_000) as Ms - 40_000,
            };
            let trouble = self.trouble(&mut draw, project);
            self.deed(project, at, What::Befalls { trouble });
        }
    }

    /// Seldom, at the end of a world of crashes: a bad disk.
    fn bad_disk(&mut self) {
        let mut draw = self.draw.named("bad disk");
        if self.profile == Profile::Crash && draw.per_mille(60) {
            let at = between(&mut draw, 2_000, 60_000) as Ms;
            let trouble = Trouble::Platform(Fault::JournalLost { down_ms: down_ms(&mut draw) });
            self.deed(0, at, What::Befalls { trouble });
        }
    }

    fn trouble(&self, draw: &mut Draw, project: usize) -> Trouble {
        let id = || project_id(project);
        let who = |draw: &mut Draw| match draw.between(0, SUPPLIERS as u64 + 1) {
            0 => Who::Agent,
            1 => Who::Supervisor,
            supplier => Who::Supplier(supplier as usize - 2),
        };
        let kinds: &[u8] = match self.profile {
            Profile::Deadline => &[0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 11, 11, 17, 18],
            Profile::Opening => &[0, 0, 7, 8, 9, 10, 11, 12, 12, 14, 5],
            Profile::Life => &[0, 1, 2, 7, 13, 13, 15, 14, 16, 16, 12],
            Profile::Crash => &[0, 1, 18, 18, 18, 17, 19, 6, 7, 11],
        };
        let kind = *draw.one_of(kinds);
        let fault = match kind {
            0 => Fault::Crash { kind: CrashKind::Killed, down_ms: down_ms(draw) },
            1 => Fault::Crash { kind: CrashKind::PowerCut, down_ms: down_ms(draw) },
            2 => {
                let step = draw.between(1, 30_000) as i64;
                Fault::WallClock { step_ms: if draw.per_mille(500) { step } else { -step } }
            }
            3 => Fault::ClockSlew { ahead_ms: draw.between(1, 3_000) },
            4 => Fault::ProjectBusy { project: id(), for_ms: draw.between(50, 2_000) },
            5 => Fault::JournalBusy { for_ms: draw.between(50, 2_000) },
            6 => Fault::SlowDisk { sync_ms: draw.between(20, 800), for_ms: draw.between(500, 10_000) },
            7 => return Trouble::Cut { who: who(draw) },
            8 => Fault::CutAll,
            9 => Fault::StoreTrouble { for_ms: draw.between(100, 20_000) },
            10 => {
                return Trouble::BitFlip { supplier: between(draw, 0, SUPPLIERS - 1), at: draw.bits() >> 16 };
            }
            11 => {
                Fault::SlowWork { times: draw.between(10, 2_000) as u32, for_ms: draw.between(500, 60_000) }
            }
            12 => Fault::OpeningDies { project: id() },
            13 => Fault::LetGo { project: id() },
            14 => Fault::RoomDies { project: id() },
            15 => Fault::ProjectDies { project: id() },
            16 => return Trouble::Revoked { who: who(draw) },
            17 => Fault::DiskFull { for_ms: draw.between(100, 20_000) },
            18 => Fault::CrashAtStep {
                step: draw.between(1, 60) as u32,
                after: draw.per_mille(500),
                kind: if draw.per_mille(500) { CrashKind::PowerCut } else { CrashKind::Killed },
                down_ms: down_ms(draw),
            },
            _ => Fault::SyncFails { nth: draw.between(1, 12) as u32 },
        };
        Trouble::Platform(fault)
    }
}

fn down_ms(draw: &mut Draw) -> u64 {
    if draw.per_mille(100) { draw.between(60_000, 900_000) } else { draw.between(200, 20_000) }
}

fn between(draw: &mut Draw, from: usize, to: usize) -> usize {
    draw.between(from as u64, to as u64) as usize
}

fn minutes(draw: &mut Draw, from: u64, to: u64) -> u32 {
    draw.between(from, to) as u32
}

/// Nothing is done earlier: the server starts first.
const MOMENT_ONE: i64 = 1_000_000;
