//! Events of sessions, for webhooks: written in the transaction of what they tell of, so none is lost and none is made
//! up; removed when they were delivered.

use jiff::{SignedDuration, Timestamp};
use rand::RngExt;
use sqlx::{AnyConnection, Row};

use crate::{Result, Store, failed};

/// Who takes an event has so long to deliver it before somebody else may try.
const LEASE: SignedDuration = SignedDuration::from_secs(60);

/// What happened to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    Created,
    Paused,
    Resumed,
    Ended,
}

impl EventKind {
    fn word(self) -> &'static str {
        match self {
            EventKind::Created => "session.created",
            EventKind::Paused => "session.paused",
            EventKind::Resumed => "session.resumed",
            EventKind::Ended => "session.ended",
        }
    }
}

/// An event that waits for its delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Its id; the same at every attempt, so receivers can drop repetitions.
    pub id: String,
    /// The session that it tells of.
    pub session_id: String,
    /// The key that owns it.
    pub key_id: String,
    /// `session.created`, `session.paused`, `session.resumed`, `session.ended`.
    pub kind: String,
    /// What the receiver gets: a JSON object.
    pub body: String,
    /// When it happened.
    pub created: Timestamp,
    /// Attempts to deliver it, the present one included.
    pub attempts: u32,
}

/// What an event tells of.
pub(crate) struct EventOf<'a> {
    pub(crate) session_id: &'a str,
    pub(crate) key_id: &'a str,
    pub(crate) image: &'a str,
    pub(crate) end_reason: Option<&'a str>,
}

impl Store {
    /// Notes an event, if the store was opened to note them.
    pub(crate) async fn note_event(
        &self,
        connection: &mut AnyConnection,
        kind: EventKind,
        of: EventOf<'_>,
    ) -> std::result::Result<(), sqlx::Error> {
        if !self.options.events {
            return Ok(());
        }
        let random: u128 = rand::rng().random();
        let id = format!("evt_{random:032x}");
        let now = Timestamp::now();
        let mut data = serde_json::json!({
            "sessionId": of.session_id, "keyId": of.key_id, "image": of.image,
        });
        if let (Some(reason), Some(data)) = (of.end_reason, data.as_object_mut()) {
            data.insert("reason".to_owned(), reason.into());
        }
        let body = serde_json::json!({
            "id": id, "type": kind.word(), "createdAt": format!("{now:.3}"), "data": data,
        });
        sqlx::query(
            "INSERT INTO events (id, session_id, key_id, kind, body, created_ms, next_attempt_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $6)",
        )
        .bind(id)
        .bind(of.session_id)
        .bind(of.key_id)
        .bind(kind.word())
        .bind(body.to_string())
        .bind(now.as_millisecond())
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Takes events whose time has come, oldest first. Nobody else gets them for a minute.
    pub async fn due_events(&self, now: Timestamp, limit: u32) -> Result<Vec<EventRow>> {
        let what = "take the events that are due";
        let _turn = self.turn().await.map_err(failed(what))?;
        let rows = sqlx::query(
            // The condition stands outside as well: whoever waited here for another server's update looks again.
            "UPDATE events SET next_attempt_ms = $1, attempts = attempts + 1
             WHERE next_attempt_ms <= $2 AND id IN (
                 SELECT id FROM events WHERE next_attempt_ms <= $2 ORDER BY next_attempt_ms, id LIMIT $3)
             RETURNING id, session_id, key_id, kind, body, created_ms, attempts",
        )
        .bind(now.saturating_add(LEASE).unwrap_or(now).as_millisecond())
        .bind(now.as_millisecond())
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
        .map_err(failed(what))?;
        let mut events = rows
            .iter()
            .map(|row| {
                Ok(EventRow {
                    id: row.try_get(0)?,
                    session_id: row.try_get(1)?,
                    key_id: row.try_get(2)?,
                    kind: row.try_get(3)?,
                    body: row.try_get(4)?,
                    created: crate::time(row.try_get(5)?),
                    attempts: u32::try_from(row.try_get::<i64, _>(6)?).unwrap_or(u32::MAX),
                })
            })
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(failed(what))?;
        events.sort_by_key(|event| event.created);
        Ok(events)
    }

    /// When the next event is due, if any waits.
    pub async fn next_event_due(&self) -> Result<Option<Timestamp>> {
        let row = sqlx::query("SELECT next_attempt_ms FROM events ORDER BY next_attempt_ms LIMIT 1")
            .fetch_optional(&self.pool)
            .await
            .map_err(failed("look for the next event"))?;
        row.map(|row| Ok(crate::time(row.try_get(0)?)))
            .transpose()
            .map_err(failed("look for the next event"))
    }

    /// Forgets an event that was delivered.
    pub async fn event_delivered(&self, id: &str) -> Result<()> {
        self.write(sqlx::query("DELETE FROM events WHERE id = $1").bind(id))
            .await
            .map_err(failed("forget an event"))?;
        Ok(())
    }

    /// Says when an event that was not delivered is to be tried again.
    pub async fn event_failed(&self, id: &str, next_attempt: Timestamp) -> Result<()> {
        self.write(
            sqlx::query("UPDATE events SET next_attempt_ms = $1 WHERE id = $2")
                .bind(next_attempt.as_millisecond())
                .bind(id),
        )
        .await
        .map_err(failed("put an event off"))?;
        Ok(())
    }

    /// Gives up on events that happened before `before`; how many.
    pub async fn forget_events(&self, before: Timestamp) -> Result<u64> {
        let done = self
            .write(sqlx::query("DELETE FROM events WHERE created_ms < $1").bind(before.as_millisecond()))
            .await
            .map_err(failed("forget old events"))?;
        Ok(done)
    }
}
