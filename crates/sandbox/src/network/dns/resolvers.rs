//! Where the host itself asks for names.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// Resolvers that are tried; the C library takes as many.
const MAX_RESOLVERS: usize = 3;

/// Where queries go.
#[derive(Debug, Clone)]
pub(crate) enum Resolvers {
    /// What a file in the form of `resolv.conf` says, read again whenever it changes.
    File(PathBuf),
    /// These.
    Fixed(Vec<SocketAddr>),
}

/// The resolvers, and what was last read of them.
pub(super) struct Known {
    source: Resolvers,
    read: Mutex<Option<(Option<SystemTime>, Vec<SocketAddr>)>>,
}

impl Known {
    /// Nothing is read yet.
    pub(super) fn new(source: Resolvers) -> Self {
        Self {
            source,
            read: Mutex::default(),
        }
    }

    /// The resolvers as the source says now.
    pub(super) fn now(&self) -> Vec<SocketAddr> {
        let file = match &self.source {
            Resolvers::Fixed(resolvers) => return resolvers.clone(),
            Resolvers::File(file) => file,
        };
        // Two short calls on a small local file: cheaper than handing them to another thread.
        let changed = fs_err::metadata(file).and_then(|meta| meta.modified()).ok();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        match &*read {
            Some((when, resolvers)) if *when == changed => resolvers.clone(),
            _ => {
                let resolvers = read_resolvers(file);
                *read = Some((changed, resolvers.clone()));
                resolvers
            }
        }
    }
}

fn read_resolvers(file: &Path) -> Vec<SocketAddr> {
    let text = fs_err::read_to_string(file).unwrap_or_else(|error| {
        tracing::warn!(%error, "could not read the host's resolvers; asking 127.0.0.1");
        String::new()
    });
    parse_resolvers(&text)
}

/// The `nameserver` lines. Without any, the C library asks this machine, and so do we.
fn parse_resolvers(text: &str) -> Vec<SocketAddr> {
    const PORT: u16 = 53;

    let mut resolvers: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words
                .next()
                .filter(|word| *word == "nameserver")
                .and(words.next())?;
            // A link-local IPv6 address needs its interface, which a plain address cannot carry.
            address.parse::<IpAddr>().ok()
        })
        .map(|address| SocketAddr::new(address, PORT))
        .take(MAX_RESOLVERS)
        .collect();
    if resolvers.is_empty() {
        resolvers.push((Ipv4Addr::LOCALHOST, PORT).into());
    }
    resolvers
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn resolvers_are_read_as_the_c_library_reads_them() {
        let text = "# comment\nsearch x\nnameserver 10.0.0.1\nnameserver  fd00::1 extra\nnameserver bad\n\
                    nameserver 10.0.0.2\nnameserver 10.0.0.3\n";
        let found: Vec<String> = parse_resolvers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.1:53", "[fd00::1]:53", "10.0.0.2:53"]);
        assert_eq!(parse_resolvers(""), ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), "nameserver 10.0.0.1\n").unwrap();
        let known = Known::new(Resolvers::File(file.path().into()));
        assert_eq!(known.now(), ["10.0.0.1:53".parse().unwrap()]);
        fs_err::write(file.path(), "nameserver 10.0.0.2\n").unwrap();
        file.as_file()
            .set_modified(SystemTime::now() + Duration::from_secs(10))
            .unwrap();
        assert_eq!(known.now(), ["10.0.0.2:53".parse().unwrap()]);
    }
}
