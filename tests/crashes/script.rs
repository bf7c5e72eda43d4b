//! An opening from the first bid to its end, played by people who try again when the server is gone.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use kaibiao_bidder::{
    backup::Backup,
    client::{ClientFault, FilePieces, Pieces, Room, Session, Upload, UploadPurpose},
    confirm::{CheckedRecord, confirm, fetch_record},
    submit::draw_upload_id,
    unseal::{Report, Stay, Unsealing},
};
use kaibiao_protocol::{
    frame::Notice,
    ids::{BidId, UploadId},
    moment::Moment,
    record::LotRecord,
    refusal::RefusalCode,
    view::{BidStatus, ProjectStatus, RoomEvent, RoomView, UploadVerdict, ViewEvent},
};
use tokio::task::JoinHandle;

use crate::{
    cast::{CONFIRM_MINUTES, Cast},
    host::{Host, Turn},
};

/// What the people hold at the end.
pub(crate) struct Held {
    /// Whose, under which id, which file, and what they were told at first.
    pub(crate) finals: Vec<(usize, UploadId, usize, UploadVerdict)>,
    pub(crate) withdrawn: BidId,
    pub(crate) record: CheckedRecord,
    /// What the agent heard in the room.
    pub(crate) heard: Vec<Notice>,
    /// The room as it stands at the end.
    pub(crate) room: RoomView,
}

/// Does it until it is done: refusals that tell of a disk, and answers that were lost, are tried again.
async fn again<T>(what: &str, mut work: impl AsyncFnMut() -> Result<T, ClientFault>) -> T {
    for _ in 0..200 {
        match work().await {
            Ok(done) => return done,
            Err(fault) => {
                let passes = fault.refusal().is_none_or(|refusal| may_pass(refusal.code));
                assert!(passes, "{what}: {fault:?}");
            }
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what} is not done after many tries");
}

/// How long an upload may stand still where a disk fails, before it is handed in anew.
const STUCK_AFTER: Duration = Duration::from_secs(20);

/// What a failing disk makes a server say, and what is over once it has room or is started anew.
fn may_pass(code: RefusalCode) -> bool {
    matches!(code, RefusalCode::WritingEnded | RefusalCode::NoRoom | RefusalCode::Busy)
}

/// A file whose second half waits until the gate is open.
struct Gated {
    file: FilePieces,
    gate: Arc<(Mutex<bool>, Condvar)>,
    waits: Arc<AtomicBool>,
}

impl Pieces for Gated {
    fn len(&self) -> u64 {
        self.file.len()
    }

    fn read(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        if offset > 0 {
            self.waits.store(true, Ordering::SeqCst);
            let open = self.gate.0.lock().unwrap();
            drop(self.gate.1.wait_while(open, |open| !*open).unwrap());
        }
        self.file.read(offset, length)
    }
}

struct Play<'a> {
    cast: &'a Cast,
    disk_may_fail: bool,
    finals: Vec<(usize, UploadId, usize, UploadVerdict)>,
}

/// Plays it all.
pub(crate) async fn play(cast: &Cast, host: &Host, disk_may_fail: bool) -> Held {
    let mut play = Play { cast, disk_may_fail, finals: Vec::new() };
    let url = host.url();
    let mut sessions = Vec::new();
    for no in 0..cast.suppliers.len() {
        sessions.push(cast.supplier(&url, no).await);
    }
    for (no, session) in sessions.iter().enumerate().take(3) {
        play.hand_in(session, no, 0).await;
    }
    play.hand_in(&sessions[0], 0, 1).await;
    let withdrawn = play.bid_of(1);
    play.withdraw(&sessions[1], withdrawn).await;
    play.hand_in(&sessions[1], 1, 1).await;
    let late = play.begin_late(&sessions[3]).await;
    host.turn(Turn::Until(cast.deadline)).await;
    play.end_late(late).await;

    let agent = cast.agent(&url).await;
    let agents_room = agent.room(cast.project());
    until_counted(host, &agents_room, &sessions).await;
    let mut hearing = actix_web::rt::spawn(hear(agents_room.clone()));
    let unsealing: Vec<JoinHandle<()>> = (0..3).map(|no| play.unseal(&sessions[no], no)).collect();
    for unsealed in unsealing {
        unsealed.await.unwrap();
    }
    let record = record(&sessions[0].room(cast.project())).await;
    play.confirm(&sessions[0], &record).await;
    read_out(&agents_room).await;
    host.turn(Turn::Minutes(CONFIRM_MINUTES + 1)).await;
    end(&agents_room).await;
    let heard = tokio::select! {
        heard = &mut hearing => heard.unwrap(),
        () = tokio::time::sleep(Duration::from_secs(30)) => panic!("the end is not heard of"),
    };
    play.told_again(&sessions).await;
    let room = again("the room", async || agents_room.view().await).await;
    Held { finals: play.finals, withdrawn, record, heard, room }
}

/// An outage over the deadline holds the count, so that the agent may move it. Here nobody does, and the time goes by;
/// not all at once, for the sessions are to outlive it.
async fn until_counted(host: &Host, room: &Room, sessions: &[Session]) {
    for _ in 0..4 {
        for _ in 0..40 {
            let view = again("the room", async || room.view().await).await;
            if view.status != ProjectStatus::Receiving {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        host.turn(Turn::Minutes(11)).await;
        for session in sessions {
            again("a session", async || session.projects("", 0).await).await;
        }
    }
    panic!("the bids are not counted");
}

impl Play<'_> {
    fn upload(&self, no: usize, id: UploadId, pieces: Arc<dyn Pieces>, request_bytes_max: u64) -> Upload {
        Upload {
            project: self.cast.project(),
            id,
            purpose: UploadPurpose::Bid,
            form: self.cast.suppliers[no].form.clone(),
            pieces,
            request_bytes_max,
        }
    }

    fn bid_of(&self, no: usize) -> BidId {
        let verdicts = self.finals.iter().filter(|one| one.0 == no);
        let mut received = verdicts.filter_map(|(.., verdict)| match verdict {
            UploadVerdict::Received { bid, .. } => Some(*bid),
            UploadVerdict::Restored { .. } | UploadVerdict::Refused { .. } => None,
        });
        received.next_back().unwrap()
    }

    async fn hand_in(&mut self, session: &Session, no: usize, turn: usize) {
        // A disk that fails may refuse a file; then it is handed in anew.
        let mut known = None;
        for _ in 0..20 {
            let id = known.take().unwrap_or_else(draw_upload_id);
            let pieces = Arc::new(FilePieces::open(&self.cast.suppliers[no].bids[turn]).unwrap());
            let upload = self.upload(no, id, pieces, u64::MAX);
            let uploading = again("handing in", async || session.upload(&upload, &mut |_| {}).await);
            // A file whose sync failed is told as busy until the server is started anew: whoever waits no longer
            // hands in anew, too.
            let Ok(verdict) = tokio::time::timeout(self.patience(), uploading).await else { continue };
            match &verdict {
                UploadVerdict::Received { .. } => {
                    self.finals.push((no, id, turn, verdict));
                    return;
                }
                UploadVerdict::Refused { refusal, notice: None } => {
                    let passes = may_pass(refusal.code) || refusal.code == RefusalCode::Unknown;
                    assert!(self.disk_may_fail && passes, "a bid in time is taken: {refusal:?}");
                    // Whether it was written, the next start tells: the same upload is sent again.
                    known = (refusal.code == RefusalCode::WritingEnded).then_some(id);
                }
                // The platform could not keep the bytes, whatever it tried: a signed word of it is held too.
                UploadVerdict::Refused { refusal, notice: Some(_) }
                    if self.disk_may_fail && refusal.code == RefusalCode::SealedBidDamaged =>
                {
                    self.finals.push((no, id, turn, verdict));
                }
                other => panic!("a bid in time is taken: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("a bid in time is not taken");
    }

    fn patience(&self) -> Duration {
        if self.disk_may_fail { STUCK_AFTER } else { Duration::from_secs(3_600) }
    }

    async fn withdraw(&self, session: &Session, bid: BidId) {
        let project = self.cast.project();
        let mut sent = false;
        again("withdrawing", async || {
            // After an answer that was lost one looks before asking again.
            if sent && session.project(&project).await?.own_bid.is_none() {
                return Ok(());
            }
            sent = true;
            session.withdraw(&project, bid, "报价有误").await.map(|_| ())
        })
        .await;
    }

    /// Begins an upload whose last byte will come late; half of it is there when this returns.
    async fn begin_late(&self, session: &Session) -> Late {
        loop {
            let id = draw_upload_id();
            let file = FilePieces::open(&self.cast.suppliers[3].bids[0]).unwrap();
            let half = file.len() / 2 + 1;
            let gate = Arc::new((Mutex::new(false), Condvar::new()));
            let waits = Arc::new(AtomicBool::new(false));
            let pieces = Arc::new(Gated { file, gate: gate.clone(), waits: waits.clone() });
            let upload = self.upload(3, id, pieces, half);
            let session = session.clone();
            let uploading = actix_web::rt::spawn(async move {
                again("a late upload", async || session.upload(&upload, &mut |_| {}).await).await
            });
            let began = Instant::now();
            while !waits.load(Ordering::SeqCst) && began.elapsed() < self.patience() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            if waits.load(Ordering::SeqCst) {
                return Late { id, gate, uploading };
            }
            uploading.abort();
        }
    }

    async fn end_late(&mut self, late: Late) {
        *late.gate.0.lock().unwrap() = true;
        late.gate.1.notify_all();
        // As when handing in; but nobody comes twice with what is late.
        let Ok(verdict) = tokio::time::timeout(self.patience(), late.uploading).await else { return };
        let verdict = verdict.unwrap();
        match &verdict {
            UploadVerdict::Refused { refusal, notice: Some(_) } => {
                assert_eq!(refusal.code, RefusalCode::PastDeadline);
            }
            // A failing disk took its bytes: it was told so, and is late by now.
            UploadVerdict::Refused { refusal, notice: None }
                if self.disk_may_fail && (may_pass(refusal.code) || refusal.code == RefusalCode::Unknown) =>
            {
                return;
            }
            other => panic!("a late bid is refused, signed: {other:?}"),
        }
        self.finals.push((3, late.id, 0, verdict));
    }

    /// Takes part until the record is published; the third supplier has another's token, and needs its backup.
    fn unseal(&self, session: &Session, no: usize) -> JoinHandle<()> {
        let supplier = &self.cast.suppliers[no];
        let token = if no == 2 { &self.cast.suppliers[3].token } else { &supplier.token };
        let (room, token) = (session.room(self.cast.project()), token.clone());
        let sealed = supplier.bids.last().unwrap();
        let backup = (no == 2).then(|| Arc::new(Backup::open(&sealed.with_extension("bfbs"), None).unwrap()));
        let (certificate, deadline) = (supplier.signing.fingerprint, self.cast.deadline);
        actix_web::rt::spawn(async move {
            for _ in 0..50 {
                let unsealing = Unsealing {
                    room: room.clone(),
                    header: None,
                    own_certificates: vec![certificate],
                    keys: Some(token.clone()),
                    backup: backup.clone(),
                    deadline_told: Some(deadline),
                    stay: Stay::UntilPublished,
                    report: Report::Always,
                };
                match unsealing.run(&mut |_| {}).await {
                    Ok(unsealed) => return assert!(unsealed.published),
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
            panic!("unsealing does not come to its end");
        })
    }

    async fn confirm(&self, session: &Session, record: &CheckedRecord) {
        let supplier = &self.cast.suppliers[0];
        let room = session.room(self.cast.project());
        for _ in 0..100 {
            let signer = Arc::new(supplier.token.signer(supplier.signing.clone()));
            if confirm(&room, record, signer).await.is_ok() {
                return;
            }
            // Where the answer was lost it may be done: then it is refused as done.
            let view = again("the room", async || room.view().await).await;
            if view.confirmed.iter().any(|one| one.as_str() == supplier.organisation) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the record is not confirmed");
    }

    /// Everything that was handed in is sent once more, and told the same.
    async fn told_again(&self, sessions: &[Session]) {
        for (no, id, turn, first) in &self.finals {
            let pieces = Arc::new(FilePieces::open(&self.cast.suppliers[*no].bids[*turn]).unwrap());
            let upload = self.upload(*no, *id, pieces, u64::MAX);
            let told =
                again("the verdict again", async || sessions[*no].upload(&upload, &mut |_| {}).await).await;
            assert_eq!(told, *first, "one verdict for one upload");
        }
    }
}

struct Late {
    id: UploadId,
    gate: Arc<(Mutex<bool>, Condvar)>,
    uploading: JoinHandle<UploadVerdict>,
}

/// Listens to the room until the opening has ended, and admits the backup of whoever fails.
async fn hear(room: Room) -> Vec<Notice> {
    let mut heard: Vec<Notice> = Vec::new();
    loop {
        let since = heard.last().map_or(0, |notice| notice.seq);
        let mut events = again("the room's events", async || room.events(since).await).await;
        while let Ok(notice) = events.next().await {
            let expected = heard.last().map_or(0, |notice| notice.seq) + 1;
            assert_eq!(notice.seq, expected, "no gap and nothing twice");
            let event = notice.event.clone();
            heard.push(notice);
            match event {
                ViewEvent::Room(RoomEvent::BidChanged { bid, status: BidStatus::Failed { .. }, .. }) => {
                    admit(&room, bid).await;
                }
                ViewEvent::Room(RoomEvent::OpeningEnded) => return heard,
                _ => {}
            }
        }
    }
}

async fn admit(room: &Room, bid: BidId) {
    let mut sent = false;
    again("admitting a backup", async || {
        if sent {
            let view = room.view().await?;
            let status = view.bidders.iter().find(|one| one.bid == bid).map(|one| &one.status);
            if !matches!(status, Some(BidStatus::Failed { .. })) {
                return Ok(());
            }
        }
        sent = true;
        room.admit_backup(bid, "依法启用备份标书").await.map(|_| ())
    })
    .await;
}

async fn record(room: &Room) -> CheckedRecord {
    for _ in 0..200 {
        match fetch_record(room).await {
            Ok(record) => return record,
            Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
        }
    }
    panic!("the record is not signed");
}

async fn read_out(room: &Room) {
    let view = again("the room", async || room.view().await).await;
    for (lot, record) in &view.record.unwrap().lots {
        let LotRecord::Opened { rows } = record else { continue };
        for row in rows {
            again("reading out", async || room.read_out(*lot, row.no).await).await;
        }
    }
}

async fn end(room: &Room) {
    for _ in 0..400 {
        match room.end().await {
            Ok(_) => return,
            // Not all are deemed to have confirmed yet, or the answer was lost.
            Err(_) => {
                let view = again("the room", async || room.view().await).await;
                if view.status == ProjectStatus::Ended {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        }
    }
    panic!("the opening does not end");
}

/// Leaves what a verifier reads.
pub(crate) fn leave(held: &Held, folder: &Path) -> Moment {
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("opening-record.json", &held.record.published.text);
    let signature =
        serde_json::json!({ "digest": held.record.digest, "signature": held.record.published.signature });
    write("opening-record.signature.json", &signature.to_string());
    for (no, (.., verdict)) in held.finals.iter().enumerate() {
        match verdict {
            UploadVerdict::Received { receipt, .. } => write(&format!("{no}.receipt"), receipt),
            UploadVerdict::Refused { notice: Some(notice), .. } => write(&format!("{no}.refusal"), notice),
            UploadVerdict::Refused { .. } | UploadVerdict::Restored { .. } => {}
        }
    }
    held.record.facts.published_at
}
