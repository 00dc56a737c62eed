//! The way out: the interface of the host's default route, and the switches that packets need on the way.
//!
//! Forwarding is switched on for single interfaces. The kernel looks at the interface where a packet comes in, so the
//! uplink and the sandboxes' ends are enough, and the host does not become a router for its other networks.

use std::{collections::HashSet, path::Path, sync::Mutex};

use crate::StepError;

/// What the kernel calls an interface's own settings.
const SETTINGS: &str = "/proc/sys/net/ipv4/conf";

/// Packets of a usual Ethernet.
pub(crate) const USUAL_MTU: u32 = 1500;

/// Smaller ones are not worth having.
const LEAST_MTU: u32 = 576;

/// Uplinks for which forwarding is on already.
#[derive(Debug, Default)]
pub(crate) struct Uplinks(Mutex<HashSet<String>>);

impl Uplinks {
    /// Switches forwarding on for the interfaces of the default routes as they are now, and returns the size of packets
    /// that fits all of them. A host without a default route is fine: its sandboxes reach nothing.
    pub(crate) fn prepare(&self) -> Result<u32, StepError> {
        let table = fs_err::read_to_string("/proc/net/route")
            .map_err(StepError::path("read the routes in", "/proc/net/route"))?;
        let mut mtu = USUAL_MTU;
        for name in default_interfaces(&table) {
            let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if !known.contains(&name) {
                set(&name, "forwarding", "1")?;
                known.insert(name.clone());
            }
            let size = fs_err::read_to_string(format!("/sys/class/net/{name}/mtu")).unwrap_or_default();
            mtu = mtu.min(size.trim().parse().unwrap_or(USUAL_MTU));
        }
        Ok(mtu.max(LEAST_MTU))
    }
}

/// Sets one setting of one interface, in the network namespace of the calling thread.
pub(crate) fn set(interface: &str, setting: &str, value: &str) -> Result<(), StepError> {
    let path = Path::new(SETTINGS).join(interface).join(setting);
    // Written only if it differs: in some containers these files are read-only but already right.
    if fs_err::read_to_string(&path).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    fs_err::write(&path, value).map_err(StepError::path("set", path))
}

/// Interfaces of default routes in the form of `/proc/net/route`.
pub(crate) fn default_interfaces(table: &str) -> Vec<String> {
    /// The route is up.
    const UP: u32 = 1;

    let mut names = Vec::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, "00000000", _, flags, _, _, _, "00000000", ..] = fields[..] else {
            continue;
        };
        let up = u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & UP != 0);
        // A name is a path component below.
        let plain = !name.contains('/') && name != "." && name != "..";
        if up && plain && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_found() {
        let table = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
wlan0\t00000000\t010200C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
down0\t00000000\t010200C0\t0002\t0\t0\t600\t00000000\t0\t0\t0
half\t00000000\t010200C0\t0003\t0\t0\t0\t00000080\t0\t0\t0
";
        assert_eq!(default_interfaces(table), ["eth0", "wlan0"]);
        assert!(default_interfaces("").is_empty());
        assert!(default_interfaces("x\n\neth0 00000000\n").is_empty());
    }
}
