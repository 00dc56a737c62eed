//! Webhooks of a server: what its settings say of them, and what sends them.

use std::path::PathBuf;

use berth_store::Store;
use berth_webhook::{Pace, Secret, SecretError, Sender, SetUpError, Target};

/// The variable that may hold the signing secret itself. No flag: those are seen by every process of the machine.
pub(crate) const SECRET: &str = "BERTH_WEBHOOK_SECRET";

/// Where events of sessions go, and what signs them.
#[derive(Debug)]
pub(crate) struct Webhook {
    target: Target,
    secret: Secret,
}

/// Why webhooks cannot be set up so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadWebhook {
    #[error(
        "webhooks are set up in part; allowed: `webhook_url` with either `webhook_secret_file` or `{SECRET}`, or none \
         of the three"
    )]
    Partial,
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl Webhook {
    /// What a URL, a file with a secret and a secret make together; nothing when none is given.
    pub(crate) fn of(
        target: Option<Target>,
        file: Option<PathBuf>,
        secret: Option<String>,
    ) -> Result<Option<Self>, BadWebhook> {
        let (target, secret) = match (target, file, secret) {
            (None, None, None) => return Ok(None),
            (Some(target), Some(file), None) => (target, Secret::read(&file)?),
            (Some(target), None, Some(text)) => (target, Secret::parse(&text)?),
            _ => return Err(BadWebhook::Partial),
        };
        Ok(Some(Self { target, secret }))
    }

    /// What delivers the events of this store.
    pub(crate) fn sender(self, store: &Store) -> Result<Sender, SetUpError> {
        Sender::new(store.clone(), self.target, self.secret, Pace::default())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn webhooks_need_a_url_and_one_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        fs_err::write(&file, secret).unwrap();
        fs_err::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let target = || Some("https://hooks.example.com/x".parse::<Target>().unwrap());
        let (file, secret) = (|| Some(file.clone()), || Some(secret.to_owned()));

        assert!(Webhook::of(None, None, None).unwrap().is_none());
        assert!(Webhook::of(target(), file(), None).unwrap().is_some());
        assert!(Webhook::of(target(), None, secret()).unwrap().is_some());
        for refused in [
            Webhook::of(target(), None, None),
            Webhook::of(None, file(), None),
            Webhook::of(None, None, secret()),
            Webhook::of(target(), file(), secret()),
        ] {
            assert!(refused.unwrap_err().to_string().contains("`webhook_secret_file`"));
        }
        let refused = Webhook::of(target(), None, Some("short".into())).unwrap_err();
        assert!(refused.to_string().contains("`whsec_`"));
    }
}
