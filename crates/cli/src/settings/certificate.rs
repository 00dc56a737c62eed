//! Which certificate the server shows.

use std::path::{Path, PathBuf};

use berth_server::{Tls, TlsError};

/// Where the certificate comes from.
#[derive(Debug)]
pub(crate) enum Certificate {
    /// Files of somebody else's, read once already.
    Files(Tls),
    /// The server makes it.
    SelfSigned,
}

/// Why there can be no TLS so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadCertificate {
    #[error("`tls_cert` is {certificate:?} and `tls_key` is {key:?}; allowed: both, or neither")]
    Partial {
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
    },
    #[error("`tls_self_signed` is true and `tls_cert` is {0:?}; allowed: one of the two")]
    Both(PathBuf),
    #[error(transparent)]
    Unusable(#[from] TlsError),
}

impl Certificate {
    /// What the three settings make together; nothing when none is given.
    pub(crate) fn of(
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
        self_signed: bool,
    ) -> Result<Option<Self>, BadCertificate> {
        match (certificate, key, self_signed) {
            (None, None, false) => Ok(None),
            (None, None, true) => Ok(Some(Self::SelfSigned)),
            (Some(certificate), Some(_), true) => Err(BadCertificate::Both(certificate)),
            (Some(certificate), Some(key), false) => {
                Ok(Some(Self::Files(Tls::from_files(certificate, key)?)))
            }
            (certificate, key, _) => Err(BadCertificate::Partial { certificate, key }),
        }
    }

    /// Reads the certificate; makes it in the folder `data` if that is what was asked for and there is none.
    pub(crate) fn tls(self, data: &Path, listen: &str) -> Result<Tls, TlsError> {
        match self {
            Self::Files(tls) => Ok(tls),
            Self::SelfSigned => Tls::self_signed(data, names(listen)),
        }
    }
}

/// All that a browser may call this machine.
fn names(listen: &str) -> Vec<String> {
    let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let listened = listen.parse::<std::net::SocketAddr>().map(|address| address.ip());
    names.extend(
        listened
            .ok()
            .filter(|ip| !ip.is_unspecified())
            .map(|ip| ip.to_string()),
    );
    // A name with other letters than these is none that a certificate can hold.
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .to_ascii_lowercase();
    if !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
    {
        names.push(host);
    }
    // Asked in a thread of its own, because it waits for the kernel.
    let addresses = std::thread::spawn(berth_sandbox::host_addresses).join();
    match addresses {
        Ok(Ok(addresses)) => names.extend(addresses.iter().map(ToString::to_string)),
        Ok(Err(error)) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                error,
                "the certificate holds none of this machine's other addresses"
            );
        }
        Err(_) => tracing::warn!("the certificate holds none of this machine's other addresses"),
    }
    names.sort_unstable();
    names.dedup();
    names
}
