//! Ports of the session: `GET /v1/ports/{port}` connects to a server inside and then carries bytes both ways.
//!
//! The host decides which ports may be reached and who may reach them. A server need listen on 127.0.0.1 only.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::time::Duration;

use axum::extract::{Path, Request};
use axum::response::{IntoResponse, Response};
use berth_guest_api::PORT_UPGRADE;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, StatusCode};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

/// A server whose queue of connections is full does not answer at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes that wait in each direction for a slow reader.
const BUFFER_BYTES: usize = 64 << 10;

/// Connects to a port, or says why not.
pub async fn open(Path(port): Path<NonZeroU16>, mut request: Request) -> Response {
    let port = port.get();
    let asks = request.headers().get(UPGRADE);
    if !asks.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(PORT_UPGRADE.as_bytes())) {
        let text = format!("this route takes requests with `Upgrade: {PORT_UPGRADE}` only");
        return (StatusCode::UPGRADE_REQUIRED, text).into_response();
    }
    let server = match connect(port).await {
        Ok(server) => server,
        Err(error) => return (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    };
    let client = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(client) = client.await else { return };
        match downcast::<TokioIo<UnixStream>>(client) {
            Ok(client) => {
                let ended = carry(client.io.into_inner(), &client.read_buf, server).await;
                tracing::debug!(?ended, port, "a port connection ended");
            }
            Err(_) => tracing::error!(
                port,
                "a port connection came by another way than the guest's socket"
            ),
        }
    });
    let headers = [
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (UPGRADE, HeaderValue::from_static(PORT_UPGRADE)),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// Carries bytes both ways. The end of one direction is passed on as such; an error, or a client that is gone
/// altogether, closes both connections, whatever the server inside makes of it.
async fn carry(client: UnixStream, first: &[u8], server: TcpStream) -> io::Result<()> {
    let (from_client, mut to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let mut from_client = BufReader::with_capacity(BUFFER_BYTES, from_client);
    let mut from_server = BufReader::with_capacity(BUFFER_BYTES, from_server);
    let up = async {
        to_server.write_all(first).await?;
        let copied = tokio::io::copy_buf(&mut from_client, &mut to_server).await;
        if is_gone(from_client.get_ref().as_ref())? {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match copied {
            Ok(_) => to_server.shutdown().await,
            // The server takes no more. What it said before, the reason perhaps, still has to arrive, so the client must
            // not fail at what it goes on sending.
            Err(_) => tokio::io::copy_buf(&mut from_client, &mut tokio::io::sink())
                .await
                .map(drop),
        }
    };
    let down = async {
        tokio::io::copy_buf(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(up, down)?;
    Ok(())
}

/// Has the other side closed the socket, and not only its own direction?
fn is_gone(client: &UnixStream) -> io::Result<bool> {
    // A hang-up is reported whatever is asked for.
    let mut asked = [PollFd::new(client, PollFlags::empty())];
    rustix::event::poll(&mut asked, Some(&Timespec::default()))?;
    Ok(asked[0].revents().contains(PollFlags::HUP))
}

async fn connect(port: u16) -> io::Result<TcpStream> {
    let mut first = None;
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((address, port))).await;
        match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                // What passes is somebody else's protocol, often small messages that are waited for.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    Err(first.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}
