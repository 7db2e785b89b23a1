//! Datagrams: figures for a statsd server, descriptions of commands for whoever collects them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};

/// Sends each of `messages` as a datagram of its own to `HOST:PORT`. Nobody answers, so nothing
/// says whether they arrive.
///
/// # Errors
/// If the host has no address, or a message is larger than a datagram may be.
pub(crate) fn send<'a>(server: &str, messages: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
    let address = server
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address"))?;
    let own: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(own)?;
    for message in messages {
        socket.send_to(message, address)?;
    }
    Ok(())
}
