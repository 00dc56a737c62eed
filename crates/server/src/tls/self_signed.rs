//! A certificate that signs itself: for machines that have no name which an authority would vouch for.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use berth_control::write_private;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{ServerName, UnixTime};

use super::{TlsError, provider, read_certificates, read_key};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long one is good: what browsers allow at most.
const GOOD_FOR: Duration = Duration::from_secs(397 * 24 * 3600);

/// Renewed so long before its end.
const SPARE: Duration = Duration::from_secs(30 * 24 * 3600);

/// Sees to it that the two files hold a certificate for all these names that is good for some time to come, and its key.
pub(super) fn keep(certificate: &Path, key: &Path, names: &[String]) -> Result<(), TlsError> {
    if is_good(certificate, key, names, SystemTime::now() + SPARE) {
        return Ok(());
    }
    let mut wanted = CertificateParams::new(names)?;
    wanted.distinguished_name = DistinguishedName::new();
    wanted
        .distinguished_name
        .push(DnType::CommonName, "Berth, self-signed");
    // A day for clocks that are slow.
    wanted.not_before = (SystemTime::now() - DAY).into();
    wanted.not_after = (SystemTime::now() + GOOD_FOR - DAY).into();
    wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let pair = KeyPair::generate()?;
    let made = wanted.self_signed(&pair)?;
    // Between the two they do not fit, and the next start makes both again.
    write_private(key, pair.serialize_pem().as_bytes())?;
    Ok(write_private(certificate, made.pem().as_bytes())?)
}

/// Would a client that trusts it accept it at that time, under each of these names?
fn is_good(certificate: &Path, key: &Path, names: &[String], at: SystemTime) -> bool {
    let (Ok(chain), Ok(key)) = (read_certificates(certificate), read_key(key)) else {
        return false;
    };
    if rustls::sign::CertifiedKey::from_der(chain.clone(), key, &provider()).is_err() {
        return false;
    }
    let [own] = &chain[..] else { return false };
    let mut roots = RootCertStore::empty();
    let verifier = roots.add(own.clone()).ok().and_then(|()| {
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .ok()
    });
    let at = UnixTime::since_unix_epoch(at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
    verifier.is_some_and(|verifier| {
        names.iter().all(|name| {
            ServerName::try_from(name.as_str())
                .is_ok_and(|name| verifier.verify_server_cert(own, &[], &name, &[], at).is_ok())
        })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_kept_until_it_nears_its_end_or_a_name_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        let names = ["localhost", "127.0.0.1", "::1", "my-host"].map(str::to_owned);
        keep(&certificate, &key, &names).unwrap();
        for file in [&certificate, &key] {
            let mode = fs_err::metadata(file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let first = fs_err::read(&certificate).unwrap();
        keep(&certificate, &key, &names[..2]).unwrap();
        assert_eq!(fs_err::read(&certificate).unwrap(), first);

        let in_days = |days: u64| SystemTime::now() + Duration::from_secs(days * 24 * 3600);
        assert!(is_good(&certificate, &key, &names, in_days(394)));
        assert!(!is_good(&certificate, &key, &names, in_days(397)));

        let more = ["localhost".to_owned(), "192.0.2.7".to_owned()];
        keep(&certificate, &key, &more).unwrap();
        assert_ne!(fs_err::read(&certificate).unwrap(), first);
        assert!(is_good(&certificate, &key, &more, in_days(1)));
    }
}
