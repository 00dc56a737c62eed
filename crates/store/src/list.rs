//! Lists of sessions: filtered by labels, in pages that hold while sessions come and go.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row};

use crate::labels::labels_of;
use crate::{Result, SessionState, Store, counted, failed, time};

/// Which sessions a list holds.
#[derive(Debug)]
pub struct SessionFilter<'a> {
    /// Sessions of this key only.
    pub key_id: &'a str,
    /// All of these labels must match exactly.
    pub labels: &'a BTreeMap<String, String>,
    /// Sessions after this place, newest first.
    pub after: Option<ListCursor>,
    /// At most so many.
    pub limit: u32,
}

/// A place in a list. Stays valid while sessions come and go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListCursor {
    /// Creation time of the last session seen, Unix milliseconds.
    pub created_ms: i64,
    /// Its id.
    pub id: String,
}

/// A page of live sessions.
#[derive(Debug)]
pub struct SessionPage {
    /// Newest first.
    pub sessions: Vec<SessionSummary>,
    /// Where the next page begins, if there is one.
    pub next: Option<ListCursor>,
    /// Matches on all pages.
    pub total: u64,
}

/// One session of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSummary {
    /// Its id.
    pub id: String,
    /// The image it was made from.
    pub image: String,
    /// Running or paused.
    pub state: SessionState,
    /// When it was made.
    pub created: Timestamp,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Store {
    /// A page of a key's running and paused sessions, newest first.
    pub async fn list_sessions(&self, filter: &SessionFilter<'_>) -> Result<SessionPage> {
        self.page(filter).await.map_err(failed("list sessions"))
    }

    async fn page(&self, filter: &SessionFilter<'_>) -> std::result::Result<SessionPage, sqlx::Error> {
        let mut count = Statement::new("SELECT COUNT(*) FROM sessions s");
        matching(&mut count, filter);
        let total: i64 = count.query().fetch_one(&self.pool).await?.try_get(0)?;

        let mut page = Statement::new("SELECT s.id, s.image, s.paused_ms, s.created_ms FROM sessions s");
        matching(&mut page, filter);
        if let Some(after) = &filter.after {
            page.push(" AND (s.created_ms, s.id) < (").bind(after.created_ms);
            page.push(", ").bind(after.id.as_str()).push(")");
        }
        // One more than asked for tells whether there is a next page.
        page.push(" ORDER BY s.created_ms DESC, s.id DESC LIMIT ")
            .bind(i64::from(filter.limit) + 1);
        let mut rows = page.query().fetch_all(&self.pool).await?;
        let more = rows.len() > filter.limit as usize;
        rows.truncate(filter.limit as usize);

        let ids: Vec<String> = rows
            .iter()
            .map(|row| row.try_get(0))
            .collect::<std::result::Result<_, _>>()?;
        let mut labels = labels_of(self, &ids).await?;
        let sessions = ids.into_iter().zip(&rows).map(|(id, row)| {
            let paused = row.try_get::<Option<i64>, _>(2)?.is_some();
            Ok(SessionSummary {
                labels: labels.remove(&id).unwrap_or_default(),
                id,
                image: row.try_get(1)?,
                state: if paused {
                    SessionState::Paused
                } else {
                    SessionState::Running
                },
                created: time(row.try_get(3)?),
            })
        });
        let sessions: Vec<SessionSummary> = sessions.collect::<std::result::Result<_, sqlx::Error>>()?;
        let last = sessions.last().filter(|_| more);
        Ok(SessionPage {
            next: last.map(|last| ListCursor {
                created_ms: last.created.as_millisecond(),
                id: last.id.clone(),
            }),
            sessions,
            total: counted(total),
        })
    }
}

fn matching(query: &mut Statement, filter: &SessionFilter<'_>) {
    query
        .push(" WHERE s.state = 'running' AND s.key_id = ")
        .bind(filter.key_id);
    for (key, value) in filter.labels {
        query.push(" AND EXISTS (SELECT 1 FROM labels l WHERE l.session_id = s.id AND l.key = ");
        query
            .bind(key.as_str())
            .push(" AND l.value = ")
            .bind(value.as_str())
            .push(")");
    }
}

/// A statement that grows. `sqlx`'s own builder writes `?` for the parameters, which PostgreSQL does not read.
pub(crate) struct Statement {
    text: String,
    parameters: Vec<Parameter>,
}

/// A value of a [`Statement`].
pub(crate) enum Parameter {
    Text(String),
    Number(i64),
}

impl From<&str> for Parameter {
    fn from(text: &str) -> Self {
        Parameter::Text(text.to_owned())
    }
}

impl From<i64> for Parameter {
    fn from(number: i64) -> Self {
        Parameter::Number(number)
    }
}

impl Statement {
    pub(crate) fn new(text: &'static str) -> Self {
        Self {
            text: text.to_owned(),
            parameters: Vec::new(),
        }
    }

    /// Adds text of our own; never a value.
    pub(crate) fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a parameter.
    pub(crate) fn bind(&mut self, value: impl Into<Parameter>) -> &mut Self {
        self.parameters.push(value.into());
        self.text.push_str(&format!("${}", self.parameters.len()));
        self
    }

    pub(crate) fn query(&self) -> Query<'_, Any, AnyArguments> {
        let query = sqlx::query(AssertSqlSafe(self.text.clone()));
        self.parameters
            .iter()
            .fold(query, |query, parameter| match parameter {
                Parameter::Text(text) => query.bind(text.as_str()),
                Parameter::Number(number) => query.bind(*number),
            })
    }
}
