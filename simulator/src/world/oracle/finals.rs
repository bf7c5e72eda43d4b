//! Finals: one signed verdict each, the one that the stamp's rule says, and never another afterwards.

use std::collections::BTreeMap;

use kaibiao_engine::invariants::Holds;
use kaibiao_protocol::{
    frame::Notice,
    ids::{BidId, UploadId},
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    view::{OwnEvent, UploadVerdict, ViewEvent},
};
use kaibiao_sealed::receipt::{verify_receipt, verify_refusal_notice};

use super::{ProjectFacts, SLACK_MS, View, ensure, shown, stamps::Stamps};
use crate::world::{
    kernel::Kernel,
    people::is_passing,
    plan::File,
    schedule::Instant,
    stock::{Make, StockBid, stock},
    wire::{ConnId, Purpose},
};

/// An upload as its supplier means it.
#[derive(Clone, Debug)]
pub(crate) struct Handed {
    /// Its id.
    pub(crate) upload: UploadId,
    /// The project.
    pub(crate) project: usize,
    /// Whose.
    pub(crate) supplier: usize,
    /// What is in it.
    pub(crate) file: File,
    /// What it is for.
    pub(crate) purpose: Purpose,
    /// Its bytes.
    pub(crate) total: u64,
}

impl Handed {
    /// Whether nothing is wrong with it but, perhaps, its time.
    fn is_sound(&self) -> bool {
        match self.file {
            // What is wrong with these shows only when they are unsealed.
            File::Own(Make::Version(_) | Make::NeverWhole | Make::OtherInside) => true,
            File::Own(Make::StrangeCertificate)
            | File::Damaged
            | File::Short
            | File::OfSupplier(_)
            | File::OfProject(_) => false,
        }
    }

    /// The sealed bid in it.
    pub(crate) fn stock_bid(&self) -> Option<&'static StockBid> {
        match self.file {
            File::Own(make) => Some(stock().bid(self.project, self.supplier, make)),
            File::Damaged | File::Short | File::OfSupplier(_) | File::OfProject(_) => None,
        }
    }
}

/// Everything handed in.
#[derive(Default)]
pub(crate) struct Finals {
    finals: BTreeMap<UploadId, Final>,
    bids: BTreeMap<BidId, UploadId>,
}

/// One upload.
pub(crate) struct Final {
    pub(crate) handed: Handed,
    /// When its last byte was sent, over which connection, and until when it can have arrived.
    sent: Vec<(Instant, ConnId, Option<Instant>)>,
    /// The latest stamp known when its last byte was first sent.
    floor: Option<Moment>,
    pub(crate) verdict: Option<UploadVerdict>,
    /// The stamp that its verdict names.
    pub(crate) stamp: Option<Moment>,
    /// Refused before it was a final.
    at_the_door: Option<RefusalCode>,
    /// Told, since its last byte was last sent, that the disk has no room: nothing of it is kept, and whoever does not come
    /// again has been answered.
    no_room: bool,
}

impl Finals {
    /// Uploads whose last byte was sent and that have neither verdict nor refusal.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Final> {
        let sent = self.finals.values().filter(|one| !one.sent.is_empty());
        sent.filter(|one| one.verdict.is_none() && one.at_the_door.is_none() && !one.no_room)
    }

    /// Every upload of a project.
    pub(crate) fn of(&self, project: usize) -> impl Iterator<Item = &Final> {
        self.finals.values().filter(move |one| one.handed.project == project)
    }

    /// The upload of this id.
    pub(crate) fn get(&self, upload: &UploadId) -> Option<&Final> {
        self.finals.get(upload)
    }

    /// The upload that brought a bid, as far as anybody was told.
    pub(crate) fn of_bid(&self, bid: &BidId) -> Option<&Final> {
        self.finals.get(self.bids.get(bid)?)
    }

    pub(crate) fn begins(&mut self, handed: Handed) {
        let new = Final {
            handed,
            sent: Vec::new(),
            floor: None,
            verdict: None,
            stamp: None,
            at_the_door: None,
            no_room: false,
        };
        self.finals.insert(new.handed.upload, new);
    }

    pub(crate) fn piece(
        &mut self,
        upload: UploadId,
        end: u64,
        conn: ConnId,
        now: Instant,
        latest: Option<Moment>,
    ) {
        let Some(one) = self.finals.get_mut(&upload) else { return };
        if end >= one.handed.total {
            if one.sent.is_empty() {
                one.floor = latest;
            }
            one.no_room = false;
            one.sent.push((now, conn, None));
        }
    }

    pub(crate) fn gone(&mut self, conn: ConnId, now: Instant) {
        let sent = self.finals.values_mut().flat_map(|one| &mut one.sent);
        for (_, _, until) in sent.filter(|(_, over, _)| *over == conn) {
            until.get_or_insert(now.plus_ms(SLACK_MS));
        }
    }

    pub(crate) fn down(&mut self, now: Instant) {
        for (_, _, until) in self.finals.values_mut().flat_map(|one| &mut one.sent) {
            let end = until.get_or_insert(now);
            *end = (*end).min(now);
        }
    }

    /// A frame of somebody's own stream names an upload or a bid.
    pub(crate) fn frame(&mut self, view: View, project: usize, notice: &Notice) -> Holds {
        let (View::Own(supplier), ViewEvent::Own(event)) = (view, &notice.event) else { return Ok(()) };
        let upload = match event {
            OwnEvent::BidReceived { bid, upload, .. } => {
                self.bids.insert(*bid, *upload);
                Some(*upload)
            }
            OwnEvent::UploadRefused { upload, .. } => Some(*upload),
            OwnEvent::BidWithdrawn { bid }
            | OwnEvent::KeysAsked { bid, .. }
            | OwnEvent::KeysKept { bid }
            | OwnEvent::UnsealingFailed { bid, .. }
            | OwnEvent::BackupAdmitted { bid, .. } => self.bids.get(bid).copied(),
        };
        let own = upload.and_then(|upload| self.finals.get(&upload)).map(|one| &one.handed);
        let is_own = own.is_some_and(|own| own.supplier == supplier && own.project == project);
        ensure("own stream", is_own, || format!("supplier {supplier} is told of another's: {event:?}"))
    }

    /// A verdict was told.
    pub(crate) fn verdict(
        &mut self,
        upload: UploadId,
        verdict: &UploadVerdict,
        now: Instant,
        projects: &[ProjectFacts],
        clock_holds: bool,
        stamps: &mut Stamps,
    ) -> Holds {
        let Some(one) = self.finals.get_mut(&upload) else {
            return ensure("verdict", false, || "a verdict on an upload that nobody made".to_owned());
        };
        let told = || format!("{} supplier {}", one.handed.project_words(), one.handed.supplier);
        ensure("verdict", !one.sent.is_empty(), || {
            format!("{}: a verdict before the last byte was sent", told())
        })?;
        if let Some(first) = &one.verdict {
            return ensure("receipt", first == verdict, || {
                format!("{}: the verdict was another one before: {first:?}, then {verdict:?}", told())
            });
        }
        one.judge(verdict, now, &projects[one.handed.project], clock_holds, stamps)?;
        if let UploadVerdict::Received { bid, .. } = verdict {
            self.bids.insert(*bid, upload);
        }
        one.verdict = Some(verdict.clone());
        Ok(())
    }

    /// An upload's request was refused.
    pub(crate) fn refused(
        &mut self,
        upload: UploadId,
        refusal: &Refusal,
        now: Instant,
        projects: &[ProjectFacts],
        clock_holds: bool,
    ) -> Holds {
        let Some(one) = self.finals.get_mut(&upload) else { return Ok(()) };
        match refusal.code {
            RefusalCode::OffsetMismatch | RefusalCode::Unknown => return Ok(()),
            RefusalCode::NoRoom => {
                one.no_room = true;
                return Ok(());
            }
            code if is_passing(code) => return Ok(()),
            _ => {}
        }
        one.at_the_door = Some(refusal.code);
        let deadline = projects[one.handed.project].spec.deadline;
        let late = Kernel::time_of(now) >= deadline || !clock_holds;
        let may = match refusal.code {
            RefusalCode::PastDeadline => late,
            _ => !one.handed.is_sound() || one.handed.purpose != Purpose::Bid,
        };
        ensure("verdict", may, || {
            format!(
                "{} supplier {}: a sound upload is turned away as {} at {}",
                one.handed.project_words(),
                one.handed.supplier,
                refusal.code.as_str(),
                shown(Kernel::time_of(now), deadline)
            )
        })
    }
}

impl Handed {
    pub(crate) fn project_words(&self) -> String {
        format!("project {}", self.project + 1)
    }
}

impl Final {
    /// The first verdict: what the stamp's rule says of it.
    fn judge(
        &mut self,
        verdict: &UploadVerdict,
        now: Instant,
        facts: &ProjectFacts,
        clock_holds: bool,
        stamps: &mut Stamps,
    ) -> Holds {
        let handed = self.handed.clone();
        let told = || format!("{} supplier {}", handed.project_words(), handed.supplier);
        let key = stock().receipt.public();
        match verdict {
            UploadVerdict::Received { bid, receipt } => {
                let facts_of = verify_receipt(receipt, key);
                ensure("receipt", facts_of.is_ok(), || format!("{}: a receipt does not hold", told()))?;
                let Ok(receipt) = facts_of else { return Ok(()) };
                ensure("receipt", handed.is_sound() && handed.purpose == Purpose::Bid, || {
                    format!("{}: {:?} was taken in", told(), handed.file)
                })?;
                let right = receipt.bid == *bid
                    && receipt.upload == handed.upload
                    && receipt.project == facts.spec.id
                    && receipt.supplier == *stock_supplier(handed.supplier);
                ensure("receipt", right, || format!("{}: a receipt names another bid", told()))?;
                let own = handed.stock_bid().map(|own| receipt.check_header(&own.header));
                ensure("receipt", own.is_none_or(|own| own.is_ok()), || {
                    format!("{}: a receipt is of other bytes", told())
                })?;
                ensure("KB-5", receipt.received_at < facts.spec.deadline, || {
                    format!("{}: received at {}", told(), shown(receipt.received_at, facts.spec.deadline))
                })?;
                self.stamped(receipt.received_at, now, clock_holds, stamps)
            }
            UploadVerdict::Restored { bid } => {
                ensure("receipt", handed.purpose == Purpose::Restore(*bid), || {
                    format!("{}: restored what was not brought for it", told())
                })
            }
            UploadVerdict::Refused { refusal, notice } => {
                let late = refusal.code == RefusalCode::PastDeadline;
                // Another's bid is refused by name, and not by a later check that happens to fail as well.
                let by_chance = matches!(
                    refusal.code,
                    RefusalCode::CertificateUnbound
                        | RefusalCode::CertificateForeign
                        | RefusalCode::SignatureInvalid
                        | RefusalCode::SameCiphertext
                );
                ensure("verdict", !(matches!(handed.file, File::OfSupplier(_)) && by_chance), || {
                    format!("{}: another's bid is refused as {}", told(), refusal.code.as_str())
                })?;
                if let Some(notice) = notice {
                    let facts_of = verify_refusal_notice(notice, key);
                    ensure("verdict", facts_of.is_ok(), || {
                        format!("{}: a refusal notice does not hold", told())
                    })?;
                    let Ok(notice) = facts_of else { return Ok(()) };
                    let right = notice.upload == handed.upload && notice.code == refusal.code;
                    ensure("verdict", right, || format!("{}: a notice of another upload", told()))?;
                    if late {
                        ensure("verdict", notice.received_at >= facts.spec.deadline, || {
                            format!(
                                "{}: refused as late at {}",
                                told(),
                                shown(notice.received_at, facts.spec.deadline)
                            )
                        })?;
                    }
                    self.stamped(notice.received_at, now, clock_holds, stamps)?;
                }
                let for_bid = handed.purpose == Purpose::Bid;
                ensure("verdict", !late || notice.is_some() || !for_bid, || {
                    format!("{}: a late final without a signed refusal", told())
                })?;
                ensure("verdict", late || !handed.is_sound() || !for_bid, || {
                    format!("{}: a sound final was refused as {}", told(), refusal.code.as_str())
                })
            }
        }
    }

    /// The stamp is the instant at which the last byte came in.
    fn stamped(&mut self, at: Moment, now: Instant, clock_holds: bool, stamps: &mut Stamps) -> Holds {
        self.stamp = Some(at);
        stamps.given(at, self.floor)?;
        let came_then = |(from, _, until): &(Instant, ConnId, Option<Instant>)| {
            at >= Kernel::time_of(*from) && at <= Kernel::time_of(until.unwrap_or(now))
        };
        ensure("stamp", !clock_holds || self.sent.iter().any(came_then), || {
            let sent = self.sent.iter().map(|(from, _, until)| (*from, until.unwrap_or(now)));
            format!(
                "{} supplier {}: stamped at {:?}, when its last byte cannot have come in: {:?}",
                self.handed.project_words(),
                self.handed.supplier,
                at,
                sent.map(|(from, until)| (Kernel::time_of(from), Kernel::time_of(until))).collect::<Vec<_>>()
            )
        })
    }
}

fn stock_supplier(number: usize) -> &'static kaibiao_protocol::ids::OrganisationId {
    &stock().supplier(number).organisation
}
