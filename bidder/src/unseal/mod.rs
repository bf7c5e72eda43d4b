//! Taking part in an opening (解密): waiting for the order, unwrapping the bid key for it, releasing the keys.
//!
//! The token unwraps the bid key only for an order that the opening key named in the bid's own binding has signed,
//! for exactly this project, not before its deadline by this machine's clock; and only the keys of the parts that
//! the order opens leave, sealed to the order's one-time key. The platform may die and come back: as long as it
//! has not acknowledged the keys they are sent again for its next order. [`ceremony`] decides, this acts.

pub mod ceremony;
mod fault;
mod told;

pub use fault::UnsealFault;
pub use told::Told;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use kaibiao_protocol::{
    bid::FailureCause,
    digest::Digest,
    ids::BidId,
    moment::Moment,
    refusal::RefusalCode,
    view::{OwnBid, OwnEvent, RoomEvent, UploadVerdict, ViewEvent},
};
use kaibiao_sealed::{
    envelope::seal_envelope,
    header::{Header, PREAMBLE_BYTES},
    key::{BidKey, PartKey},
    order::OrderFault,
    platform_key::{PUBLIC_KEY_BYTES, key_id},
};
use tokio::{select, sync::watch, time::sleep};

use self::ceremony::{Ceremony, CheckedOrder, Ending, Fixed, Move, Noticed};
use crate::{
    backup::{Backup, BackupFault, beside},
    client::{ClientFault, Events, FilePieces, Link, Room, Upload, UploadPurpose},
    clock::now,
    signer::{KeySource, UseFault},
    submit::draw_upload_id,
};

/// The longest one sleeps before looking at the clock again: it may be set meanwhile.
const CLOCK_LOOK_EVERY: Duration = Duration::from_secs(1);
/// The pause after the platform was busy or could not be reached.
const RELEASE_AGAIN: Duration = Duration::from_secs(2);

/// Until when to stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stay {
    /// Until the platform keeps the keys, or the bid's fate is certain.
    UntilKept,
    /// Until the record is published.
    UntilPublished,
}

/// When a token that gives no key is reported to the room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report {
    /// Never.
    Never,
    /// When another try of the same person will not mend it, such as a locked token.
    WhatStays,
    /// Each time: nobody is there to try again.
    Always,
}

/// How to take part.
pub struct Unsealing {
    /// The room, in the supplier's session.
    pub room: Room,
    /// The header of the own copy of the sealed bid; none: the backup's, or it is fetched from the platform.
    pub header: Option<Header>,
    /// Fingerprints of the own certificates: a header fetched from the platform must be signed by one of them.
    pub own_certificates: Vec<Digest>,
    /// What unwraps the bid key; none: only the backup is used.
    pub keys: Option<Arc<dyn KeySource>>,
    /// The backup bid, if it is at hand.
    pub backup: Option<Arc<Backup>>,
    /// The earliest deadline the supplier was told, if the client remembers one.
    pub deadline_told: Option<Moment>,
    /// Until when to stay.
    pub stay: Stay,
    /// When a token that gives no key is reported to the room.
    pub report: Report,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsealed {
    /// The bid.
    pub bid: BidId,
    /// How it came out; none: the room was left, or the record published, before that was certain.
    pub ending: Option<Ending>,
    /// Whether the record is published.
    pub published: bool,
}

impl Unsealing {
    /// Takes part until the end asked for ([`Stay`]). Dropping it leaves the room; running it again goes on.
    ///
    /// # Errors
    /// [`UnsealFault`]. A token that gives no key is no fault: it is told, and the opening is watched to its end.
    pub async fn run(self, tell: &mut (dyn FnMut(Told<'_>) + Send)) -> Result<Unsealed, UnsealFault> {
        let view = self.room.session().project(self.room.project()).await?;
        let own = view.own_bid.as_ref().ok_or(UnsealFault::NoBid)?;
        tell(Told::Found { view: &view, bid: own });
        let header = match (self.header, &self.backup) {
            (Some(header), _) => header,
            (None, Some(backup)) => backup.header.clone(),
            (None, None) => fetch_header(&self.room, own, &self.own_certificates).await?,
        };
        if header.header_digest != own.header_digest {
            let (received, found) = (own.header_digest, header.header_digest);
            return Err(UnsealFault::OtherBid { received, found });
        }
        if let Some(backup) = &self.backup
            && backup.header.header_digest != own.header_digest
        {
            let (wanted, found) = (own.header_digest, backup.header.header_digest);
            return Err(BackupFault::OtherBid { wanted, found }.into());
        }
        let opening_key: [u8; PUBLIC_KEY_BYTES] =
            view.opening_key.0.as_slice().try_into().map_err(|_| UnsealFault::OtherPlatform)?;
        if key_id(&opening_key) != header.binding.opening_key {
            return Err(UnsealFault::OtherPlatform);
        }
        let ceremony = Ceremony::new(Fixed {
            project: self.room.project().clone(),
            bid: own.bid,
            parts: header.binding.parts().collect(),
            bound_key: header.binding.opening_key,
            opening_key,
            // A deadline may be moved back by a correction notice, never forward unseen.
            deadline_told: Some(
                self.deadline_told.map_or(view.spec.deadline, |told| told.min(view.spec.deadline)),
            ),
            has_backup: self.backup.is_some(),
        });
        let taking_part = TakingPart {
            room: self.room,
            header: Arc::new(header),
            keys: self.keys,
            backup: self.backup,
            stay: self.stay,
            report: self.report,
            ceremony,
            checked_in: false,
            told_clock: false,
        };
        taking_part.run(tell).await
    }
}

struct TakingPart {
    room: Room,
    header: Arc<Header>,
    keys: Option<Arc<dyn KeySource>>,
    backup: Option<Arc<Backup>>,
    stay: Stay,
    report: Report,
    ceremony: Ceremony,
    checked_in: bool,
    told_clock: bool,
}

type Tell<'a> = &'a mut (dyn FnMut(Told<'_>) + Send);

impl TakingPart {
    async fn run(mut self, tell: Tell<'_>) -> Result<Unsealed, UnsealFault> {
        self.remember().await?;
        let view = self.room.view().await?;
        let mut events = self.room.events(view.seq).await?;
        tell(Told::Joined { view: &view });
        let mut link = self.room.session().link();
        let noticed = self.ceremony.see(&view, now());
        self.tell_noticed(&noticed, tell);
        self.check_in(tell).await;
        loop {
            if let Some(unsealed) = self.end() {
                return Ok(unsealed);
            }
            match self.ceremony.next() {
                Move::Wait => self.listen(&mut events, &mut link, None, tell).await?,
                Move::WaitForClock { until } => {
                    if !self.told_clock {
                        self.told_clock = true;
                        tell(Told::ClockBehind { deadline: until, now: now() });
                    }
                    self.listen(&mut events, &mut link, Some(until), tell).await?;
                }
                Move::Release(order) => self.release_from_token(order, tell).await?,
                Move::ReleaseBackup(order) => self.release_from_backup(order, tell).await?,
                Move::Restore => self.restore(tell).await?,
            }
        }
    }

    /// Learns from the own stream's past why the bid failed last, which the room's present does not say.
    async fn remember(&mut self) -> Result<(), UnsealFault> {
        let mut own = self.room.own_events(0).await?;
        let mut seq = 0;
        while seq < own.reached() {
            let notice = own.next().await?;
            seq = notice.seq;
            if let ViewEvent::Own(OwnEvent::UnsealingFailed { bid, cause, .. }) = notice.event
                && bid == self.ceremony.fixed().bid
            {
                self.ceremony.remember_cause(cause);
            }
        }
        Ok(())
    }

    fn end(&self) -> Option<Unsealed> {
        let (ending, published) = (self.ceremony.ending(), self.ceremony.is_published());
        let over = match self.stay {
            Stay::UntilKept => ending.is_some() || published,
            Stay::UntilPublished => published || ending == Some(Ending::NotStanding),
        };
        over.then_some(Unsealed { bid: self.ceremony.fixed().bid, ending, published })
    }

    /// Waits for the next event, a change of the connection, or the clock.
    async fn listen(
        &mut self,
        events: &mut Events,
        link: &mut watch::Receiver<Link>,
        until: Option<Moment>,
        tell: Tell<'_>,
    ) -> Result<(), UnsealFault> {
        let clock = async {
            match until {
                Some(until) => {
                    let left = u64::try_from(until.micros_since(now()).max(0)).unwrap_or(0);
                    sleep(Duration::from_micros(left).min(CLOCK_LOOK_EVERY)).await;
                }
                None => std::future::pending().await,
            }
        };
        select! {
            notice = events.next() => {
                let notice = notice?;
                let ViewEvent::Room(event) = &notice.event else { return Ok(()) };
                let own = matches!(event, RoomEvent::BidChanged { bid, .. } if *bid == self.ceremony.fixed().bid);
                tell(Told::Room { at: notice.at, event, own });
                let noticed = self.ceremony.hear(event, now());
                self.tell_noticed(&noticed, tell);
                if !self.checked_in && opens_the_room(event) {
                    self.check_in(tell).await;
                }
            }
            changed = link.changed() => if changed.is_ok() {
                let link = link.borrow_and_update().clone();
                tell(Told::Link(link));
            },
            () = clock => {
                let noticed = self.ceremony.look_again(now());
                // Being early is told once, not every second.
                if noticed != Noticed::BadOrder(OrderFault::BeforeDeadline) {
                    self.tell_noticed(&noticed, tell);
                }
            }
        }
        Ok(())
    }

    fn tell_noticed(&self, noticed: &Noticed, tell: Tell<'_>) {
        match noticed {
            Noticed::Order { epoch } => tell(Told::OrderHolds { epoch: *epoch }),
            // Told with both clocks where it is waited for.
            Noticed::BadOrder(OrderFault::BeforeDeadline) => {}
            Noticed::BadOrder(fault) => tell(Told::OrderRefused { fault: *fault }),
            Noticed::Nothing | Noticed::Status(_) => {}
        }
    }

    /// Signing in to the room is good manners and never a condition: a refusal is no fault, and before the
    /// deadline it is tried again when the room opens.
    async fn check_in(&mut self, tell: Tell<'_>) {
        if self.room.check_in().await.is_ok() {
            self.checked_in = true;
            tell(Told::CheckedIn);
        }
    }

    async fn release_from_token(&mut self, order: CheckedOrder, tell: Tell<'_>) -> Result<(), UnsealFault> {
        let epoch = order.order.epoch;
        let Some(keys) = self.keys.clone() else {
            self.ceremony.token_failed(epoch);
            return Ok(());
        };
        tell(Told::AskingToken);
        let (header, began) = (self.header.clone(), std::time::Instant::now());
        let unwrapped = tokio::task::spawn_blocking(move || keys.bid_key(&header))
            .await
            .expect("unwrapping does not panic");
        let token = began.elapsed();
        match unwrapped {
            Ok(key) => self.release(&order, &key, token, false, tell).await,
            Err(fault) => {
                self.ceremony.token_failed(epoch);
                let reported = self.report(&fault).await;
                tell(Told::TokenFailed { fault: &fault, reported });
                Ok(())
            }
        }
    }

    /// Reports a token that gives no key, so that the room knows why this bid is late and a backup can be
    /// admitted.
    async fn report(&self, fault: &UseFault) -> Option<FailureCause> {
        let due = match self.report {
            Report::Never => false,
            Report::WhatStays => !may_pass(fault),
            Report::Always => true,
        };
        let (cause, seen) = trouble_of(fault).filter(|_| due)?;
        let reported = self.room.report_trouble(self.ceremony.fixed().bid, cause, &seen).await;
        reported.is_ok().then_some(cause)
    }

    async fn release_from_backup(&mut self, order: CheckedOrder, tell: Tell<'_>) -> Result<(), UnsealFault> {
        let Some(backup) = self.backup.clone() else { return Ok(()) };
        self.release(&order, backup.key(), Duration::ZERO, true, tell).await
    }

    async fn release(
        &mut self,
        order: &CheckedOrder,
        key: &BidKey,
        token: Duration,
        by_backup: bool,
        tell: Tell<'_>,
    ) -> Result<(), UnsealFault> {
        let binding = &self.header.binding_digest;
        let keys: Vec<PartKey> = order.parts.iter().map(|part| key.part_key(binding, *part)).collect();
        let (epoch, parts) = (order.order.epoch, order.parts.len());
        let statement = &self.header.statement_digest;
        let envelope =
            seal_envelope(&order.text, &order.order.hpke_public_key.0, statement, &order.parts, &keys)
                .map_err(|_| UnsealFault::Envelope)?;
        let bid = self.ceremony.fixed().bid;
        loop {
            let fault = match self.room.release_keys(bid, epoch, envelope.clone(), by_backup).await {
                Ok(_) => {
                    self.ceremony.keys_kept(epoch);
                    tell(Told::KeysKept { epoch, parts, token, by_backup });
                    return Ok(());
                }
                Err(fault) => fault,
            };
            match fault.refusal().map(|refusal| refusal.code) {
                Some(RefusalCode::KeysAlreadyHere) => {
                    self.ceremony.keys_kept(epoch);
                    tell(Told::KeysKept { epoch, parts, token, by_backup });
                    return Ok(());
                }
                Some(RefusalCode::OrderSuperseded) => {
                    self.ceremony.order_superseded();
                    return Ok(());
                }
                Some(RefusalCode::Busy) => {}
                // The network is tried until the window is over: the platform says so when it is back.
                None if matches!(fault, ClientFault::Unreachable { .. }) => {}
                Some(_) => {
                    // Window over, key refused, bid not opened: the room's events say what comes of it.
                    self.ceremony.keys_refused(epoch);
                    tell(Told::NotTaken { fault: &fault });
                    return Ok(());
                }
                None => return Err(fault.into()),
            }
            tell(Told::NotTaken { fault: &fault });
            sleep(RELEASE_AGAIN).await;
        }
    }

    /// Seals the backup again and uploads the bytes; the platform holds them against the receipt.
    async fn restore(&mut self, tell: Tell<'_>) -> Result<(), UnsealFault> {
        let Some(backup) = self.backup.clone() else { return Ok(()) };
        let restored = RestoredFile(beside(&backup.path, "restored.jmbs"));
        let to = restored.0.clone();
        tokio::task::spawn_blocking(move || backup.seal_again(&to, &mut |_| {}))
            .await
            .expect("sealing does not panic")?;
        let upload = Upload {
            project: self.room.project().clone(),
            id: draw_upload_id(),
            purpose: UploadPurpose::Restore(self.ceremony.fixed().bid),
            form: Vec::new(),
            pieces: Arc::new(FilePieces::open(&restored.0)?),
            request_bytes_max: u64::MAX,
        };
        let verdict =
            self.room.session().upload(&upload, &mut |progress| tell(Told::Restoring(progress))).await?;
        match verdict {
            UploadVerdict::Restored { .. } | UploadVerdict::Received { .. } => {
                self.ceremony.restored();
                tell(Told::Restored);
                Ok(())
            }
            UploadVerdict::Refused { refusal, .. } => Err(UnsealFault::RestoreRefused(Box::new(refusal))),
        }
    }
}

/// From these events on signing in to the room is possible where it was refused before.
fn opens_the_room(event: &RoomEvent) -> bool {
    matches!(
        event,
        RoomEvent::ReceivingClosed { .. } | RoomEvent::OpeningStarted { .. } | RoomEvent::OrderIssued { .. }
    )
}

/// What the room is told of a token that gives no key: cause class and what was seen.
fn trouble_of(fault: &UseFault) -> Option<(FailureCause, String)> {
    match fault {
        UseFault::Token(fault) => Some((fault.failure_cause(), fault.seen())),
        // A PKCS#1 v1.5 wrapping for another key comes out as a random one.
        UseFault::WrongKey => {
            Some((FailureCause::WrongToken, "wrong_key CA 锁解出的密钥不是加密时的密钥".to_owned()))
        }
        // Nobody typed a PIN: nothing is known of the token.
        UseFault::Pin(_) => None,
    }
}

/// Whether the person may put it right within the window, so that reporting it would be too early.
fn may_pass(fault: &UseFault) -> bool {
    match fault {
        UseFault::Token(fault) => fault.may_pass(),
        UseFault::WrongKey | UseFault::Pin(_) => true,
    }
}

/// The header of the own bid as the platform stores it: accepted only with this supplier's own signature.
async fn fetch_header(room: &Room, own: &OwnBid, certificates: &[Digest]) -> Result<Header, UnsealFault> {
    let session = room.session();
    let preamble = session.bid_bytes(room.project(), own.bid, 0..PREAMBLE_BYTES as u64).await?;
    let length = Header::length_needed(&preamble).ok().flatten().ok_or(UnsealFault::HeaderDamaged)?;
    let bytes = session.bid_bytes(room.project(), own.bid, 0..length as u64).await?;
    let header = Header::parse(&bytes).map_err(|_| UnsealFault::HeaderDamaged)?;
    let signed = header.check_signature()?;
    if certificates.contains(&signed.fingerprint) { Ok(header) } else { Err(UnsealFault::HeaderForeign) }
}

/// The bytes sealed again, for as long as they are uploaded: the backup can make them any time.
struct RestoredFile(PathBuf);

impl Drop for RestoredFile {
    fn drop(&mut self) {
        // If it cannot be removed, a sealed bid is left over, which nobody can open without its key.
        let _ = fs::remove_file(&self.0);
    }
}
