//! Ids, tokens and the one secret of a server.
//!
//! A session's token is not stored: it is a MAC of the session's id under the server's secret, so it can be told again
//! to the session's owner, and whoever reads the database learns none. So it is with the links to a session's ports and
//! pictures.

use std::io::{self, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::BASE32_DNSSEC;
use fs_err::os::unix::fs::OpenOptionsExt;
use hmac::{Hmac, KeyInit, Mac};
use rand::{Rng, RngExt};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Bytes of the secret.
const SECRET_BYTES: usize = 32;

/// Bytes of the MAC in a link's name.
const LINK_MAC_BYTES: usize = 20;

/// The secret from which session tokens and port links are made.
pub(crate) struct Secret([u8; SECRET_BYTES]);

impl Secret {
    /// Reads the secret from `path`, or makes it there.
    pub(crate) fn load_or_make(path: &Path) -> io::Result<Self> {
        match fs_err::read(path) {
            Ok(bytes) => bytes.try_into().map(Self).map_err(|bytes: Vec<u8>| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "`{}` holds {} bytes; expected {SECRET_BYTES}",
                        path.display(),
                        bytes.len()
                    ),
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(path),
            Err(error) => Err(error),
        }
    }

    fn make(path: &Path) -> io::Result<Self> {
        let secret: [u8; SECRET_BYTES] = rand::rng().random();
        write_private(path, &secret)?;
        Ok(Self(secret))
    }

    /// The token of a session.
    pub(crate) fn token(&self, session_id: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.mac("session token", &[session_id]))
    }

    /// Is `token` the session's? Takes the same time whatever it holds.
    pub(crate) fn is_token(&self, session_id: &str, token: &str) -> bool {
        self.token(session_id).as_bytes().ct_eq(token.as_bytes()).into()
    }

    /// The name of a port link, `<port>-<session>-<mac>`: a secret of its own, and at most 63 lower case letters, digits
    /// and hyphens, so that it can be one label of a host name.
    pub(crate) fn port_link(&self, session_id: &str, port: u16) -> String {
        let mac = self.mac("port link", &[session_id, &port.to_string()]);
        let mac = BASE32_DNSSEC.encode(&mac[..LINK_MAC_BYTES]);
        format!("{port}-{session_id}-{mac}")
    }

    /// The session and the port of a link, if this server made it. Takes the same time whatever its MAC holds.
    pub(crate) fn read_port_link<'a>(&self, link: &'a str) -> Option<(&'a str, u16)> {
        let (port, rest) = link.split_once('-')?;
        let (session_id, _) = rest.rsplit_once('-')?;
        let port = port.parse().ok()?;
        let same = self.port_link(session_id, port).as_bytes().ct_eq(link.as_bytes());
        bool::from(same).then_some((session_id, port))
    }

    /// Where a session's pictures are, `<session>-<mac>`.
    pub(crate) fn pictures_link(&self, session_id: &str) -> String {
        let mac = self.mac("pictures link", &[session_id]);
        let mac = BASE32_DNSSEC.encode(&mac[..LINK_MAC_BYTES]);
        format!("{session_id}-{mac}")
    }

    /// The session whose pictures a link leads to, if this server made it. Takes the same time whatever its MAC holds.
    pub(crate) fn read_pictures_link<'a>(&self, link: &'a str) -> Option<&'a str> {
        let (session_id, _) = link.rsplit_once('-')?;
        let same = self.pictures_link(session_id).as_bytes().ct_eq(link.as_bytes());
        bool::from(same).then_some(session_id)
    }

    /// A MAC for one purpose. Neither ids nor ports hold the colon that separates the parts.
    fn mac(&self, purpose: &str, parts: &[&str]) -> [u8; 32] {
        // Shorter than a block, so it is used as it is; a MAC takes any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            unreachable!("a MAC takes any key length")
        };
        mac.update(purpose.as_bytes());
        for part in parts {
            mac.update(b":");
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

/// A new id: the prefix says of what, the rest cannot be guessed.
pub(crate) fn new_id(prefix: &str) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0u8; 20];
    rand::rng().fill_bytes(&mut bytes);
    let random = bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    prefix.chars().chain(['-']).chain(random).collect()
}

/// A new secret for a live view ticket.
pub(crate) fn new_ticket() -> String {
    let secret: [u8; SECRET_BYTES] = rand::rng().random();
    URL_SAFE_NO_PAD.encode(secret)
}

/// Puts a file in its place whole, for its owner alone.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = fs_err::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs_err::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_same_after_a_restart_and_differs_per_session() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let token = Secret::load_or_make(&path).unwrap().token("s-1");
        let again = Secret::load_or_make(&path).unwrap();
        assert!(again.is_token("s-1", &token));
        assert!(!again.is_token("s-2", &token));
        assert!(!again.is_token("s-1", ""));
    }

    #[test]
    fn a_port_link_leads_to_its_session_and_port_alone() {
        let (secret, other) = (Secret([7; SECRET_BYTES]), Secret([8; SECRET_BYTES]));
        let id = new_id("s");
        let link = secret.port_link(&id, 30100);
        assert_eq!(secret.read_port_link(&link), Some((id.as_str(), 30100)));
        assert_eq!(other.read_port_link(&link), None);
        // The names of all ports fit a label of a host name, which has no case.
        let longest = secret.port_link(&id, u16::MAX);
        assert!(
            longest.len() <= 63 && longest == longest.to_lowercase(),
            "{longest}"
        );

        let mac = link.rsplit_once('-').unwrap().1;
        for forged in [
            format!("30101-{id}-{mac}"),
            format!("030100-{id}-{mac}"),
            format!("+30100-{id}-{mac}"),
            format!("30100-{}-{mac}", new_id("s")),
            format!("30100-{id}-{}", &mac[1..]),
            format!("30100-{id}-"),
            link.to_uppercase(),
            secret.token(&id),
            String::new(),
        ] {
            assert_eq!(secret.read_port_link(&forged), None, "{forged}");
        }
    }

    #[test]
    fn a_pictures_link_leads_to_its_session_alone() {
        let (secret, other) = (Secret([7; SECRET_BYTES]), Secret([8; SECRET_BYTES]));
        let id = new_id("s");
        let link = secret.pictures_link(&id);
        assert_eq!(secret.read_pictures_link(&link), Some(id.as_str()));
        assert_eq!(other.read_pictures_link(&link), None);
        let mac = link.rsplit_once('-').unwrap().1;
        let port = secret.port_link(&id, 30100);
        let port_mac = port.rsplit_once('-').unwrap().1;
        for forged in [
            format!("{}-{mac}", new_id("s")),
            format!("{id}-{}", &mac[1..]),
            format!("{id}-{port_mac}"),
            id,
            port,
            String::new(),
        ] {
            assert_eq!(secret.read_pictures_link(&forged), None, "{forged}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_as_a_link_or_refused(text in ".{0,100}", port: u16, id in "s-[a-z2-7]{20}") {
            let secret = Secret([7; SECRET_BYTES]);
            proptest::prop_assert_eq!(secret.read_port_link(&text), None);
            let link = secret.port_link(&id, port);
            proptest::prop_assert_eq!(secret.read_port_link(&link), Some((id.as_str(), port)));
        }
    }

    #[test]
    fn only_its_owner_reads_the_secret() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        Secret::load_or_make(&path).unwrap();
        assert_eq!(
            fs_err::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_damaged_secret_is_refused_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs_err::write(&path, b"short").unwrap();
        assert!(Secret::load_or_make(&path).is_err());
        assert_eq!(fs_err::read(&path).unwrap(), b"short");
    }

    #[test]
    fn ids_do_not_repeat() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| new_id("s")).collect();
        assert_eq!(ids.len(), 1000);
    }
}
