//! The start of the process, in the production order: the journal's check, the clock after the journal's last stamp,
//! uploads, the directory and the heads, staged finals with their old stamps, and only then the wakes.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    sync::{Arc, LazyLock},
};

use kaibiao_actors::{
    clock::Clock,
    files::Files,
    journal::{
        Append, JournalFault, RawRecord, Stream,
        simulated::{SimDisk, SimFiles, SimJournal},
    },
    sign_in::trust_of,
};
use kaibiao_engine::{
    directory::{Directory, DirectoryMachine},
    keeper::{Keeper, Machine, SideSpace},
    project::{Project, ProjectMachine},
    reaction::{judging::Final, reception::Reception, tending::ahead_of, wakes::Wakes},
    stored::{StoredEvent, decode_directory, decode_project, encode_directory, encode_project},
};
use kaibiao_protocol::{
    command::ProjectCommand,
    event::ProjectEvent,
    ids::{FileId, UploadId},
    moment::Moment,
    project::ProjectSpec,
    role::{Asker, Reactor},
};

use kaibiao_sealed::trust::Trust;

use super::{
    Node, NodeLimits, Work,
    projects::SWEEP_US,
    store::Store,
    uploads::{Noted, Upload},
};
use crate::world::{
    draw::Draw,
    kernel::BEGINNING,
    schedule::{Instant, Schedule},
    stock::stock,
};

/// Why the server does not start.
pub(in crate::world) struct NoStart {
    pub(in crate::world) why: String,
    /// Whether nothing would change by trying again.
    pub(in crate::world) for_good: bool,
}

impl NoStart {
    fn again(why: impl std::fmt::Display) -> Self {
        Self { why: why.to_string(), for_good: false }
    }
}

impl Node {
    /// Starts on a disk, where `projects` are published first, at `now`, when the machine's wall clock shows `wall`.
    pub(in crate::world) fn start(
        disk: &SimDisk,
        projects: &[ProjectSpec],
        now: Instant,
        wall: Moment,
        draw: Draw,
        limits: NodeLimits,
    ) -> Result<Self, NoStart> {
        let (mut journal, _report) = SimJournal::open(disk).map_err(|fault| NoStart {
            for_good: !matches!(fault, JournalFault::Disk { .. }),
            why: fault.to_string(),
        })?;
        if !projects.is_empty() {
            publish(&mut journal, projects);
        }
        let last_moment = journal.last_moment();
        let stamped = staged_finals(&journal)?;
        let last_stamp = last_moment.max(stamped.iter().map(|one| one.received_at).max());
        let (clock, hands) = Clock::steppable_after(wall, last_stamp).map_err(NoStart::again)?;
        let uploads = uploads(&journal, &SimFiles::new(disk), &stamped)?;
        let (directory, trust) = directory(&journal)?;
        let mut heads = BTreeMap::new();
        for stream in journal.streams() {
            let Stream::Project(id) = &stream else { continue };
            let first = journal.read(&stream, 0, 1).map_err(NoStart::again)?;
            for record in first {
                let event =
                    decode_project(&record.kind, record.version, &record.payload).map_err(NoStart::again)?;
                if let ProjectEvent::ProjectCreated { spec, .. } = event {
                    heads.insert(id.clone(), spec);
                }
            }
        }
        let wakes = journal.wakes();
        let mut work = Schedule::default();
        work.at(now.plus_us(SWEEP_US), Work::Sweep);
        let mut node = Self {
            now,
            work,
            store: Store::new(disk.clone(), journal),
            clock,
            hands,
            directory,
            trust,
            served_before: last_moment,
            heads,
            slots: BTreeMap::new(),
            wakes: Wakes::default(),
            desks: BTreeMap::new(),
            reception: Reception::new(),
            finals: BTreeMap::new(),
            uploads,
            drains: Vec::new(),
            conns: BTreeMap::new(),
            stirred: Rc::new(RefCell::new(Vec::new())),
            out: VecDeque::new(),
            draw,
            lives: 0,
            limits,
            busy_until: BTreeMap::new(),
            slow_work: (1, Instant::default()),
        };
        // Tickets before wakes: no project is counted while an old final awaits its verdict.
        for one in stamped {
            node.resume_final(one);
        }
        for (stream, at) in wakes {
            if let Stream::Project(project) = stream {
                node.wakes.set(&project, Some(ahead_of(at)));
            }
        }
        Ok(node)
    }
}

fn staged_finals(journal: &SimJournal) -> Result<Vec<Final>, NoStart> {
    let mut found = Vec::new();
    for key in journal.side_keys(SideSpace::StagedFinal, "") {
        if let Some(row) = journal.side(SideSpace::StagedFinal, &key) {
            found.push(serde_json::from_slice(&row).map_err(NoStart::again)?);
        }
    }
    Ok(found)
}

/// What a stopped server left of uploads; staged files that nobody will go on with are deleted.
fn uploads(
    journal: &SimJournal,
    files: &SimFiles,
    stamped: &[Final],
) -> Result<BTreeMap<UploadId, Upload>, NoStart> {
    let stamped: BTreeSet<FileId> = stamped.iter().map(|one| one.file).collect();
    let mut staged: BTreeSet<FileId> = files.staged().map_err(NoStart::again)?.into_iter().collect();
    let mut uploads = BTreeMap::new();
    for key in journal.side_keys(SideSpace::Upload, "") {
        let Some(row) = journal.side(SideSpace::Upload, &key) else { continue };
        let noted: Noted = serde_json::from_slice(&row).map_err(NoStart::again)?;
        let upload: UploadId = key.parse().map_err(NoStart::again)?;
        let still_staged = staged.remove(&noted.file);
        let offset = if still_staged && !stamped.contains(&noted.file) {
            // Never more than is there: the note may be younger than a torn write.
            noted.offset.min(files.staged_bytes(&noted.file).map_err(NoStart::again)?)
        } else if still_staged || noted.offset == noted.length || files.open(&noted.file).is_ok() {
            noted.length
        } else {
            // Begun and noted, and nothing of it was ever synced: the power took it.
            files.begin_again(&noted.file, noted.length).map_err(NoStart::again)?;
            0
        };
        uploads.insert(upload, Upload::new(noted, offset));
    }
    for orphan in staged.difference(&stamped) {
        files.delete(orphan).map_err(NoStart::again)?;
    }
    Ok(uploads)
}

/// The directory as its stream says. It is entered before the world begins and changes no more, so it is folded once
/// for all starts of this process that find the same last record.
fn directory(journal: &SimJournal) -> Result<(Arc<Directory>, Arc<Trust>), NoStart> {
    let records = journal.records(&Stream::Directory);
    let primed = &*PRIMED;
    if records.len() == primed.records && records.last().map(|last| last.hash) == primed.last {
        return Ok((primed.directory.clone(), primed.trust.clone()));
    }
    let mut keeper = Keeper::<DirectoryMachine>::new();
    for record in journal.read(&Stream::Directory, 0, usize::MAX).map_err(NoStart::again)? {
        let event =
            decode_directory(&record.kind, record.version, &record.payload).map_err(NoStart::again)?;
        keeper.replay(record.seq, record.at, event, record.command_id, record.hash);
    }
    let directory = keeper.snapshot();
    let trust = Arc::new(trust_of(&directory));
    Ok((directory, trust))
}

struct Primed {
    disk: SimDisk,
    directory: Arc<Directory>,
    trust: Arc<Trust>,
    records: usize,
    last: Option<kaibiao_protocol::digest::Digest>,
}

/// A disk on which the platform's operator has entered organisations, people and certificates, the day before.
static PRIMED: LazyLock<Primed> = LazyLock::new(|| {
    let disk = SimDisk::new();
    let (mut journal, _) = SimJournal::open(&disk).expect("an empty disk is a fit place for a journal");
    let at = BEGINNING.plus_minutes(0).plus_ms(-86_400_000);
    let asker = Asker::Platform { reactor: Reactor::Console };
    let mut directory = Directory::default();
    let mut records = Vec::new();
    for command in stock().directory() {
        let events = DirectoryMachine::decide(&directory, &command, &asker, at)
            .expect("what the stock's owners are fits into a directory");
        for event in events {
            DirectoryMachine::apply(&mut directory, &event, at);
            let StoredEvent { kind, version, payload } = encode_directory(&event);
            records.push(RawRecord { kind, version, at, command_id: None, payload });
        }
    }
    let count = records.len();
    journal.append(Append {
        stream: Stream::Directory,
        expected_seq: 0,
        records,
        wake_at: None,
        side: Vec::new(),
    });
    journal.run(&mut Vec::new());
    let last = journal.records(&Stream::Directory).last().map(|record| record.hash);
    let trust = Arc::new(trust_of(&directory));
    Primed { disk, directory: Arc::new(directory), trust, records: count, last }
});

/// A disk as the world finds it at its beginning.
pub(in crate::world) fn prime() -> SimDisk {
    PRIMED.disk.copy()
}

/// Publishes projects before the world begins.
fn publish(journal: &mut SimJournal, projects: &[ProjectSpec]) {
    let at = BEGINNING.plus_ms(-1_000);
    let asker = stock().agent().asker();
    for spec in projects {
        let command = ProjectCommand::CreateProject { spec: spec.clone() };
        let mut project = Project::default();
        let events = ProjectMachine::decide(&project, &command, &asker, at)
            .unwrap_or_else(|refusal| panic!("{} cannot be set up: {}", spec.id, refusal.say.en));
        let mut records = Vec::new();
        for event in events {
            ProjectMachine::apply(&mut project, &event, at);
            let stored = encode_project(&event);
            records.push(RawRecord {
                kind: stored.kind,
                version: stored.version,
                at,
                command_id: None,
                payload: stored.payload,
            });
        }
        journal.append(Append {
            stream: Stream::Project(spec.id.clone()),
            expected_seq: 0,
            records,
            wake_at: ProjectMachine::wake_at(&project),
            side: Vec::new(),
        });
    }
    journal.run(&mut Vec::new());
}
