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
use tokio::net::TcpStream;

/// A server whose queue of connections is full does not answer at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes that wait in each direction for a slow reader.
const BUFFER_BYTES: usize = 64 << 10;

/// Connects to a port, or says why not.
pub async fn open(Path(port): Path<NonZeroU16>, mut request: Request) -> Response {
    let asks = request.headers().get(UPGRADE);
    if !asks.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(PORT_UPGRADE.as_bytes())) {
        let text = format!("this route takes requests with `Upgrade: {PORT_UPGRADE}` only");
        return (StatusCode::UPGRADE_REQUIRED, text).into_response();
    }
    let mut server = match connect(port.get()).await {
        Ok(server) => server,
        Err(error) => return (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    };
    let client = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(client) = client.await else { return };
        let mut client = TokioIo::new(client);
        // An end of one direction is passed on as such; an error, or the end of both, closes both connections.
        let _ =
            tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER_BYTES, BUFFER_BYTES)
                .await;
    });
    let headers = [
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (UPGRADE, HeaderValue::from_static(PORT_UPGRADE)),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
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
