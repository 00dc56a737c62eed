//! The DNS forwarder: hands queries of sandboxes to the host's resolvers, unread.
//!
//! The firewall redirects port 53 from every sandbox to it, wherever the query was going, because the host's resolvers are
//! often private addresses, which sandboxes must not reach. It listens on all addresses (the redirected destination is
//! the host's end of the sandbox's link, and those come and go), so three things keep others out: the firewall drops
//! what comes from other interfaces, the sender must be in the sandboxes' block, and it must not be the host's own end.
//!
//! What a sandbox can make it use is bounded: the size of a query, queries under way in all and for each sandbox, connections,
//! time. A query beyond that is answered with "server failure" at once, as is one that no resolver answers. Only a query
//! that a resolver is asked counts among all; a connection that is silent takes nothing from others.

mod message;
mod resolvers;
mod turns;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::network::AddressBlock;

pub(crate) use self::resolvers::Resolvers;
use self::{
    message::{answers, is_query, server_failure},
    resolvers::Known,
    turns::Turns,
};

/// A query or a UDP answer at most; larger answers than this come by TCP.
const MAX_DATAGRAM: usize = 4096;

/// Queries under way at once, but for those that a sandbox has for sure. Each holds a socket.
const MAX_QUERIES: usize = 512;

/// Queries of one sandbox under way at once.
const MAX_QUERIES_EACH: usize = 64;

/// Queries of one sandbox that are under way whatever others do: two names, with both kinds of addresses.
const SURE_QUERIES_EACH: usize = 4;

/// Connections of one sandbox.
const MAX_CONNECTIONS_EACH: usize = 4;

/// A connection may be silent, or take no answer, for so long.
const IDLE_LIMIT: Duration = Duration::from_secs(2);

/// A query may take so long in all, over all resolvers; clients give up after as much.
const QUERY_LIMIT: Duration = Duration::from_secs(5);

/// Queries on one TCP connection.
const MAX_PER_CONNECTION: usize = 100;

/// The running forwarder. It stops when this is dropped.
#[derive(Debug)]
pub(crate) struct Forwarder {
    port: u16,
    stop: CancellationToken,
}

impl Forwarder {
    /// Listens on a free port, and serves on the runtime of the caller.
    pub(crate) async fn start(block: AddressBlock, resolvers: Resolvers) -> io::Result<Self> {
        let (udp, tcp) = listen().await?;
        let port = udp.local_addr()?.port();
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            block,
            resolvers: Known::new(resolvers),
            queries: Turns::new(SURE_QUERIES_EACH, MAX_QUERIES_EACH, MAX_QUERIES),
            connections: Turns::new(MAX_CONNECTIONS_EACH, MAX_CONNECTIONS_EACH, 0),
        });
        let (by_udp, by_tcp) = (shared.clone(), shared);
        let udp_stop = stop.clone();
        tokio::spawn(async move {
            udp_stop
                .run_until_cancelled(by_udp.serve_udp(Arc::new(udp)))
                .await
        });
        let tcp_stop = stop.clone();
        tokio::spawn(async move { tcp_stop.run_until_cancelled(by_tcp.serve_tcp(tcp)).await });
        Ok(Self { port, stop })
    }

    /// Where it listens, for UDP and TCP.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Binds UDP and TCP to one port that is free for both.
async fn listen() -> io::Result<(UdpSocket, TcpListener)> {
    const ATTEMPTS: usize = 16;

    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..ATTEMPTS {
        let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

struct Shared {
    block: AddressBlock,
    resolvers: Known,
    queries: Arc<Turns>,
    connections: Arc<Turns>,
}

impl Shared {
    /// The sandbox that sent something, if it was one.
    fn sandbox(&self, sender: SocketAddr) -> Option<Ipv4Addr> {
        match sender.ip() {
            // Even addresses are the host's ends.
            IpAddr::V4(address) if self.block.contains(address) && u32::from(address) % 2 == 1 => {
                Some(address)
            }
            _ => None,
        }
    }

    async fn serve_udp(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            let (length, sender) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    // Answers that could not be delivered come back as errors here; none is about the socket itself.
                    tracing::debug!(%error, "the dns socket reported an error");
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            let Some(sandbox) = self.sandbox(sender) else {
                continue;
            };
            let query = buffer[..length].to_vec();
            if !is_query(&query) {
                continue;
            }
            let Some(turn) = self.queries.take(sandbox) else {
                // Not awaited: a full socket buffer must not stop the loop, and the client asks again.
                let _ = socket.try_send_to(&server_failure(&query), sender);
                continue;
            };
            let (shared, socket) = (self.clone(), socket.clone());
            tokio::spawn(async move {
                let answer = shared
                    .ask(&query, Way::Udp)
                    .await
                    .unwrap_or_else(|| server_failure(&query));
                drop(turn);
                if let Err(error) = socket.send_to(&answer, sender).await {
                    tracing::debug!(%error, %sender, "could not answer a dns query");
                }
            });
        }
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (stream, sender) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Mostly: no descriptor is free. Waiting is all that helps.
                    tracing::warn!(%error, "could not accept a dns connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Some(sandbox) = self.sandbox(sender) else {
                continue;
            };
            let Some(place) = self.connections.take(sandbox) else {
                continue;
            };
            let shared = self.clone();
            tokio::spawn(async move {
                if let Err(error) = shared.serve_connection(stream, sandbox).await {
                    tracing::debug!(%error, %sender, "a dns connection ended early");
                }
                drop(place);
            });
        }
    }

    async fn serve_connection(&self, mut stream: TcpStream, sandbox: Ipv4Addr) -> io::Result<()> {
        for _ in 0..MAX_PER_CONNECTION {
            let Ok(query) = timeout(IDLE_LIMIT, read_message(&mut stream, MAX_DATAGRAM)).await else {
                break;
            };
            let query = match query {
                Ok(query) if is_query(&query) => query,
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            };
            let answer = match self.queries.take(sandbox) {
                Some(_turn) => self.ask(&query, Way::Tcp).await,
                None => None,
            };
            let answer = answer.unwrap_or_else(|| server_failure(&query));
            // A client that does not read must not hold its place for ever.
            match timeout(IDLE_LIMIT, write_message(&mut stream, &answer)).await {
                Ok(written) => written?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// The first resolver's answer. The time is shared among them, so that one that is down does not use it all.
    async fn ask(&self, query: &[u8], way: Way) -> Option<Vec<u8>> {
        let resolvers = self.resolvers.now();
        let share = QUERY_LIMIT / u32::try_from(resolvers.len().max(1)).unwrap_or(1);
        for resolver in resolvers {
            let asked = async {
                match way {
                    Way::Udp => ask_by_udp(query, resolver).await,
                    Way::Tcp => ask_by_tcp(query, resolver).await,
                }
            };
            match timeout(share, asked).await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(error)) => tracing::debug!(%resolver, %error, "a resolver failed"),
                Err(_) => tracing::debug!(%resolver, "a resolver did not answer in time"),
            }
        }
        None
    }
}

#[derive(Clone, Copy)]
enum Way {
    Udp,
    Tcp,
}

/// Each query has a socket of its own: its random port is what makes forged answers hard.
async fn ask_by_udp(query: &[u8], resolver: SocketAddr) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match resolver {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(resolver).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if answers(&buffer[..length], query) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn ask_by_tcp(query: &[u8], resolver: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    write_message(&mut stream, query).await?;
    let answer = read_message(&mut stream, usize::from(u16::MAX)).await?;
    if answers(&answer, query) {
        Ok(answer)
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

async fn read_message(stream: &mut TcpStream, most: usize) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > most {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    stream.write_all(&framed).await
}

#[cfg(test)]
mod tests {
    use tokio::{net::TcpSocket, sync::Semaphore};

    use super::{message::tests::query, *};

    fn shared(resolvers: Vec<SocketAddr>) -> Shared {
        Shared {
            block: AddressBlock::default(),
            resolvers: Known::new(Resolvers::Fixed(resolvers)),
            queries: Turns::new(SURE_QUERIES_EACH, MAX_QUERIES_EACH, MAX_QUERIES),
            connections: Turns::new(MAX_CONNECTIONS_EACH, MAX_CONNECTIONS_EACH, 0),
        }
    }

    #[test]
    fn only_the_sandboxes_ends_of_links_are_heard() {
        for (sender, sandbox) in [
            ("10.213.0.1:5", true),
            ("10.213.0.0:5", false),
            ("127.0.0.1:5", false),
            ("[::1]:5", false),
        ] {
            assert_eq!(
                shared(vec![]).sandbox(sender.parse().unwrap()).is_some(),
                sandbox,
                "{sender}"
            );
        }
    }

    /// A resolver that answers by UDP and TCP, but not what has 0xFF as the number's first byte; what it has heard of those.
    async fn resolver() -> (SocketAddr, Arc<Semaphore>) {
        let (udp, tcp) = listen().await.unwrap();
        let address = (Ipv4Addr::LOCALHOST, udp.local_addr().unwrap().port()).into();
        let slow = Arc::new(Semaphore::new(0));
        let heard = slow.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (length, sender) = udp.recv_from(&mut buffer).await.unwrap();
                if buffer[0] == 0xFF {
                    heard.add_permits(1);
                    continue;
                }
                buffer[2] |= 0x80;
                udp.send_to(&buffer[..length], sender).await.unwrap();
            }
        });
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let mut answer = read_message(&mut stream, 512).await.unwrap();
                answer[2] |= 0x80;
                write_message(&mut stream, &answer).await.unwrap();
            }
        });
        (address, slow)
    }

    async fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(to).await.unwrap()
    }

    #[tokio::test]
    async fn many_greedy_sandboxes_leave_another_its_answers() {
        const GREEDY: u8 = 100;
        let (resolver, slow) = resolver().await;
        let block = "127.0.0.0/8".parse().unwrap();
        let forwarder = Forwarder::start(block, Resolvers::Fixed(vec![resolver]))
            .await
            .unwrap();
        let here: SocketAddr = (Ipv4Addr::LOCALHOST, forwarder.port()).into();
        // Each asks for names that are slow as often as it may, and opens connections on which it says nothing.
        let mut held = Vec::new();
        for n in 0..GREEDY {
            let from = Ipv4Addr::new(127, 1, n, 1);
            let udp = UdpSocket::bind((from, 0)).await.unwrap();
            udp.connect(here).await.unwrap();
            let (mut refused, mut buffer) = (false, [0; 512]);
            let mut asked = 0;
            while !refused {
                asked += 1;
                assert!(
                    asked <= MAX_QUERIES_EACH + 1,
                    "one sandbox had {asked} queries under way"
                );
                udp.send(&[&[0xFF, asked as u8], &query()[2..]].concat())
                    .await
                    .unwrap();
                refused = tokio::select! {
                    biased;
                    heard = slow.acquire() => { heard.unwrap().forget(); false }
                    read = udp.recv(&mut buffer) => { read.unwrap(); true }
                };
            }
            assert!(asked > SURE_QUERIES_EACH, "{n}: {asked}");
            for _ in 0..MAX_CONNECTIONS_EACH {
                held.push(connect(from, here).await);
            }
            // One more is closed at once.
            let more = connect(from, here).await.read_u8().await.unwrap_err().kind();
            assert!(matches!(
                more,
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
            ));
        }

        let other = Ipv4Addr::new(127, 2, 0, 1);
        let udp = UdpSocket::bind((other, 0)).await.unwrap();
        udp.connect(here).await.unwrap();
        udp.send(&query()).await.unwrap();
        let mut buffer = [0; 512];
        let length = udp.recv(&mut buffer).await.unwrap();
        let whole = |answer: &[u8]| answers(answer, &query()) && answer != server_failure(&query());
        assert!(whole(&buffer[..length]));
        let mut tcp = connect(other, here).await;
        write_message(&mut tcp, &query()).await.unwrap();
        assert!(whole(&read_message(&mut tcp, 512).await.unwrap()));
    }

    #[tokio::test]
    async fn the_second_resolver_is_asked_when_the_first_is_not_there() {
        let resolver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = resolver.local_addr().unwrap();
        let nobody = UdpSocket::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let shared = shared(vec![nobody, address]);
        let serve = tokio::spawn(async move {
            let mut buffer = [0; 512];
            let (length, sender) = resolver.recv_from(&mut buffer).await.unwrap();
            // A forged number first: it is not taken.
            let mut forged = buffer[..length].to_vec();
            forged[2] |= 0x80;
            forged[0] ^= 0xff;
            resolver.send_to(&forged, sender).await.unwrap();
            buffer[2] |= 0x80;
            resolver.send_to(&buffer[..length], sender).await.unwrap();
        });
        let answer = shared.ask(&query(), Way::Udp).await.unwrap();
        assert!(answers(&answer, &query()));
        serve.await.unwrap();
    }
}
