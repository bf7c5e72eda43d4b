//! A house on a memory journal, a folder and a clock that the test turns.

use std::{collections::BTreeMap, fs, os::unix::fs::FileExt, sync::Arc, time::Duration};

use kaibiao_actors::{
    clock::{Clock, Hands},
    files::LocalFiles,
    frame_sink::{Cut, Delivery, FrameSource, frame_channel},
    house::{House, HouseParts},
    journal::{Journal, StoredRecord, Stream, memory::MemoryJournal},
    keys::PlatformKeys,
    messages::{AskProject, FinishUpload, JoinRoom, UploadPurpose},
};
use kaibiao_engine::{
    invariants::{history_holds, kb_2},
    keeper::Done,
    project::Project,
    stored::decode_project,
};
use kaibiao_protocol::{
    blob::Blob,
    command::ProjectCommand,
    directory::{DirectoryCommand, OrganisationKind},
    event::ProjectEvent,
    frame::StreamName,
    ids::{FileId, LotNo, OrganisationId, ProjectId},
    moment::Moment,
    money::PriceKind,
    project::{BackupPolicy, LotSpec, Method, ProjectKind, ProjectSpec, StartMode},
    refusal::Refusal,
    role::{Asker, Reactor, Role},
    view::{ProjectStatus, UploadVerdict},
};
use kaibiao_sealed::digest::sha256;
use serde_json::Value;
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::suppliers::{Authority, Bid, Recipe, Supplier, seal};

/// 2026-06-01 09:00 in Beijing.
pub(crate) const MORNING: Moment = Moment(1_780_275_600_000_000);
/// A price that stands for all: no digit of it may be seen before the barrier.
pub(crate) const CANARY: &str = "88776655.43";

pub(crate) struct World {
    pub(crate) folder: Arc<TempDir>,
    pub(crate) journal: Arc<dyn Journal>,
    /// The same journal where it is the one in memory, which can be held and made to fail.
    pub(crate) memory: MemoryJournal,
    pub(crate) clock: Clock,
    pub(crate) hands: Arc<Hands>,
    pub(crate) house: House,
    pub(crate) project: ProjectId,
}

/// Fails a test that hangs, instead of hanging with it.
pub(crate) async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), work).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not come in a minute"),
    }
}

impl World {
    /// An empty house at nine o'clock.
    pub(crate) async fn new() -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap()), MemoryJournal::new(), MORNING).await
    }

    /// A house on what there is.
    pub(crate) async fn on(folder: Arc<TempDir>, memory: MemoryJournal, now: Moment) -> Self {
        Self { memory: memory.clone(), ..Self::on_journal(folder, Arc::new(memory), now).await }
    }

    /// A house on any journal.
    pub(crate) async fn on_journal(folder: Arc<TempDir>, journal: Arc<dyn Journal>, now: Moment) -> Self {
        let (clock, hands) = Clock::steppable_after(now, journal.last_moment()).unwrap();
        let keys = PlatformKeys::open(&folder.path().join("keys"), &*journal, &clock).unwrap();
        let files = LocalFiles::open(&folder.path().join("files")).unwrap();
        let house = House::start(HouseParts {
            journal: journal.clone(),
            files: Arc::new(files),
            clock: clock.clone(),
            keys: Arc::new(keys),
            threads: 2,
        })
        .await
        .unwrap();
        let project = "KX-1".parse().unwrap();
        Self { folder, journal, memory: MemoryJournal::new(), clock, hands, house, project }
    }

    /// The house after a crash at this very moment and a restart `down_ms` later. Of what was not acknowledged,
    /// so many appends are found all the same.
    pub(crate) async fn crash(self, survivors: usize, down_ms: i64) -> Self {
        let journal = self.memory.crash(survivors);
        self.house.stop().await;
        let now = self.clock.present().plus_ms(down_ms);
        let folder = self.folder.clone();
        drop(self.house);
        Self::on(folder, journal, now).await
    }

    /// The deadline of the project: an hour after it is set up.
    pub(crate) fn deadline(&self) -> Moment {
        MORNING.plus_minutes(60)
    }

    pub(crate) fn spec(&self, lots: u16) -> ProjectSpec {
        let lot = |number: u16| {
            (
                LotNo::new(number).unwrap(),
                LotSpec {
                    name: format!("标项{number}"),
                    budget: "1000000.00".parse().unwrap(),
                    price_kind: PriceKind::Total,
                    bid_security: None,
                },
            )
        };
        ProjectSpec {
            id: self.project.clone(),
            name: "教学设备采购".into(),
            region: "杭州市本级".into(),
            kind: ProjectKind::Exercise,
            method: Method::OpenTender,
            purchaser: "school".parse().unwrap(),
            organiser: "agency".parse().unwrap(),
            budget: "300000000.00".parse().unwrap(),
            deadline: self.deadline(),
            start: StartMode::AtDeadline,
            window_minutes: 30,
            failure_grace_minutes: 10,
            backup: BackupPolicy::AnyFault,
            confirm_minutes: 20,
            consortium_allowed: false,
            bid_bytes_max: None,
            invited: None,
            rule_pack: "GP/1".into(),
            lots: (1..=lots).map(lot).collect(),
        }
    }

    /// Registers organisations, people, the root and the suppliers' certificates.
    pub(crate) async fn register(&self, suppliers: &[Supplier]) {
        let root = Authority::get().ca.root().to_vec();
        let organisation = |id: &str, name: &str, kind| DirectoryCommand::AddOrganisation {
            id: id.parse().unwrap(),
            name: name.to_owned(),
            kind,
        };
        let user = |id: &str, organisation: &str, role| DirectoryCommand::AddUser {
            id: id.parse().unwrap(),
            organisation: organisation.parse().unwrap(),
            name: "某人".into(),
            roles: [role].into(),
        };
        let mut commands = vec![
            DirectoryCommand::AddRoot {
                vendor: "huixin".into(),
                fingerprint: Some(sha256(&root)),
                certificate: Blob(root),
                intermediates: Vec::new(),
            },
            organisation("school", "第一中学", OrganisationKind::Purchaser),
            organisation("agency", "公正代理", OrganisationKind::Agency),
            user("agent", "agency", Role::Agent),
        ];
        for one in suppliers {
            commands.push(organisation(one.organisation.as_str(), &one.name, OrganisationKind::Supplier));
            commands.push(user(one.user.as_str(), one.organisation.as_str(), Role::Supplier));
            commands.push(DirectoryCommand::BindCertificate {
                user: one.user.clone(),
                fingerprint: Some(sha256(&one.certificate)),
                certificate: Blob(one.certificate.clone()),
            });
        }
        for command in commands {
            self.house.ask_directory(console(), command, Vec::new()).await.unwrap();
        }
    }

    /// Publishes the project.
    pub(crate) async fn publish(&self, spec: ProjectSpec) {
        self.ask(agent(), ProjectCommand::CreateProject { spec }).await.unwrap();
    }

    pub(crate) async fn ask(&self, asker: Asker, command: ProjectCommand) -> Result<Done, Refusal> {
        self.house.ask_project(AskProject::new(self.project.clone(), asker, command)).await
    }

    /// A bid of this supplier for lots at prices.
    pub(crate) fn seal(&self, supplier: &Supplier, number: u8, prices: &[(u16, &str)]) -> Bid {
        let recipe = Recipe { project: &self.project, prices, pdf_bytes: 40_000 };
        seal(supplier, number, &recipe, self.house.keys(), self.folder.path())
    }

    /// Stores an upload's bytes, up to its last one.
    pub(crate) fn upload(&self, bytes: &[u8]) -> FileId {
        let file = self.house.files().begin(bytes.len() as u64).unwrap();
        self.house.files().write_at(&file, 0, bytes).unwrap();
        file
    }

    pub(crate) fn finish(&self, bid: &Bid, bytes: &[u8], purpose: UploadPurpose) -> FinishUpload {
        FinishUpload {
            project: self.project.clone(),
            upload: bid.upload,
            bid: bid.id,
            supplier: bid.supplier.organisation.clone(),
            purpose,
            file: self.upload(bytes),
            size_bytes: bytes.len() as u64,
            contact: Zeroizing::new(br#"{"name":"CONTACT-CANARY"}"#.to_vec()),
            arrived: None,
            stamped: None,
        }
    }

    /// Hands a bid in.
    pub(crate) async fn hand_in(&self, bid: &Bid) -> UploadVerdict {
        let upload = self.finish(bid, &bid.bytes, UploadPurpose::Bid);
        in_time("the verdict on an upload", self.house.finish_upload(upload)).await
    }

    pub(crate) async fn state(&self) -> Arc<Project> {
        self.house.project(&self.project).await.unwrap()
    }

    pub(crate) async fn status(&self) -> ProjectStatus {
        self.state().await.status().unwrap()
    }

    pub(crate) fn until(&self, at: Moment) {
        self.hands.pass_until(&self.clock, at);
    }

    /// Waits until the committed state is as wanted.
    pub(crate) async fn becomes(&self, what: &str, wanted: impl Fn(&Project) -> bool) -> Arc<Project> {
        in_time(what, async {
            loop {
                let state = self.state().await;
                if wanted(&state) {
                    return state;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
    }

    /// Watches the room, or a supplier's own stream.
    pub(crate) async fn watch(&self, asker: &Asker, own: bool, since: u64) -> Watcher {
        self.watch_with(asker, own, since, 10_000).await
    }

    pub(crate) async fn watch_with(
        &self,
        asker: &Asker,
        own: bool,
        since: u64,
        deliveries_max: usize,
    ) -> Watcher {
        let (sink, source) = frame_channel(deliveries_max);
        let stream =
            if own { StreamName::Own(self.project.clone()) } else { StreamName::Room(self.project.clone()) };
        let join = JoinRoom { asker: asker.clone(), stream, since, sink };
        let joined = self.house.join_room(join).await.unwrap();
        Watcher { source, queued: Vec::new(), seen: Vec::new(), joined, since }
    }

    /// Every record of the project's stream.
    pub(crate) fn records(&self) -> Vec<StoredRecord> {
        self.journal.read(&Stream::Project(self.project.clone()), 0, 10_000).unwrap()
    }

    pub(crate) fn kinds(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for record in self.records() {
            *kinds.entry(record.kind).or_default() += 1;
        }
        kinds
    }

    /// The project's history, from the journal.
    pub(crate) fn history(&self) -> Vec<(Moment, ProjectEvent)> {
        let decode = |record: StoredRecord| {
            let event = decode_project(&record.kind, record.version, &record.payload).unwrap();
            (record.at, event)
        };
        self.records().into_iter().map(decode).collect()
    }

    /// Holds the journal and the live state against the house's invariants.
    pub(crate) async fn holds(&self) {
        let history = self.history();
        history_holds(&history).unwrap();
        kb_2(&*self.state().await, &history).unwrap();
    }

    /// Flips one bit of a stored file, where it lies.
    pub(crate) fn flip_bit(&self, file: &FileId, at: usize) {
        let stored = self.house.files().open(file).unwrap();
        let mut bytes = vec![0; usize::try_from(stored.bytes()).unwrap()];
        stored.read_exact_at(&mut bytes, 0).unwrap();
        // A small file lies in a segment, after others.
        let segments = fs::read_dir(self.folder.path().join("files/segments")).unwrap();
        let (path, begins) = segments
            .map(|entry| entry.unwrap().path())
            .find_map(|path| {
                let text = fs::read(&path).unwrap();
                text.windows(bytes.len()).position(|window| window == bytes).map(|begins| (path, begins))
            })
            .unwrap();
        let disk = fs::OpenOptions::new().write(true).open(path).unwrap();
        disk.write_all_at(&[bytes[at] ^ 1], (begins + at) as u64).unwrap();
    }
}

pub(crate) fn console() -> Asker {
    Asker::Platform { reactor: Reactor::Console }
}

pub(crate) fn agent() -> Asker {
    person("agent", "agency", Role::Agent)
}

pub(crate) fn supervisor() -> Asker {
    person("super", "bureau", Role::Supervisor)
}

pub(crate) fn person(user: &str, organisation: &str, role: Role) -> Asker {
    let organisation: OrganisationId = organisation.parse().unwrap();
    Asker::Person { user: user.parse().unwrap(), organisation, role }
}

/// A connection that follows one stream and checks its numbering.
pub(crate) struct Watcher {
    source: FrameSource,
    queued: Vec<String>,
    /// Every frame so far.
    pub(crate) seen: Vec<Value>,
    /// The stream's last `seq` when it joined.
    pub(crate) joined: u64,
    since: u64,
}

impl Watcher {
    /// The next frame, or why the connection was cut.
    pub(crate) async fn next(&mut self) -> Result<Value, Cut> {
        if self.queued.is_empty() {
            self.queued = match in_time("a frame", self.source.next()).await? {
                Delivery::Frame(frame) => vec![frame.to_string()],
                Delivery::Backlog(frames) => frames.into_iter().map(|frame| frame.to_string()).collect(),
            };
        }
        let frame: Value = serde_json::from_str(&self.queued.remove(0)).unwrap();
        let expected = self.since + self.seen.len() as u64 + 1;
        assert_eq!(frame["seq"], expected, "no gap and nothing twice: {frame}");
        self.seen.push(frame.clone());
        Ok(frame)
    }

    /// The next event of this name.
    pub(crate) async fn event(&mut self, name: &str) -> Value {
        loop {
            let frame =
                self.next().await.unwrap_or_else(|cut| panic!("cut ({cut:?}) while waiting for {name}"));
            if frame["event"]["event"] == name {
                return frame["event"].clone();
            }
        }
    }

    /// The last `seq` had.
    pub(crate) fn had(&self) -> u64 {
        self.since + self.seen.len() as u64
    }
}
