//! The veth pair between the host and one sandbox.
//!
//! The runtime makes the network namespace, because `/sys` can only be mounted if the sandbox's user namespace owns it.
//! Between the runtime's `create` and `start` the pair is made with its inner end placed by process number, so the first
//! process sees a finished network. Nobody deletes the pair: it goes with the namespace. Deleting it by name would wait
//! 16 ms for the kernel.

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::AsFd as _,
    thread,
    time::{Duration, Instant},
};

use futures_util::TryStreamExt as _;
use netlink_packet_route::link::{InfoData, InfoVeth};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection};

use crate::{StepError, network::uplink, sys::mounts};

/// The interface inside.
const INNER: &str = "eth0";

/// How long the kernel may take to notice that a link is up; it allows itself a second.
const CARRIER_LIMIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_micros(200);

/// How long the kernel may take to answer a few requests; it needs some tenths of a millisecond.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What one link is made of.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    /// Name of the host's end.
    pub(crate) name: String,
    /// Address of the host's end.
    pub(crate) host: Ipv4Addr,
    /// Address of the sandbox.
    pub(crate) inner: Ipv4Addr,
    /// Largest packet.
    pub(crate) mtu: u32,
}

impl Link {
    /// Connects the network namespace of the process `pid`, which waits to be started.
    pub(crate) fn connect(self, pid: i32) -> Result<(), StepError> {
        // Its own thread, because it stays in the sandbox's namespace until it ends.
        let worker = thread::Builder::new()
            .name("sandbox-link".into())
            .spawn(move || self.work(pid))
            .map_err(StepError::system("start a thread"))?;
        worker.join().map_err(|_| StepError::Lost("network link"))?
    }

    fn work(&self, pid: i32) -> Result<(), StepError> {
        let pid = u32::try_from(pid).map_err(|_| StepError::Unexpected {
            what: "the first process of the sandbox",
            got: pid.to_string(),
            expected: "it must be a process number",
        })?;
        let path = format!("/proc/{pid}/ns/net");
        let namespace = File::open(&path).map_err(StepError::path("open", path))?;
        in_runtime(async |handle| self.make(&handle, pid).await)?;
        self.set_switches()?;
        in_runtime(async |handle| self.set_up_outer(&handle).await)?;
        mounts::enter_network_namespace(namespace.as_fd())
            .map_err(StepError::system("enter the network namespace of the sandbox"))?;
        in_runtime(async |handle| self.set_up_inner(&handle).await)?;
        self.wait_until_it_carries();
        Ok(())
    }

    /// Waits until the kernel has noticed that both ends are up.
    ///
    /// The outer end was up first, without a peer, and drops what it should send until a worker of the kernel has looked
    /// at it again. That takes well under a millisecond, but up to a second on a busy machine, and the answer to a
    /// sandbox's first question would be lost. There is no harm beyond that, so this does not fail.
    fn wait_until_it_carries(&self) {
        // As seen from the host, in whose `/sys` this thread still is.
        let path = format!("/sys/class/net/{}/operstate", self.name);
        let end = Instant::now() + CARRIER_LIMIT;
        while fs_err::read_to_string(&path)
            .is_ok_and(|state| matches!(state.trim(), "down" | "lowerlayerdown"))
        {
            if Instant::now() > end {
                tracing::debug!(link = self.name, "the network link is slow to come up");
                return;
            }
            thread::sleep(PAUSE);
        }
    }

    async fn make(&self, handle: &Handle, pid: u32) -> Result<(), StepError> {
        let inner = LinkMessageBuilder::<LinkUnspec>::new()
            .name(INNER)
            .mtu(self.mtu)
            .setns_by_pid(pid)
            .build();
        let outer = LinkVeth::new(&self.name, INNER)
            .mtu(self.mtu)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(inner)))
            .build();
        let first = handle.link().add(outer.clone()).execute().await;
        let Err(rtnetlink::Error::NetlinkError(error)) = &first else {
            return first.map_err(self.failed("make the pair"));
        };
        if error.raw_code() != -libc::EEXIST {
            return first.map_err(self.failed("make the pair"));
        }
        // An earlier sandbox with this number has ended, and the kernel has not taken its pair away yet.
        if let Ok(index) = self.index_of(handle, &self.name).await {
            let removed = handle.link().del(index).execute().await;
            if let Err(error) = removed {
                tracing::debug!(link = self.name, %error, "could not remove the old link");
            }
        }
        handle
            .link()
            .add(outer)
            .execute()
            .await
            .map_err(self.failed("make the pair"))
    }

    fn set_switches(&self) -> Result<(), StepError> {
        uplink::set(&self.name, "forwarding", "1")?;
        // Packets with a sender that does not belong to this link are dropped, here and in the firewall.
        uplink::set(&self.name, "rp_filter", "1")?;
        let path = format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", self.name);
        if std::path::Path::new(&path).exists() {
            fs_err::write(&path, "1").map_err(StepError::path("set", path))?;
        }
        Ok(())
    }

    async fn set_up_outer(&self, handle: &Handle) -> Result<(), StepError> {
        let index = self.index_of(handle, &self.name).await?;
        self.add_address(handle, index, self.host).await?;
        self.up(handle, index).await
    }

    async fn set_up_inner(&self, handle: &Handle) -> Result<(), StepError> {
        let loopback = self.index_of(handle, "lo").await?;
        self.up(handle, loopback).await?;
        let index = self.index_of(handle, INNER).await?;
        self.add_address(handle, index, self.inner).await?;
        self.up(handle, index).await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .gateway(self.host)
            .output_interface(index)
            .build();
        handle
            .route()
            .add(route)
            .execute()
            .await
            .map_err(self.failed("add the default route"))
    }

    async fn add_address(&self, handle: &Handle, index: u32, address: Ipv4Addr) -> Result<(), StepError> {
        let request = handle.address().add(index, IpAddr::V4(address), 31);
        request.execute().await.map_err(self.failed("set the address"))
    }

    async fn up(&self, handle: &Handle, index: u32) -> Result<(), StepError> {
        let message = LinkUnspec::new_with_index(index).up().build();
        handle
            .link()
            .set(message)
            .execute()
            .await
            .map_err(self.failed("bring up an end"))
    }

    async fn index_of(&self, handle: &Handle, name: &str) -> Result<u32, StepError> {
        let found = handle
            .link()
            .get()
            .match_name(name.to_owned())
            .execute()
            .try_next()
            .await;
        let message = found.and_then(|found| found.ok_or(rtnetlink::Error::RequestFailed));
        message
            .map(|message| message.header.index)
            .map_err(self.failed("find an end"))
    }

    fn failed(&self, step: &'static str) -> impl FnOnce(rtnetlink::Error) -> StepError {
        move |source| StepError::Netlink {
            step,
            interface: self.name.clone(),
            source,
        }
    }
}

/// Runs netlink requests in the network namespace that the calling thread is in now.
pub(super) fn in_runtime<T>(work: impl AsyncFnOnce(Handle) -> Result<T, StepError>) -> Result<T, StepError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(StepError::system("start a netlink runtime"))?;
    runtime.block_on(async {
        let (connection, handle, _) = new_connection().map_err(StepError::system("open a netlink socket"))?;
        tokio::spawn(connection);
        let late = io::Error::new(io::ErrorKind::TimedOut, "the kernel did not answer in time");
        let worked = tokio::time::timeout(ANSWER_LIMIT, work(handle)).await;
        worked.unwrap_or_else(|_| Err(StepError::system("set up the network link")(late)))
    })
}
