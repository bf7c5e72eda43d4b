//! Suppliers who hand bids in, one after the other, while something else happens to the server.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use kaibiao_bidder::{
    client::{Client, ClientOptions, Pieces, ServerAddress, Session, StoredSession, Upload, UploadPurpose},
    practice::forms::contact,
    submit::draw_upload_id,
};
use kaibiao_protocol::view::UploadVerdict;
use serde_json::Value;
use tokio::runtime::Builder;

use super::{
    Fallible, HANDING_IN, RECEIVING,
    served::{BIDS_EACH, bid_file},
};
use crate::Durations;

/// From the first byte to the verdict, with the moment it began.
type Taken = Arc<Mutex<Vec<(Instant, Duration)>>>;

/// Those who hand in, on a thread of their own.
pub struct Uploaders {
    taken: Taken,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), String>>,
}

impl Uploaders {
    /// Lets them begin.
    ///
    /// # Errors
    /// The bids cannot be read.
    pub fn begin(sessions: &[Value], folder: &Path) -> Fallible<Self> {
        let bids = (0..HANDING_IN)
            .map(|no| {
                (0..BIDS_EACH).map(|copy| fs::read(bid_file(folder, no, copy)).map(Bytes::from)).collect()
            })
            .collect::<Result<Vec<Vec<Bytes>>, _>>()?;
        let stored: Vec<StoredSession> =
            sessions.iter().cloned().map(serde_json::from_value).collect::<Result<_, _>>()?;
        let (taken, stop) = (Taken::default(), Arc::new(AtomicBool::new(false)));
        let (their_taken, their_stop) = (taken.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let runtime =
                Builder::new_current_thread().enable_all().build().map_err(|fault| fault.to_string())?;
            runtime.block_on(async {
                let mut working = Vec::new();
                for (stored, bids) in stored.into_iter().zip(bids) {
                    let one = hand_in(stored, bids, their_taken.clone(), their_stop.clone());
                    working.push(tokio::spawn(one));
                }
                for one in working {
                    one.await.map_err(|fault| fault.to_string())??;
                }
                Ok(())
            })
        });
        Ok(Self { taken, stop, thread })
    }

    /// How long those took that began in this time.
    pub fn between(&self, from: Instant, until: Instant) -> Durations {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.iter().filter(|(began, _)| (from..until).contains(began)).map(|(_, took)| *took).collect()
    }

    /// Lets each end what it is at.
    ///
    /// # Errors
    /// One of them was refused or lost.
    pub fn end(self) -> Fallible<()> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().map_err(|_| "those who hand in panicked")?.map_err(Into::into)
    }
}

async fn hand_in(
    stored: StoredSession,
    bids: Vec<Bytes>,
    taken: Taken,
    stop: Arc<AtomicBool>,
) -> Result<(), String> {
    let address = ServerAddress::parse(&stored.server, false).map_err(|fault| fault.to_string())?;
    let client = Client::new(address, ClientOptions::default()).map_err(|fault| fault.to_string())?;
    let session = client.resume(&stored, None);
    for bid in bids.iter().cycle() {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let began = Instant::now();
        one_bid(&session, bid.clone()).await?;
        taken.lock().unwrap_or_else(PoisonError::into_inner).push((began, began.elapsed()));
    }
    Ok(())
}

async fn one_bid(session: &Session, bid: Bytes) -> Result<(), String> {
    let form: Vec<(String, String)> = serde_json::from_value::<BTreeMap<String, String>>(contact(1))
        .map_err(|fault| fault.to_string())?
        .into_iter()
        .collect();
    let pieces: Arc<dyn Pieces> = Arc::new(bid);
    let upload = Upload {
        project: RECEIVING.parse().map_err(|_| "a project's name")?,
        id: draw_upload_id(),
        purpose: UploadPurpose::Bid,
        form,
        pieces,
        request_bytes_max: u64::MAX,
    };
    match session.upload(&upload, &mut |_| ()).await {
        Ok(UploadVerdict::Received { .. }) => Ok(()),
        Ok(other) => Err(format!("a bid was not received: {other:?}")),
        Err(fault) => Err(fault.to_string()),
    }
}
