//! The server about itself.

use axum::extract::State;
use serde::Serialize;

use crate::App;
use crate::error::ApiError;

/// Answer of `GET /healthz`.
#[derive(Debug, Serialize)]
pub(crate) struct Health {
    status: &'static str,
    version: &'static str,
    sessions: usize,
    pool: Pool,
}

/// Sandboxes that wait for a session, and how many there should be.
#[derive(Debug, Serialize)]
struct Pool {
    ready: usize,
    size: usize,
}

/// `GET /healthz`: 200 when the server can work. Open to all, so it says nothing of anybody's sessions but their number.
pub(crate) async fn check(State(app): State<App>) -> Result<axum::Json<Health>, ApiError> {
    let health = app.control.health().await?;
    let pool = Pool {
        ready: health.pool_ready,
        size: health.pool_size,
    };
    Ok(axum::Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        sessions: health.sessions,
        pool,
    }))
}

/// `GET /`: for a person who opens the server's address in a browser.
pub(crate) async fn front_page() -> &'static str {
    concat!(
        "Berth ",
        env!("CARGO_PKG_VERSION"),
        " is running.\n\nThis address is the endpoint for clients: set AGB_ENDPOINT to it and AGB_API_KEY to a key \
         from `berth key create`.\n",
    )
}
