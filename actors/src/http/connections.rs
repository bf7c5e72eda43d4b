//! Connections: how many there may be from one address, and which of them may be used again.
//!
//! What a connection costs before anybody is signed in on it is bounded: its first request's head has
//! `request_head_seconds`, its body `request_body_seconds`, and unless somebody signed in asked on it, it ends with its
//! answer. (The web library watches over the first head of a connection only: one that is kept could drip its
//! second for ever.) A proxy that is trusted keeps its connections, and watches over its own clients.

use std::{
    any::Any,
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{dev::Extensions, rt::net::TcpStream};
use rustix::net::{Shutdown, shutdown};

/// How many connections each address has.
pub(super) struct Connections {
    per_address_max: usize,
    /// Addresses that speak for many: they count for themselves.
    trusted: Vec<IpAddr>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection's place; given back when the connection ends.
struct Place {
    all: Arc<Connections>,
    address: IpAddr,
}

impl Connections {
    pub(super) fn new(per_address_max: usize, trusted: &[IpAddr]) -> Arc<Self> {
        Arc::new(Self { per_address_max, trusted: trusted.to_vec(), open: Mutex::default() })
    }

    /// Counts a connection that was accepted, and ends it at once where its address has too many.
    pub(super) fn accepted(self: &Arc<Self>, connection: &dyn Any, data: &mut Extensions) {
        let stream = connection
            .downcast_ref::<TcpStream>()
            .or_else(|| connection.downcast_ref::<TlsStream<TcpStream>>().map(|tls| tls.get_ref().0));
        let Some((stream, address)) = stream.and_then(|stream| Some((stream, stream.peer_addr().ok()?.ip())))
        else {
            return;
        };
        match self.take(address.to_canonical()) {
            Some(place) => {
                data.insert(place);
            }
            None => {
                tracing::debug!(%address, "an address has too many connections");
                // It may be gone already.
                let _ = shutdown(stream, Shutdown::Both);
            }
        }
    }

    /// Whether this is the address of a proxy that is trusted.
    pub(super) fn is_proxy(&self, address: IpAddr) -> bool {
        self.trusted.contains(&address)
    }

    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut open = self.open();
        let count = open.entry(address).or_default();
        if *count >= self.per_address_max && !address.is_loopback() && !self.is_proxy(address) {
            return None;
        }
        *count += 1;
        Some(Place { all: self.clone(), address })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // No code under this lock can panic half-way through a change.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.all.open();
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_trusted_ones_and_this_machine_have_more() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let all = Connections::new(2, &[address("10.0.0.1")]);
        let office = address("192.0.2.7");
        let first = all.take(office).unwrap();
        let _second = all.take(office).unwrap();
        assert!(all.take(office).is_none());
        assert!(all.take(address("192.0.2.8")).is_some());
        drop(first);
        assert!(all.take(office).is_some());
        for trusted in ["10.0.0.1", "127.0.0.1"] {
            let places: Vec<_> = (0..9).map(|_| all.take(address(trusted))).collect();
            assert!(places.iter().all(Option::is_some));
        }
        assert_eq!(all.open().len(), 1, "addresses without a connection are forgotten");
    }
}
