//! What sandboxes may reach: one nftables table for the server.
//!
//! The rules speak of interface names with the server's prefix and of address ranges, never of single sandboxes, so
//! nothing has to be added or removed when a sandbox comes or goes. That includes spoofing: instead of a set of pairs
//! (interface, address) the kernel's own routes are asked whether an answer to the sender would leave through the
//! interface where the packet came in. The routes come and go with the links.
//!
//! | from a sandbox to | |
//! |---|---|
//! | port 53 anywhere | the server's DNS forwarder |
//! | any other port of the host, whatever the address | refused at once |
//! | private, link-local (cloud metadata), shared and multicast ranges | refused at once |
//! | other sandboxes | refused at once |
//! | anything with IPv6, or with a sender that is not its own | dropped |
//! | more than 4096 connections at once | refused at once |
//! | public addresses | forwarded behind the host's address |
//!
//! "At once" is a reset for TCP. Everything else gets an ICMP error, of which the kernel sends only a few in a row and then
//! one a second to the same address; a refused connection must not wait for that.

use std::{fmt::Write as _, time::Duration};

use crate::{StepError, network::AddressBlock, program};

/// One transaction takes a few milliseconds.
const LIMIT: Duration = Duration::from_secs(10);

/// Connections of one sandbox at once, with those that have just ended. The kernel's table of them is common to the whole
/// machine, and a session that fills it would cut off everybody.
const MAX_CONNECTIONS: u32 = 4096;

/// Ranges that are not the public internet.
const REFUSED: [&str; 10] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
];

/// The server's table.
#[derive(Debug, Clone)]
pub(crate) struct Firewall {
    /// Four hexadecimal digits that name the server.
    pub(crate) tag: String,
    /// Addresses of sandboxes.
    pub(crate) block: AddressBlock,
    /// Where the DNS forwarder listens.
    pub(crate) dns_port: u16,
}

impl Firewall {
    /// Makes the table, or makes it anew: one transaction, so there is no moment without rules.
    pub(crate) fn apply(&self) -> Result<(), StepError> {
        nft(&self.rules())
    }

    /// Removes the table, if it is there.
    pub(crate) fn remove(&self) -> Result<(), StepError> {
        let table = self.table();
        nft(&format!("add table {table}\ndelete table {table}\n"))
    }

    fn table(&self) -> String {
        format!("inet berth_{}", self.tag)
    }

    fn rules(&self) -> String {
        let Self { block, dns_port, tag } = self;
        let table = self.table();
        let sandbox = format!("\"bv{tag}-*\"");
        let mut refused = String::new();
        for range in REFUSED {
            let _ = write!(refused, "{range}, ");
        }
        format!(
            "\
add table {table}
delete table {table}
table {table} {{
    set refused {{
        type ipv4_addr
        flags interval
        auto-merge
        elements = {{ {refused}{block} }}
    }}

    set connections {{
        type ipv4_addr
        size 65536
        flags dynamic
    }}

    chain spoofed {{
        type filter hook prerouting priority raw; policy accept;
        iifname != {sandbox} return
        meta nfproto != ipv4 drop
        ip saddr != {block} drop
        fib saddr . iif oif missing drop
    }}

    chain names {{
        type nat hook prerouting priority dstnat; policy accept;
        iifname {sandbox} udp dport 53 redirect to :{dns_port}
        iifname {sandbox} tcp dport 53 redirect to :{dns_port}
    }}

    chain refuse {{
        meta l4proto tcp reject with tcp reset
        reject with icmpx type admin-prohibited
    }}

    chain host {{
        type filter hook input priority filter; policy accept;
        iifname {sandbox} goto host_from_sandbox
        meta l4proto {{ tcp, udp }} th dport {dns_port} iifname != \"lo\" fib daddr type local drop
    }}

    chain host_from_sandbox {{
        ct state established,related accept
        add @connections {{ ip saddr ct count over {MAX_CONNECTIONS} }} goto refuse
        meta l4proto {{ tcp, udp }} th dport {dns_port} ct status dnat accept
        goto refuse
    }}

    chain onward {{
        type filter hook forward priority filter; policy accept;
        iifname {sandbox} goto onward_from_sandbox
        oifname {sandbox} ct state established,related accept
        oifname {sandbox} drop
    }}

    chain onward_from_sandbox {{
        ct state established,related accept
        add @connections {{ ip saddr ct count over {MAX_CONNECTIONS} }} goto refuse
        ip daddr @refused goto refuse
        oifname {sandbox} goto refuse
        accept
    }}

    chain outgoing {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {block} oifname != {sandbox} masquerade
    }}
}}
"
        )
    }
}

fn nft(script: &str) -> Result<(), StepError> {
    let mut command = program::command("nft");
    command.args(["-f", "-"]);
    program::run(command, "-f", Some(script), LIMIT).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firewall() -> Firewall {
        Firewall {
            tag: "0a1b".into(),
            block: AddressBlock::default(),
            dns_port: 40053,
        }
    }

    #[test]
    fn the_table_replaces_itself_in_one_transaction() {
        let rules = firewall().rules();
        assert!(rules.starts_with("add table inet berth_0a1b\ndelete table inet berth_0a1b\ntable inet"));
        assert_eq!(rules.matches('{').count(), rules.matches('}').count());
    }

    #[test]
    fn the_metadata_address_and_the_block_itself_are_refused() {
        let rules = firewall().rules();
        assert!(rules.contains("169.254.0.0/16"));
        assert!(rules.contains(", 10.213.0.0/16 }"));
    }
}
