//! API keys. A key is `bk_<id>_<secret>`; the id finds the row, the digest of the secret is compared in constant time.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rand::RngExt;
use sha2::{Digest, Sha256};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};
use subtle::ConstantTimeEq;

use crate::{Result, Store, StoreError, counted, failed, stored, time};

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
    /// When it stops being valid by itself, if it does.
    pub expires: Option<Timestamp>,
    /// What its sessions may use.
    pub limits: KeyLimits,
}

impl KeyRow {
    /// May it still be used?
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }
}

/// What the sessions of a key may use. `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Sessions at once.
    pub sessions: Option<u32>,
    /// Memory of all of them together, in MiB, as their limits say.
    pub memory_mib: Option<u64>,
    /// Sessions made within a minute.
    pub creations_per_minute: Option<u32>,
}

/// A key to be made.
#[derive(Debug, Clone, Copy, Default)]
pub struct NewKey<'a> {
    /// What to call it. No two valid keys have the same name.
    pub name: &'a str,
    /// When it stops being valid by itself.
    pub expires: Option<Timestamp>,
    /// What its sessions may use.
    pub limits: KeyLimits,
}

const COLUMNS: &str = "SELECT id, name, created_ms, revoked_ms, expires_ms, sessions_max, memory_mib_max,
                              creations_per_minute_max, secret_hash FROM keys";

impl Store {
    /// Makes a key.
    pub async fn create_key(&self, new: &NewKey<'_>) -> Result<Key> {
        let (id, secret) = new_id_and_secret();
        let inserted = self.write(sqlx::query(
            "INSERT INTO keys (id, name, secret_hash, created_ms, expires_ms, sessions_max, memory_mib_max,
                               creations_per_minute_max)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(&id)
        .bind(new.name)
        .bind(digest(&secret))
        .bind(Timestamp::now().as_millisecond())
        .bind(new.expires.map(Timestamp::as_millisecond))
        .bind(new.limits.sessions.map(i64::from))
        .bind(new.limits.memory_mib.map(stored))
        .bind(new.limits.creations_per_minute.map(i64::from)))
        .await;
        match inserted {
            Ok(_) => Ok(Key(format!("bk_{id}_{secret}"))),
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                Err(StoreError::KeyNameTaken(new.name.to_owned()))
            }
            Err(source) => Err(failed("make a key")(source)),
        }
    }

    /// The key that `text` is, also one that was revoked or has expired ([`KeyRow::is_valid`]); nothing when it is
    /// malformed or unknown.
    pub async fn authenticate(&self, text: &str) -> Result<Option<KeyRow>> {
        let what = "look up a key";
        let Some((id, secret)) = text.strip_prefix("bk_").and_then(|rest| rest.split_once('_')) else {
            return Ok(None);
        };
        let row = sqlx::query(AssertSqlSafe(format!("{COLUMNS} WHERE id = $1")))
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed(what))?;
        let Some(row) = row else { return Ok(None) };
        let hash: Vec<u8> = row.try_get("secret_hash").map_err(failed(what))?;
        if !bool::from(hash.ct_eq(&digest(secret))) {
            return Ok(None);
        }
        read(&row).map(Some).map_err(failed(what))
    }

    /// All keys, oldest first.
    pub async fn keys(&self) -> Result<Vec<KeyRow>> {
        let what = "list the keys";
        let rows = sqlx::query(AssertSqlSafe(format!("{COLUMNS} ORDER BY created_ms, id")))
            .fetch_all(&self.pool)
            .await
            .map_err(failed(what))?;
        rows.iter()
            .map(read)
            .collect::<std::result::Result<_, _>>()
            .map_err(failed(what))
    }

    /// Revokes the key of this name or id; nothing when there is none that is not yet revoked.
    pub async fn revoke_key(&self, name_or_id: &str) -> Result<Option<KeyRow>> {
        let what = "revoke a key";
        let _turn = self.turn().await.map_err(failed(what))?;
        let rows = sqlx::query(
            "UPDATE keys SET revoked_ms = $1 WHERE (name = $2 OR id = $2) AND revoked_ms IS NULL
             RETURNING id, name, created_ms, revoked_ms, expires_ms, sessions_max, memory_mib_max,
                       creations_per_minute_max",
        )
        .bind(Timestamp::now().as_millisecond())
        .bind(name_or_id)
        // To the statement's end: only there does it commit, and say so when it cannot.
        .fetch_all(&self.pool)
        .await
        .map_err(failed(what))?;
        rows.first().map(read).transpose().map_err(failed(what))
    }

    /// The ids of keys that are no longer valid but still have sessions.
    pub async fn invalid_keys(&self, now: Timestamp) -> Result<Vec<String>> {
        let what = "look for revoked keys";
        let rows = sqlx::query(
            "SELECT id FROM keys k WHERE (revoked_ms IS NOT NULL OR expires_ms <= $1)
             AND EXISTS (SELECT 1 FROM sessions s WHERE s.key_id = k.id AND s.state = 'running')",
        )
        .bind(now.as_millisecond())
        .fetch_all(&self.pool)
        .await
        .map_err(failed(what))?;
        rows.iter()
            .map(|row| row.try_get(0))
            .collect::<std::result::Result<_, _>>()
            .map_err(failed(what))
    }
}

fn read(row: &AnyRow) -> std::result::Result<KeyRow, sqlx::Error> {
    let limit = |name| row.try_get::<Option<i64>, _>(name);
    let small = |number: i64| u32::try_from(number).unwrap_or(0);
    Ok(KeyRow {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        created: time(row.try_get("created_ms")?),
        revoked: limit("revoked_ms")?.map(time),
        expires: limit("expires_ms")?.map(time),
        limits: KeyLimits {
            sessions: limit("sessions_max")?.map(small),
            memory_mib: limit("memory_mib_max")?.map(counted),
            creations_per_minute: limit("creations_per_minute_max")?.map(small),
        },
    })
}

fn new_id_and_secret() -> (String, String) {
    let mut rng = rand::rng();
    let id = (0..12)
        .map(|_| char::from(rng.sample(rand::distr::Alphanumeric)))
        .collect();
    let secret: [u8; SECRET_BYTES] = rng.random();
    (id, URL_SAFE_NO_PAD.encode(secret))
}

/// The digest under which a secret is kept. Secrets are random and long, so a plain digest cannot be guessed back.
pub(crate) fn digest(secret: &str) -> Vec<u8> {
    Sha256::digest(secret.as_bytes()).to_vec()
}
