//! Labels of sessions.

use std::collections::{BTreeMap, HashMap};

use sqlx::{AnyConnection, Row};

use crate::list::Statement;
use crate::{Result, Store, failed};

impl Store {
    /// Replaces all labels of a session.
    pub async fn set_labels(&self, id: &str, labels: &BTreeMap<String, String>) -> Result<()> {
        let what = "write labels";
        let mut transaction = self.begin().await.map_err(failed(what))?;
        // Takes the session's row, so that two callers who set the same label do not meet in the middle.
        sqlx::query("UPDATE sessions SET generation = generation WHERE id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await
            .map_err(failed(what))?;
        sqlx::query("DELETE FROM labels WHERE session_id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await
            .map_err(failed(what))?;
        write_labels(&mut transaction, id, labels)
            .await
            .map_err(failed(what))?;
        transaction.commit().await.map_err(failed(what))
    }

    /// The labels of a session.
    pub async fn labels(&self, id: &str) -> Result<BTreeMap<String, String>> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT key, value FROM labels WHERE session_id = $1 ORDER BY key")
                .bind(id)
                .fetch_all(&self.pool)
                .await
                .map_err(failed("read labels"))?;
        Ok(rows.into_iter().collect())
    }
}

pub(crate) async fn write_labels(
    connection: &mut AnyConnection,
    id: &str,
    labels: &BTreeMap<String, String>,
) -> std::result::Result<(), sqlx::Error> {
    for (key, value) in labels {
        sqlx::query("INSERT INTO labels (session_id, key, value) VALUES ($1, $2, $3)")
            .bind(id)
            .bind(key)
            .bind(value)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The labels of several sessions; those without are absent.
pub(crate) async fn labels_of(
    store: &Store,
    ids: &[String],
) -> std::result::Result<HashMap<String, BTreeMap<String, String>>, sqlx::Error> {
    let mut found: HashMap<String, BTreeMap<String, String>> = HashMap::new();
    if ids.is_empty() {
        return Ok(found);
    }
    let mut query = Statement::new("SELECT session_id, key, value FROM labels WHERE session_id IN (");
    for (n, id) in ids.iter().enumerate() {
        query.push(if n == 0 { "" } else { ", " }).bind(id.as_str());
    }
    query.push(")");
    for row in query.query().fetch_all(&store.pool).await? {
        found
            .entry(row.try_get(0)?)
            .or_default()
            .insert(row.try_get(1)?, row.try_get(2)?);
    }
    Ok(found)
}
