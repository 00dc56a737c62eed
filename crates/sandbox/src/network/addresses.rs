//! The addresses of this machine, as others reach it.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};

use super::link::in_runtime;
use crate::{StepError, local::registry::slot_of};

/// Asks the kernel. Left out is what comes and goes (ends of sandboxes' links, temporary IPv6 addresses) and what means
/// nothing without an interface (link-local IPv6 addresses). Must not be called on a thread of an asynchronous runtime.
pub fn host_addresses() -> Result<Vec<IpAddr>, StepError> {
    let failed = |source| StepError::Netlink {
        step: "list the addresses",
        interface: "any".to_owned(),
        source,
    };
    let messages: Vec<_> = in_runtime(async |handle| {
        let messages = handle.address().get().execute();
        messages.try_collect().await.map_err(failed)
    })?;
    let mut addresses: Vec<_> = messages.iter().filter_map(lasting).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

fn lasting(message: &AddressMessage) -> Option<IpAddr> {
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Label(name) if slot_of(name).is_some() => return None,
            // The peer's end, on a link between two; elsewhere the same as `Local`.
            AddressAttribute::Address(other) => address = address.or(Some(*other)),
            AddressAttribute::Local(own) => address = Some(*own),
            _ => {}
        }
    }
    // On an IPv6 address the kernel's flag for a secondary one says that it is temporary.
    address.filter(|address| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(own) => {
            !own.is_unicast_link_local() && !message.header.flags.contains(AddressHeaderFlags::Secondary)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_address_is_there() {
        let addresses = host_addresses().unwrap();
        assert!(addresses.contains(&IpAddr::from([127, 0, 0, 1])), "{addresses:?}");
    }

    #[test]
    fn an_address_of_a_sandbox_is_left_out() {
        let mut message = AddressMessage::default();
        let local = AddressAttribute::Local([10, 213, 0, 2].into());
        message.attributes = vec![local, AddressAttribute::Label("eth0".into())];
        assert_eq!(lasting(&message), Some([10, 213, 0, 2].into()));
        message.attributes[1] = AddressAttribute::Label("bv0a1b-2".into());
        assert_eq!(lasting(&message), None);
    }
}
