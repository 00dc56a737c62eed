//! Ids, tokens and the one secret of a server.
//!
//! A session's token is not stored: it is a MAC of the session's id under the server's secret, so it can be told again
//! to the session's owner, and whoever reads the database learns none.

use std::io::{self, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fs_err::os::unix::fs::OpenOptionsExt;
use hmac::{Hmac, KeyInit, Mac};
use rand::{Rng, RngExt};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Bytes of the secret.
const SECRET_BYTES: usize = 32;

/// The secret from which session tokens are made.
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
        let unfinished = path.with_extension("new");
        let mut file = fs_err::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(&secret)?;
        file.sync_all()?;
        fs_err::rename(&unfinished, path)?;
        Ok(Self(secret))
    }

    /// The token of a session.
    pub(crate) fn token(&self, session_id: &str) -> String {
        // Shorter than a block, so it is used as it is; a MAC takes any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            unreachable!("a MAC takes any key length")
        };
        mac.update(b"session token:");
        mac.update(session_id.as_bytes());
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    }

    /// Is `token` the session's? Takes the same time whatever it holds.
    pub(crate) fn is_token(&self, session_id: &str, token: &str) -> bool {
        self.token(session_id).as_bytes().ct_eq(token.as_bytes()).into()
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
