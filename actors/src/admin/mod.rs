//! The office: `DIR/admin.sock`, through which whoever owns the data folder administers a running server.
//!
//! The socket has mode 0600 in a folder of mode 0700: who may open it may do everything here anyway by starting
//! another server. So there is no sign-in, and everything done is journalled as done at the console.

mod clerk;
mod der;
mod language;

use std::{
    fs::{self, Permissions},
    io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use kaibiao_protocol::moment::Moment;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Notify, Semaphore},
    task::JoinHandle,
};
use zeroize::Zeroizing;

use crate::{files::LocalFiles, http::Desk};

pub use der::{certificate_of, revocation_list_of};
pub use language::{
    AdminAnswer, AdminAsk, AdminProjectRow, AdminReply, LINE_BYTES_MAX, OrganisationRow, RootRow, Status,
    UserRow,
};

/// Administrators at once.
const CONNECTIONS_MAX: usize = 16;

/// What the office works with.
pub struct Office {
    /// The web server's desk: house, sessions, door.
    pub desk: Arc<Desk>,
    /// The local store, for backups.
    pub files: Arc<LocalFiles>,
    /// The address served.
    pub listen: SocketAddr,
    /// Since when.
    pub since: Moment,
    /// Rung when the administrator asks the server to stop.
    pub stop: Arc<Notify>,
}

/// The open office; closed when dropped.
pub struct OpenOffice {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for OpenOffice {
    fn drop(&mut self) {
        self.task.abort();
        // Whoever comes now finds no door instead of a dead one.
        let _ = fs::remove_file(&self.path);
    }
}

impl Office {
    /// Opens the socket at `path`. The caller holds the folder's lock, so a socket found there is a dead one.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn open(self, path: &Path) -> io::Result<OpenOffice> {
        match fs::remove_file(path) {
            Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(fault),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        let task = tokio::spawn(Arc::new(self).serve(listener));
        Ok(OpenOffice { path: path.to_owned(), task })
    }

    async fn serve(self: Arc<Self>, listener: UnixListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let place = places.clone().acquire_owned().await.expect("nobody closes the semaphore");
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(fault) => {
                    tracing::warn!(%fault, "the administration socket does not accept");
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                    continue;
                }
            };
            let office = self.clone();
            tokio::spawn(async move {
                let _place = place;
                if let Err(fault) = office.attend(stream).await {
                    tracing::debug!(%fault, "an administrator's connection broke");
                }
            });
        }
    }

    async fn attend(&self, stream: UnixStream) -> io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        loop {
            // A line may hold a password.
            let mut line = Zeroizing::new(Vec::new());
            let limit = LINE_BYTES_MAX as u64 + 1;
            if (&mut read).take(limit).read_until(b'\n', &mut line).await? == 0 {
                return Ok(());
            }
            let too_long = line.last() != Some(&b'\n') && line.len() > LINE_BYTES_MAX;
            let reply = if too_long {
                AdminReply::Failed(format!("the line is longer than {LINE_BYTES_MAX} bytes"))
            } else {
                match serde_json::from_slice::<AdminAsk>(&line) {
                    Ok(ask) => clerk::carry_out(self, ask).await,
                    Err(fault) => AdminReply::Refused(understood_not(&fault)),
                }
            };
            let mut text = serde_json::to_vec(&reply).expect("a reply has a JSON form");
            text.push(b'\n');
            write.write_all(&text).await?;
            if matches!(reply, AdminReply::Ok(AdminAnswer::ShuttingDown {})) {
                // Its end tells the administrator that the server is gone, and the folder free.
                return std::future::pending().await;
            }
            if too_long {
                return Ok(());
            }
        }
    }
}

/// The refusal of a line. Names the place; a value of the line is not repeated, it may be a password.
fn understood_not(fault: &serde_json::Error) -> kaibiao_protocol::refusal::Refusal {
    let told = match fault.classify() {
        // Of a type's mismatch serde repeats the value; of a name only the name.
        serde_json::error::Category::Data if !fault.to_string().starts_with("invalid") => fault.to_string(),
        _ => format!("not an ask, at column {}", fault.column()),
    };
    crate::http::malformed(told)
}
