//! The network of sandboxes: one veth pair each, one nftables table and one DNS forwarder for the server.
//!
//! A sandbox reaches public addresses through the host's default route and nothing else: see [`firewall`]. Numbers of
//! sandboxes are machine-wide unique (see `local::registry`), and with them the /31 networks cut from one block.

pub(crate) mod addresses;
pub(crate) mod dns;
pub(crate) mod firewall;
pub(crate) mod link;
pub(crate) mod uplink;

use std::{fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Serialize};

/// IPv4 addresses for sandboxes, two for each. Servers on one machine use the same block, or blocks that do not touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressBlock {
    base: u32,
    prefix: u8,
}

/// The text is no [`AddressBlock`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("address block {0:?} is not an IPv4 network of /8 to /30 without host bits, such as 10.213.0.0/16")]
pub struct InvalidBlock(String);

impl Default for AddressBlock {
    fn default() -> Self {
        Self {
            base: u32::from(Ipv4Addr::new(10, 213, 0, 0)),
            prefix: 16,
        }
    }
}

impl AddressBlock {
    /// Sandboxes that have addresses in it at the same time.
    pub fn capacity(self) -> u32 {
        1 << (31 - u32::from(self.prefix))
    }

    /// The host's and the sandbox's address for a number. The two are one /31.
    pub(crate) fn pair(self, slot: u16) -> (Ipv4Addr, Ipv4Addr) {
        let host = self.base + 2 * u32::from(slot);
        (Ipv4Addr::from(host), Ipv4Addr::from(host + 1))
    }

    /// The address is in the block.
    pub(crate) fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) >> (32 - u32::from(self.prefix)) == self.base >> (32 - u32::from(self.prefix))
    }
}

impl fmt::Display for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.prefix)
    }
}

impl FromStr for AddressBlock {
    type Err = InvalidBlock;

    fn from_str(text: &str) -> Result<Self, InvalidBlock> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let base = u32::from(address.parse::<Ipv4Addr>().ok()?);
            let prefix: u8 = prefix.parse().ok()?;
            let valid = (8..=30).contains(&prefix) && base << prefix == 0;
            valid.then_some(Self { base, prefix })
        };
        parse().ok_or_else(|| InvalidBlock(text.chars().take(64).collect()))
    }
}

impl TryFrom<String> for AddressBlock {
    type Error = InvalidBlock;

    fn try_from(text: String) -> Result<Self, InvalidBlock> {
        text.parse()
    }
}

impl From<AddressBlock> for String {
    fn from(block: AddressBlock) -> Self {
        block.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_default_block_holds_a_pair_for_each_number() {
        let block = AddressBlock::default();
        assert_eq!(block.to_string(), "10.213.0.0/16");
        assert_eq!(block.capacity(), 32768);
        assert_eq!(
            block.pair(0),
            (Ipv4Addr::new(10, 213, 0, 0), Ipv4Addr::new(10, 213, 0, 1))
        );
        assert_eq!(
            block.pair(32767),
            (Ipv4Addr::new(10, 213, 255, 254), Ipv4Addr::new(10, 213, 255, 255))
        );
    }

    #[test]
    fn blocks_that_are_none_are_refused() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/7",
            "10.0.0.0/31",
            "10.0.0.1/16",
            "10.0.0.0/x",
            "fd00::/16",
        ] {
            assert!(text.parse::<AddressBlock>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn pairs_are_in_the_block_and_do_not_overlap(prefix in 8u8..=30, base: u32, a: u16, b: u16) {
            let base = base >> (32 - u32::from(prefix)) << (32 - u32::from(prefix));
            let block: AddressBlock = format!("{}/{prefix}", Ipv4Addr::from(base)).parse().unwrap();
            prop_assert_eq!(block.to_string().parse::<AddressBlock>().unwrap(), block);
            let last = u16::try_from(block.capacity() - 1).unwrap_or(u16::MAX);
            let (a, b) = (a.min(last), b.min(last));
            prop_assert!(block.contains(block.pair(a).0) && block.contains(block.pair(a).1));
            prop_assert_eq!(block.pair(a) == block.pair(b), a == b);
        }
    }
}
