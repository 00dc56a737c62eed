//! API keys. A key is `bk_<id>_<secret>`; the id finds the row, the digest of the secret is compared in constant time.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rand::RngExt;
use sha2::{Digest, Sha256};
use sqlx::Row;
use subtle::ConstantTimeEq;

use crate::{Result, Store, StoreError, failed};

/// Bytes of randomness in a key's secret.
const SECRET_BYTES: usize = 32;

/// A key, as its owner holds it. Shown once; the store keeps a digest.
pub struct Key(String);

impl Key {
    /// The text that clients send.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Its public part; sessions belong to it.
    pub id: String,
    /// What its owner called it.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was revoked, if it was.
    pub revoked: Option<Timestamp>,
}

impl Store {
    /// Makes a key.
    pub async fn create_key(&self, name: &str) -> Result<Key> {
        let mut rng = rand::rng();
        let id: String = (0..12)
            .map(|_| char::from(rng.sample(rand::distr::Alphanumeric)))
            .collect();
        let secret: [u8; SECRET_BYTES] = rng.random();
        let secret = URL_SAFE_NO_PAD.encode(secret);
        let inserted =
            sqlx::query("INSERT INTO keys (id, name, secret_hash, created_ms) VALUES (?, ?, ?, ?)")
                .bind(&id)
                .bind(name)
                .bind(digest(&secret))
                .bind(Timestamp::now().as_millisecond())
                .execute(&self.pool)
                .await;
        match inserted {
            Ok(_) => Ok(Key(format!("bk_{id}_{secret}"))),
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                Err(StoreError::KeyNameTaken(name.to_owned()))
            }
            Err(source) => Err(failed("make a key")(source)),
        }
    }

    /// The id of the key that `text` is, or nothing when it is malformed, unknown or revoked.
    pub async fn authenticate(&self, text: &str) -> Result<Option<String>> {
        let Some((id, secret)) = text.strip_prefix("bk_").and_then(|rest| rest.split_once('_')) else {
            return Ok(None);
        };
        let row = sqlx::query("SELECT secret_hash FROM keys WHERE id = ? AND revoked_ms IS NULL")
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("look up a key"))?;
        let Some(row) = row else { return Ok(None) };
        let hash: Vec<u8> = row.try_get(0).map_err(failed("read a key"))?;
        Ok(bool::from(hash.ct_eq(&digest(secret))).then(|| id.to_owned()))
    }

    /// All keys, oldest first.
    pub async fn keys(&self) -> Result<Vec<KeyRow>> {
        let rows = sqlx::query("SELECT id, name, created_ms, revoked_ms FROM keys ORDER BY created_ms, id")
            .fetch_all(&self.pool)
            .await
            .map_err(failed("list the keys"))?;
        rows.iter()
            .map(|row| {
                Ok(KeyRow {
                    id: row.try_get(0)?,
                    name: row.try_get(1)?,
                    created: time(row.try_get(2)?),
                    revoked: row.try_get::<Option<i64>, _>(3)?.map(time),
                })
            })
            .collect::<std::result::Result<_, _>>()
            .map_err(failed("read the keys"))
    }

    /// Revokes the key of this name or id; false when there is none that is valid.
    pub async fn revoke_key(&self, name_or_id: &str) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE keys SET revoked_ms = ?1 WHERE (name = ?2 OR id = ?2) AND revoked_ms IS NULL",
        )
        .bind(Timestamp::now().as_millisecond())
        .bind(name_or_id)
        .execute(&self.pool)
        .await
        .map_err(failed("revoke a key"))?;
        Ok(done.rows_affected() > 0)
    }
}

/// The digest under which a secret is kept. Secrets are random and long, so a plain digest cannot be guessed back.
pub(crate) fn digest(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}

/// A stored time. Values outside what a timestamp can be were not written by us.
pub(crate) fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}
