//! Downloading the own sealed bid again, resumed after every cut.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use kaibiao_protocol::ids::{BidId, ProjectId};
use reqwest::{Response, StatusCode, Url, header::RANGE};
use tokio::time::{Instant, sleep, timeout};

use super::{
    ClientFault, Session,
    backoff::Backoff,
    http::{is_passing, network_fault},
};

/// After how long without a byte one connection counts as dead.
const STALL_MAX: Duration = Duration::from_secs(60);

/// A file that was downloaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Downloaded {
    /// Its bytes.
    pub bytes: u64,
    /// How often the connection was cut.
    pub cuts: u32,
}

impl Session {
    /// Some bytes of the own sealed bid, such as its header.
    ///
    /// # Errors
    /// The server refuses or cannot be reached, or gives other bytes than those asked for.
    pub async fn bid_bytes(
        &self,
        project: &ProjectId,
        bid: BidId,
        range: Range<u64>,
    ) -> Result<Vec<u8>, ClientFault> {
        let url = self.bid_url(project, bid);
        let wanted = range.end.saturating_sub(range.start);
        self.client()
            .patiently(async || {
                let asked = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
                let mut response =
                    self.send(|http| http.get(url.clone()).header(RANGE, &asked).timeout(STALL_MAX)).await?;
                if response.status() != StatusCode::PARTIAL_CONTENT {
                    return Err(self.client().not_understood("a whole file instead of a part".to_owned()));
                }
                let mut bytes = Vec::new();
                while let Some(piece) = self.piece(&mut response).await? {
                    bytes.extend_from_slice(&piece);
                    if bytes.len() as u64 > wanted {
                        return Err(self.client().not_understood("more bytes than asked for".to_owned()));
                    }
                }
                Ok(bytes)
            })
            .await
    }

    /// The own sealed bid, into a new file. It is written beside its name as `NAME.part`, which a later call
    /// goes on with, and takes its name when it is whole.
    ///
    /// # Errors
    /// The server refuses or cannot be reached for too long, or the file cannot be written.
    pub async fn download_bid(
        &self,
        project: &ProjectId,
        bid: BidId,
        to: &Path,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<Downloaded, ClientFault> {
        let (url, part) = (self.bid_url(project, bid), part_of(to));
        let unusable =
            |fault: io::Error| ClientFault::File { path: part.display().to_string(), why: fault.to_string() };
        let mut file = OpenOptions::new().create(true).append(true).open(&part).map_err(unusable)?;
        let mut have = file.metadata().map_err(unusable)?.len();
        let (mut cuts, mut moved, mut backoff) = (0, Instant::now(), Backoff::new());
        loop {
            let before = have;
            let outcome = self.go_on(&url, &mut file, &mut have, progress).await;
            let fault = match outcome {
                Ok(()) => break,
                Err(fault) => fault,
            };
            cuts += 1;
            if have > before {
                (moved, backoff) = (Instant::now(), Backoff::new());
            }
            if !is_passing(&fault) || moved.elapsed() > self.client().inner.options.file_patience {
                return Err(fault);
            }
            sleep(backoff.pause()).await;
        }
        file.sync_all().map_err(unusable)?;
        fs::rename(&part, to).map_err(unusable)?;
        Ok(Downloaded { bytes: have, cuts })
    }

    async fn go_on(
        &self,
        url: &Url,
        file: &mut File,
        have: &mut u64,
        progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<(), ClientFault> {
        let asked = format!("bytes={have}-");
        let mut response = self.send(|http| http.get(url.clone()).header(RANGE, &asked)).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT && *have > 0 {
            return Err(self.client().not_understood("a file that cannot be resumed".to_owned()));
        }
        let total = response.content_length().map(|left| *have + left);
        progress(*have, total);
        while let Some(piece) = self.piece(&mut response).await? {
            file.write_all(&piece).map_err(|fault| ClientFault::File {
                path: "the downloaded file".to_owned(),
                why: fault.to_string(),
            })?;
            *have += piece.len() as u64;
            progress(*have, total);
        }
        Ok(())
    }

    async fn piece(&self, response: &mut Response) -> Result<Option<bytes::Bytes>, ClientFault> {
        let address = self.client().address();
        match timeout(STALL_MAX, response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(fault)) => Err(network_fault(address, &fault)),
            Err(_) => {
                Err(network_fault(address, &io::Error::new(io::ErrorKind::TimedOut, "the download stalled")))
            }
        }
    }

    fn bid_url(&self, project: &ProjectId, bid: BidId) -> Url {
        self.client().address().api(&format!("projects/{project}/bids/{bid}/file"))
    }
}

fn part_of(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    name.into()
}
