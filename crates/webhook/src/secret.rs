//! The secret that sender and receiver share, and the signatures made with it.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What every secret begins with, by the specification.
const PREFIX: &str = "whsec_";

/// Bytes that a secret may have, by the specification.
const BYTES_MIN: usize = 24;
const BYTES_MAX: usize = 64;

/// More than any secret's file holds.
const FILE_BYTES_MAX: u64 = 1024;

/// A signing secret: `whsec_` and 24 to 64 bytes in base64.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

/// Why a secret cannot be used. Shows nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Not of the form that the specification asks for.
    #[error(
        "the webhook secret is not one; allowed: `whsec_` and {BYTES_MIN} to {BYTES_MAX} random bytes in base64, such \
         as `echo whsec_$(openssl rand -base64 32)` prints"
    )]
    Form,
    /// Others may read the file.
    #[error("the mode of `{path}` is {mode:03o}, so others can read the webhook secret; allowed: 600 or 400")]
    Open {
        /// The file.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// The file cannot be read.
    #[error("could not read the webhook secret from `{path}`: {source}")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
}

impl Secret {
    /// Reads a secret from its text; space around it does not count.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        text.trim()
            .strip_prefix(PREFIX)
            .and_then(|base64| STANDARD.decode(base64).ok())
            .filter(|bytes| (BYTES_MIN..=BYTES_MAX).contains(&bytes.len()))
            .map(Self)
            .ok_or(SecretError::Form)
    }

    /// Reads a secret from a file that only its owner can read.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let shown = || path.display().to_string();
        let failed = |source| SecretError::Read {
            path: shown(),
            source,
        };
        let file = std::fs::File::open(path).map_err(failed)?;
        // Of the open file, so that it is the mode of what is read.
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SecretError::Open { path: shown(), mode });
        }
        let mut text = String::new();
        file.take(FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(failed)?;
        Self::parse(&text)
    }

    /// The `webhook-signature` of a message.
    pub(crate) fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        // HMAC takes keys of any length.
        #[expect(clippy::unwrap_used, reason = "`new_from_slice` of HMAC accepts every length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).unwrap();
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The specification's own example.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(
            secret.sign(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_shown() {
        for text in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_c2hvcnQ=",
            "whsec_%%%",
        ] {
            let refused = Secret::parse(text).unwrap_err().to_string();
            assert!(refused.contains("allowed: `whsec_`"));
            assert!(text.len() < 8 || !refused.contains(text), "{refused}");
        }
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs_err::write(&path, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        for (mode, works) in [(0o644, false), (0o640, false), (0o600, true), (0o400, true)] {
            fs_err::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let read = Secret::read(&path);
            assert_eq!(read.is_ok(), works, "{mode:o}");
            if let Err(error) = read {
                assert!(error.to_string().contains(&format!("is {mode:o}")), "{error}");
            }
        }
        let missing = Secret::read(&folder.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("could not read the webhook secret"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = Secret::parse(&text);
        }
    }
}
