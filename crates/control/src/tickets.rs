//! Live view tickets: issued to owners, shared with fewer rights, revoked.
//!
//! The row in the store is the truth about a ticket. What is open with one is known to its session in memory, and is cut
//! when the store says that the ticket was revoked, whichever server was told so.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use berth_guest_api::ViewRights;
use berth_store::{SharedTicket, StoreError, TicketDigest, TicketRow};
use jiff::{SignedDuration, Timestamp};
use tracing::warn;

use crate::error::ControlError;
use crate::life::End;
use crate::secret::{new_id, new_ticket};
use crate::session::{Held, Session};
use crate::{Control, end_of, ended};

/// How often it is looked for tickets that another server revoked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Shared tickets of one session that are good at the same time.
const SHARED_MAX: u64 = 100;

/// The longest that a shared ticket may be valid.
const SHARED_TTL_MAX: Duration = Duration::from_secs(24 * 3600);

/// Characters of a name.
const NAME_CHARS_MAX: usize = 64;

/// What the holder of a live view ticket may see.
#[derive(Debug)]
pub enum TicketState {
    /// The ticket is good.
    Valid(Grant),
    /// The ticket was valid until then.
    Expired(Timestamp),
    /// The ticket was revoked then.
    Revoked(Timestamp),
    /// The session is over.
    Ended {
        /// The session.
        session_id: String,
        /// Why it ended.
        end: End,
    },
    /// No such ticket, or one that expired so long ago that it is forgotten.
    Unknown,
}

/// What a ticket that is good stands for.
#[derive(Debug)]
pub struct Grant {
    /// The session that it shows.
    pub session: Arc<Session>,
    /// When it stops being valid.
    pub expires: Timestamp,
    /// What its holder may do.
    pub rights: ViewRights,
    /// What its holder is called.
    pub name: Option<String>,
    /// The ticket's id, if it was made to be shared.
    pub ticket_id: Option<String>,
    digest: TicketDigest,
}

impl Grant {
    /// Notes that something goes on with this ticket, until the value is dropped.
    pub fn hold(&self) -> Held {
        self.session.hold(self.digest.clone())
    }
}

/// A ticket to be shared.
#[derive(Debug, Clone, Copy)]
pub struct NewShare<'a> {
    /// What its holder may do.
    pub rights: ViewRights,
    /// What its holder is called.
    pub name: Option<&'a str>,
    /// How long it is valid; as long as every other one if absent.
    pub ttl_s: Option<i64>,
}

/// A ticket that was made to be shared, as its session's owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Its id, which is no secret.
    pub id: String,
    /// What its holder may do.
    pub rights: ViewRights,
    /// What its holder is called.
    pub name: Option<String>,
    /// When it stops being valid.
    pub expires: Timestamp,
}

impl Control {
    /// A fresh live view ticket for the session's owner.
    pub async fn issue_ticket(&self, session: &Session) -> Result<String, ControlError> {
        let ticket = new_ticket();
        self.store
            .insert_ticket(&session.id, &ticket, self.ticket_expiry())
            .await?;
        Ok(ticket)
    }

    /// A ticket to be shared, and its secret.
    pub async fn share(&self, session: &Session, new: NewShare<'_>) -> Result<(Share, String), ControlError> {
        let share = Share {
            id: new_id("t"),
            rights: new.rights,
            name: name(new.name)?,
            expires: match new.ttl_s {
                None => self.ticket_expiry(),
                Some(seconds) => after(ttl(seconds)?),
            },
        };
        let secret = new_ticket();
        let row = SharedTicket {
            session_id: &session.id,
            id: &share.id,
            secret: &secret,
            rights: &share.rights.to_string(),
            name: share.name.as_deref(),
            expires: share.expires,
        };
        match self.store.insert_shared_ticket(&row, SHARED_MAX).await? {
            true => Ok((share, secret)),
            false => Err(ControlError::TooManyTickets { allowed: SHARED_MAX }),
        }
    }

    /// The tickets of a session of this key that were made to be shared and are still good.
    pub async fn shares(&self, key_id: &str, session_id: &str) -> Result<Vec<Share>, ControlError> {
        let session_id = self.running_row(key_id, session_id).await?;
        let rows = self.store.shared_tickets(&session_id, Timestamp::now()).await?;
        rows.into_iter()
            .map(|row| {
                Ok(Share {
                    rights: rights(&row)?,
                    expires: row.expires,
                    name: row.name,
                    id: row.id.unwrap_or_default(),
                })
            })
            .collect()
    }

    /// Revokes a shared ticket of a session of this key, or all tickets that the session has. What is open with them ends
    /// before this returns; what another server has open, within seconds. Succeeds again for one that was revoked.
    pub async fn revoke(
        &self,
        key_id: &str,
        session_id: &str,
        ticket_id: Option<&str>,
    ) -> Result<(), ControlError> {
        let session_id = self.running_row(key_id, session_id).await?;
        let may_be_id = |id: &str| {
            id.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let revoked = match ticket_id.is_none_or(may_be_id) {
            true => {
                let now = Timestamp::now();
                self.store.revoke_tickets(&session_id, ticket_id, now).await?
            }
            false => 0,
        };
        if let (0, Some(ticket_id)) = (revoked, ticket_id) {
            return Err(ControlError::Invalid {
                field: "ticketId",
                got: format!("{:?}", crate::shown(ticket_id)),
                allowed:
                    "the `ticketId` of a ticket that was made for this session, and is not older than a day"
                        .to_owned(),
            });
        }
        self.cut_revoked().await
    }

    /// What a ticket is good for now.
    pub async fn ticket(&self, ticket: &str) -> Result<TicketState, ControlError> {
        let Some(row) = self.store.ticket(ticket).await? else {
            return Ok(TicketState::Unknown);
        };
        if let Some(at) = row.revoked {
            return Ok(TicketState::Revoked(at));
        }
        match self.live(&row.session_id) {
            Some(_) if row.expires <= Timestamp::now() => Ok(TicketState::Expired(row.expires)),
            Some(session) => Ok(TicketState::Valid(Grant {
                session,
                expires: row.expires,
                rights: rights(&row)?,
                name: row.name,
                ticket_id: row.id,
                digest: row.digest,
            })),
            None => match self.absent(None, &row.session_id).await? {
                ControlError::EndedSession { id, end, .. } => Ok(TicketState::Ended { session_id: id, end }),
                _ => Ok(TicketState::Unknown),
            },
        }
    }

    /// Looks for tickets that were revoked elsewhere, for ever. A loop of its own: guests that are slow to answer the
    /// reaper must not keep a view open.
    pub(crate) async fn watch_tickets(self: Arc<Self>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = look.tick() => {}
            }
            if let Err(error) = self.cut_revoked().await {
                let error = &error as &dyn std::error::Error;
                warn!(error, "could not look for revoked tickets");
            }
        }
    }

    /// Ends what is open with tickets that were revoked.
    async fn cut_revoked(&self) -> Result<(), ControlError> {
        let sessions = self.live_sessions();
        let held: HashSet<TicketDigest> = sessions.iter().flat_map(|session| session.held()).collect();
        if held.is_empty() {
            return Ok(());
        }
        let held: Vec<TicketDigest> = held.into_iter().collect();
        let revoked: HashSet<TicketDigest> = self.store.revoked_tickets(&held).await?.into_iter().collect();
        if !revoked.is_empty() {
            sessions.iter().for_each(|session| session.cut(&revoked));
        }
        Ok(())
    }

    /// The id of a session of this key that has not ended, on whichever server it runs.
    async fn running_row(&self, key_id: &str, session_id: &str) -> Result<String, ControlError> {
        let row = self.owned_row(key_id, session_id).await?;
        match end_of(&row) {
            None => Ok(row.id),
            Some(_) => Err(ended(row)),
        }
    }

    /// When a ticket that is issued now stops being valid.
    pub(crate) fn ticket_expiry(&self) -> Timestamp {
        after(self.config.view_url_ttl)
    }
}

fn after(ttl: Duration) -> Timestamp {
    let ttl = SignedDuration::try_from(ttl).unwrap_or(SignedDuration::MAX);
    Timestamp::now().checked_add(ttl).unwrap_or(Timestamp::MAX)
}

/// The rights that a row gives. A word that this version does not know gives none: it may take something away.
fn rights(row: &TicketRow) -> Result<ViewRights, ControlError> {
    let Some(text) = &row.rights else {
        return Ok(ViewRights::ALL);
    };
    ViewRights::parse(text).map_err(|unknown| {
        ControlError::Store(StoreError::UnknownWord {
            what: "ticket",
            id: row.id.clone().unwrap_or_default(),
            word: unknown.word,
        })
    })
}

fn ttl(seconds: i64) -> Result<Duration, ControlError> {
    let most = SHARED_TTL_MAX.as_secs();
    match u64::try_from(seconds) {
        Ok(wanted) if (1..=most).contains(&wanted) => Ok(Duration::from_secs(wanted)),
        _ => Err(ControlError::Invalid {
            field: "ttlSeconds",
            got: seconds.to_string(),
            allowed: format!("1 to {most}"),
        }),
    }
}

/// A name without what surrounds it; none if nothing is left.
fn name(text: Option<&str>) -> Result<Option<String>, ControlError> {
    let Some(name) = text.map(str::trim).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(ControlError::Invalid {
            field: "name",
            got: format!("{:?}", crate::shown(name)),
            allowed: format!("at most {NAME_CHARS_MAX} characters, none of them a control character"),
        });
    }
    Ok(Some(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        assert_eq!(name(None).unwrap(), None);
        assert_eq!(name(Some("  ")).unwrap(), None);
        assert_eq!(
            name(Some(" Ann \u{1f9d1} ")).unwrap().as_deref(),
            Some("Ann \u{1f9d1}")
        );
        assert!(name(Some(&"é".repeat(64))).is_ok());
        for bad in [&"é".repeat(65), "a\u{0}b", "a\nb", "a\u{9b}b"] {
            let refused = name(Some(bad)).unwrap_err().to_string();
            assert!(
                refused.starts_with("`name` is ") && refused.contains("allowed: at most 64"),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_shared_ticket_is_valid_for_a_day_at_most() {
        assert_eq!(ttl(86_400).unwrap(), SHARED_TTL_MAX);
        for bad in [0, -1, 86_401, i64::MIN, i64::MAX] {
            assert!(
                ttl(bad).unwrap_err().to_string().ends_with("allowed: 1 to 86400"),
                "{bad}"
            );
        }
    }
}
