//! What a sandbox reaches of the network: public addresses and names, and nothing else.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod support;

use std::{net::SocketAddr, process::Command, time::Instant};

use serde_json::{Value, json};
use support::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
};

/// The errors of a connection that somebody on the way refuses at once.
fn refused(answer: &Value) -> bool {
    let errno = answer["errno"].as_i64();
    [
        libc::EHOSTUNREACH,
        libc::ENETUNREACH,
        libc::ECONNREFUSED,
        libc::EACCES,
        libc::EINVAL,
    ]
    .iter()
    .any(|known| errno == Some(i64::from(*known)))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_public_is_refused_at_once() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    let other = server.create("two").await;
    // The host's other ports by UDP: nothing comes in.
    let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let udp = format!(
        "{}:{}",
        gateway(&sandbox).await,
        socket.local_addr().unwrap().port()
    );
    let answer = ask(&sandbox, json!({ "resolve": udp })).await;
    assert!(answer["errno"].is_i64(), "{answer}");
    assert_eq!(
        socket.try_recv(&mut [0; 16]).unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
    // Something listens everywhere on the host, so that only the firewall can refuse.
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut targets: Vec<String> = [
        "169.254.169.254:80",
        "10.0.0.1:80",
        "172.16.0.1:443",
        "192.168.1.1:22",
        "100.64.0.1:80",
        "198.18.0.1:80",
        "192.0.0.1:80",
        "240.0.0.1:80",
    ]
    .map(String::from)
    .to_vec();
    targets.extend(host_addresses().iter().map(|address| format!("{address}:{port}")));
    targets.push(format!("{}:{port}", gateway(&sandbox).await));
    shell(&other, "nc -l -p 80 </dev/null >/dev/null 2>&1 &").await;
    eventually_inside(&other, "netstat -ltn | grep -q :80").await;
    targets.push(format!("{}:80", address(&other).await));
    for target in targets {
        let begin = Instant::now();
        let answer = ask(&sandbox, json!({ "connect": target })).await;
        assert!(refused(&answer), "{target}: {answer}");
        // Long before a packet that was dropped would be sent a third time.
        assert!(begin.elapsed() < SOON / 2, "{target} took {:?}", begin.elapsed());
    }
    server.close().await;
}

/// Waits until a command in a sandbox succeeds.
async fn eventually_inside(sandbox: &berth_sandbox::Sandbox, command: &str) {
    let end = Instant::now() + SOON;
    while try_shell(sandbox, 0, command).await.0 != Some(0) {
        assert!(Instant::now() < end, "`{command}` never succeeded");
    }
}

/// Only the host can put another address into a sandbox. If one got there all the same, its packets would be dropped.
#[tokio::test(flavor = "multi_thread")]
async fn packets_with_another_sender_are_dropped() {
    let nobody = UdpSocket::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let server = Server::start_with(|config| config.resolvers = vec![nobody]).await;
    let sandbox = server.create("one").await;
    let other = server.create("two").await;
    let gateway = gateway(&sandbox).await;
    let pid = fs_err::read_to_string(server.state().join("one/pid")).unwrap();
    let inside = |args: &[&str]| {
        let output = Command::new("nsenter")
            .args(["-t", pid.trim(), "-n", "ip"])
            .args(args)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let (own, forged) = (address(&sandbox).await, address(&other).await);
    for (sender, answered) in [(&own, true), (&forged, false), (&own, true)] {
        inside(&["addr", "replace", &format!("{sender}/32"), "dev", "eth0"]);
        inside(&[
            "route", "replace", "default", "via", &gateway, "dev", "eth0", "src", sender,
        ]);
        let answer = ask(&sandbox, json!({ "resolve": "8.8.8.8:53", "limit": 1 })).await;
        // Any answer will do; the one that comes is "server failure".
        assert_eq!(answer["answer"].is_array(), answered, "{sender}: {answer}");
    }
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_ipv6() {
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    assert_eq!(shell(&sandbox, "cat /proc/net/if_inet6 2>/dev/null").await, "");
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_resolved_by_the_hosts_resolver_whatever_is_asked() {
    let resolver = Resolver::start().await;
    let address = resolver.address;
    let server = Server::start_with(|config| config.resolvers = vec![address]).await;
    let sandbox = server.create("one").await;
    let own = format!("{}:53", gateway(&sandbox).await);
    // The second is refused for everything but names, the third is public.
    for nameserver in [own.as_str(), "10.255.255.53:53", "8.8.8.8:53"] {
        for tcp in [false, true] {
            let answer = ask(&sandbox, json!({ "resolve": nameserver, "tcp": tcp })).await;
            let bytes = answer["answer"]
                .as_array()
                .unwrap_or_else(|| panic!("{nameserver} {tcp}: {answer}"));
            // The query's number, the answer bit, and the address that the resolver gave.
            assert_eq!(bytes[..2], [0x12, 0x34], "{answer}");
            assert_eq!(bytes[bytes.len() - 4..], [192, 0, 2, 77], "{answer}");
        }
    }
    // As programs do it.
    let said = shell(&sandbox, "nslookup -type=a example.test").await;
    assert!(said.contains("192.0.2.77"), "{said}");
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_that_is_down_is_an_answer_too() {
    let nobody = UdpSocket::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let server = Server::start_with(|config| config.resolvers = vec![nobody]).await;
    let sandbox = server.create("one").await;
    let own = format!("{}:53", gateway(&sandbox).await);
    let answer = ask(&sandbox, json!({ "resolve": own })).await;
    // "Server failure".
    assert_eq!(
        answer["answer"][3].as_u64().map(|flags| flags & 15),
        Some(2),
        "{answer}"
    );
    server.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_forwarder_serves_sandboxes_only() {
    let resolver = Resolver::start().await;
    let address = resolver.address;
    let server = Server::start_with(|config| config.resolvers = vec![address]).await;
    let table = format!("berth_{}", server.tag());
    let rules = Command::new("nft")
        .args(["list", "table", "inet", &table])
        .output()
        .unwrap();
    let rules = String::from_utf8(rules.stdout).unwrap();
    let port = rules
        .split("redirect to :")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    // From the host itself the socket can be reached, and does not answer.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(format!("127.0.0.1:{port}")).await.unwrap();
    socket
        .send(&[0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    // A sandbox's query, sent later, is answered first.
    let sandbox = server.create("one").await;
    let own = format!("{}:53", gateway(&sandbox).await);
    assert!(ask(&sandbox, json!({ "resolve": own })).await["answer"].is_array());
    assert!(socket.try_recv(&mut [0; 16]).is_err());
    // A sandbox that asks the port directly, not redirected, is refused.
    let direct = format!("{}:{port}", gateway(&sandbox).await);
    assert!(refused(&ask(&sandbox, json!({ "connect": direct })).await));
    server.close().await;
}

/// A namespace that plays the internet, behind a link whose route covers one public address.
#[tokio::test(flavor = "multi_thread")]
async fn public_addresses_are_reached_from_behind_the_host() {
    let outside = Outside::build();
    let server = Server::start().await;
    let sandbox = server.create("one").await;
    let answer = ask(
        &sandbox,
        json!({ "connect": format!("{}:7777", Outside::PUBLIC) }),
    )
    .await;
    // The server there says who it sees: the host, not the sandbox.
    assert_eq!(
        answer["line"].as_str().map(str::trim),
        Some(Outside::HOST),
        "{answer}"
    );
    // And it cannot call back: there is no way in.
    let inner = address(&sandbox).await;
    let route = Command::new("ip")
        .args([
            "netns",
            "exec",
            outside.name(),
            "busybox",
            "nc",
            "-w",
            "1",
            &inner,
            "80",
        ])
        .output()
        .unwrap();
    assert!(!route.status.success());
    server.close().await;
}

/// Addresses of the host on all interfaces.
fn host_addresses() -> Vec<String> {
    let output = Command::new("ip")
        .args(["-4", "-o", "addr", "show"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| {
            line.split_whitespace()
                .nth(3)?
                .split('/')
                .next()
                .map(str::to_owned)
        })
        // Other tests' links come and go, and inside 127.0.0.1 is the sandbox itself.
        .filter(|address| !address.starts_with("127.") && !address.starts_with("10.213."))
        .collect()
}

/// The host's end, which is also the name server.
async fn gateway(sandbox: &berth_sandbox::Sandbox) -> String {
    shell(sandbox, "ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p'").await
}

async fn address(sandbox: &berth_sandbox::Sandbox) -> String {
    shell(
        sandbox,
        "ip -4 addr show eth0 | sed -n 's/.*inet \\([^/]*\\).*/\\1/p'",
    )
    .await
}

/// Plays the host's resolver, by UDP and TCP on one port: every name is 192.0.2.77.
struct Resolver {
    address: SocketAddr,
    _tasks: [tokio_util::task::AbortOnDropHandle<()>; 2],
}

impl Resolver {
    async fn start() -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(address).await.unwrap();
        let by_udp = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, sender)) = udp.recv_from(&mut buffer).await {
                let _ = udp.send_to(&Self::answer(&buffer[..length]), sender).await;
            }
        });
        let by_tcp = tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let Ok(length) = stream.read_u16().await else {
                    continue;
                };
                let mut query = vec![0; length.into()];
                if stream.read_exact(&mut query).await.is_err() {
                    continue;
                }
                let answer = Self::answer(&query);
                let _ = stream.write_u16(u16::try_from(answer.len()).unwrap()).await;
                let _ = stream.write_all(&answer).await;
            }
        });
        Self {
            address,
            _tasks: [by_udp, by_tcp].map(tokio_util::task::AbortOnDropHandle::new),
        }
    }

    fn answer(query: &[u8]) -> Vec<u8> {
        let mut answer = query.to_vec();
        answer[2] = 0x81;
        answer[3] = 0x80;
        answer[7] = 1;
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 77]);
        answer
    }
}

/// A network namespace with one public address and a server that tells callers their address.
struct Outside {
    name: String,
    link: String,
    server: std::process::Child,
}

impl Outside {
    /// Addresses that are set aside for examples in documents, so nothing real is covered.
    const HOST: &str = "203.0.113.1";
    const PUBLIC: &str = "203.0.113.2";

    fn build() -> Self {
        let pid = std::process::id();
        let (name, link) = (format!("berth-test-{pid}"), format!("bt{pid}"));
        let ip = |args: &str| {
            let output = Command::new("ip").args(args.split_whitespace()).output().unwrap();
            assert!(
                output.status.success(),
                "ip {args}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        ip(&format!("netns add {name}"));
        ip(&format!("link add {link} type veth peer name eth0 netns {name}"));
        ip(&format!("addr add {}/30 dev {link}", Self::HOST));
        ip(&format!("link set {link} up"));
        ip(&format!("-n {name} addr add {}/30 dev eth0", Self::PUBLIC));
        ip(&format!("-n {name} link set eth0 up"));
        ip(&format!("-n {name} route add default via {}", Self::HOST));
        // As the server does it for the interface of the default route.
        fs_err::write(format!("/proc/sys/net/ipv4/conf/{link}/forwarding"), "1").unwrap();
        let mut server = Command::new("ip")
            .args(["netns", "exec", &name])
            .arg(stand_in())
            .arg("greet")
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(server.stdout.take().unwrap()),
            &mut line,
        )
        .unwrap();
        assert_eq!(line, "greeting\n");
        Self { name, link, server }
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
        // Its end in the namespace takes it along; by name it would be gone already, or not yet.
        let _ = Command::new("ip").args(["link", "del", &self.link]).output();
    }
}
