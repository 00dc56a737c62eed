//! TLS on the server's own port: which certificate, and a connection's beginning.
//!
//! The certificate's files are looked at when a connection comes, so a renewed one is served without a restart. One that
//! cannot be used is told in the log, and the former one stays.

mod self_signed;

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

/// A client that has not finished the handshake by then is cut off.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// More than any chain of certificates needs.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How often a certificate of our own making is looked at whether it is near its end.
const LOOK_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Why there can be no TLS with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// What is named as a certificate is none.
    #[error("`tls_cert` is {path:?}; allowed: {allowed}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What may be there.
        allowed: &'static str,
    },
    /// What is named as a key is none.
    #[error("`tls_key` is {path:?}; allowed: {allowed}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What may be there.
        allowed: &'static str,
    },
    /// Both are what they should be, but not together.
    #[error(
        "`tls_key` is {key:?} and `tls_cert` is {certificate:?} ({source}); allowed: a key of a kind that TLS knows, and \
         its own certificate as the first of the file"
    )]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What does not fit.
        source: rustls::Error,
    },
    /// A certificate of our own could not be made.
    #[error("could not make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A certificate of our own could not be kept.
    #[error("could not keep the certificate: {0}")]
    Keep(#[from] io::Error),
}

/// The certificate of a server, and the key that proves it.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    /// The names that it is for, when we made it.
    own: Option<Vec<String>>,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    fingerprint: String,
    /// What the files looked like before they were read.
    stamps: [Stamp; 2],
    /// When a certificate of our own was last looked at.
    looked: Instant,
}

/// What tells a file from the one that was there before: when it was written, its number, its size.
type Stamp = Option<(SystemTime, u64, u64)>;

impl Tls {
    /// Uses a certificate, with those that lead to its authority after it, and its key: PEM files of somebody else's.
    pub fn from_files(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        Self::load(certificate, key, None)
    }

    /// Uses a certificate that signs itself, for these names and addresses. It is kept in `folder`, and made when there is
    /// none that is good for all of them and for some time to come.
    pub fn self_signed(folder: &Path, names: Vec<String>) -> Result<Self, TlsError> {
        let (certificate, key) = (folder.join("tls-cert.pem"), folder.join("tls-key.pem"));
        self_signed::keep(&certificate, &key, &names)?;
        Self::load(certificate, key, Some(names))
    }

    fn load(certificate: PathBuf, key: PathBuf, own: Option<Vec<String>>) -> Result<Self, TlsError> {
        let loaded = Loaded::read(&certificate, &key)?;
        Ok(Self {
            certificate,
            key,
            own,
            loaded: Mutex::new(loaded),
        })
    }

    /// The SHA-256 of the certificate, as browsers and `openssl x509 -fingerprint -sha256` show it.
    pub fn fingerprint(&self) -> String {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.fingerprint.clone()
    }

    /// Where the certificate is.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Begins a connection. Ends by itself when the client says nothing.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Accepted> {
        let begun = async {
            let mut first = [0];
            // A TLS record begins with its kind, a small number; an HTTP request with the letters of its method.
            if stream.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic() {
                return Ok(Accepted::Plain(stream));
            }
            let acceptor = TlsAcceptor::from(self.config());
            acceptor.accept(stream).await.map(Box::new).map(Accepted::Secure)
        };
        tokio::time::timeout(HANDSHAKE_TIMEOUT, begun)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// The configuration for a connection that begins now.
    fn config(&self) -> Arc<ServerConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = &self.own
            && loaded.looked.elapsed() > LOOK_EVERY
        {
            loaded.looked = Instant::now();
            if let Err(error) = self_signed::keep(&self.certificate, &self.key, names) {
                let error = &error as &dyn std::error::Error;
                warn!(error, "the certificate is near its end and was not renewed");
            }
        }
        let stamps = [stamp(&self.certificate), stamp(&self.key)];
        if stamps != loaded.stamps {
            match Loaded::read(&self.certificate, &self.key) {
                Ok(fresh) => {
                    info!("a new certificate is in use; SHA-256 {}", fresh.fingerprint);
                    *loaded = fresh;
                }
                Err(error) => {
                    loaded.stamps = stamps;
                    let error = &error as &dyn std::error::Error;
                    warn!(error, "the changed certificate cannot be used; the former one is");
                }
            }
        }
        Arc::clone(&loaded.config)
    }
}

impl Loaded {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let stamps = [stamp(certificate), stamp(key)];
        let chain = read_certificates(certificate).map_err(|allowed| TlsError::Certificate {
            path: certificate.to_owned(),
            allowed,
        })?;
        let private = read_key(key).map_err(|allowed| TlsError::Key {
            path: key.to_owned(),
            allowed,
        })?;
        let digest = Sha256::digest(chain.first().map_or(&[][..], |first| first.as_ref()));
        let fingerprint: Vec<_> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private));
        let mut config = config.map_err(|source| TlsError::Pair {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            source,
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            fingerprint: fingerprint.join(":"),
            stamps,
            looked: Instant::now(),
        })
    }
}

/// How a connection to the TLS port began.
pub(crate) enum Accepted {
    /// With a handshake.
    Secure(Box<TlsStream<TcpStream>>),
    /// With a plain HTTP request, of which nothing is read yet.
    Plain(TcpStream),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn stamp(path: &Path) -> Stamp {
    let seen = fs_err::metadata(path).ok()?;
    Some((seen.modified().ok()?, seen.ino(), seen.size()))
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs_err::File::open(path)?
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The certificates in a PEM file, or what would be allowed there.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let bytes = read_file(path).map_err(|_| "a file that the server can read")?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match read {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(
            "a PEM file with a certificate (`BEGIN CERTIFICATE`), and after it those that lead to its authority",
        ),
    }
}

/// The private key in a PEM file, or what would be allowed there.
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, &'static str> {
    let bytes = read_file(path).map_err(|_| "a file that the server can read")?;
    PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|_| "a PEM file with a private key (`BEGIN PRIVATE KEY`) that no passphrase locks")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_certificate_is_used_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let tls = Tls::self_signed(folder.path(), vec!["localhost".into()]).unwrap();
        let (first, config) = (tls.fingerprint(), tls.config());
        assert!(Arc::ptr_eq(&config, &tls.config()));

        fs_err::write(&tls.certificate, "nothing").unwrap();
        assert!(Arc::ptr_eq(&config, &tls.config()));
        assert_eq!(tls.fingerprint(), first);

        self_signed::keep(&tls.certificate, &tls.key, &["localhost".into()]).unwrap();
        assert!(!Arc::ptr_eq(&config, &tls.config()));
        assert_ne!(tls.fingerprint(), first);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [one, two] = [one.path(), two.path()]
            .map(|folder| Tls::self_signed(folder, vec!["localhost".into()]).unwrap());
        let error = Tls::from_files(one.certificate, two.key).unwrap_err().to_string();
        assert!(error.contains("allowed: a key"), "{error}");
    }
}
