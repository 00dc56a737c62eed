//! Sessions: create, recover, status, live view URL, list, keep alive, release.

use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use berth_agb_api::envelope::{Envelope, Page, Success};
use berth_agb_api::requests::{CreateSession, CreateSessionQuery, ListSessions, SessionRef};
use berth_agb_api::responses::{
    DesktopInfo, ListedSession, Resource, Session as SessionData, Status, ToolRef,
};
use berth_agb_api::{Code, labels};
use berth_control::{Cursor, NewSession, Session, SessionState, SessionSummary};

use crate::auth::{Caller, FormerCaller};
use crate::body::{Json, Query};
use crate::error::ApiError;
use crate::openapi::{Keyed, OfCreation, OfSession};
use crate::request::RequestId;
use crate::urls::Base;
use crate::{App, audit};

/// Answer of a handler with `data`.
pub(super) type Answer<T> = Result<axum::Json<Success<T>>, ApiError>;

/// The state of a live session, in a word that the clients take for "alive".
fn status_of(session: &Session) -> &'static str {
    if session.is_paused() { "PAUSED" } else { "RUNNING" }
}

/// Makes a session.
#[utoipa::path(
    post, path = "/mcp/createSession", operation_id = "createSession", tag = "Sessions",
    params(CreateSessionQuery),
    request_body = Option<CreateSession>,
    responses((status = 200, body = Success<SessionData>, description = "Done"), OfCreation),
    security(("apiKey" = [])),
)]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    base: Base,
    Query(query): Query<CreateSessionQuery>,
    Json(body): Json<CreateSession>,
) -> Answer<SessionData> {
    let image = query
        .image_id
        .as_deref()
        .map(str::trim)
        .filter(|image| !image.is_empty())
        .ok_or_else(|| ApiError::missing("imageId", "the name of an image, in the query"))?;
    let new = NewSession {
        image,
        labels: labels::parse(body.labels.as_deref().unwrap_or_default())?,
        idle_timeout_s: body.timeout,
        policy: body.mcp_policy_id.as_deref(),
        contexts: body.persistence_data_list.map_or(0, |list| list.len()),
    };
    audit::note(|note| {
        note.image = Some(audit::shown(new.image));
        note.labels = Some(new.labels.keys().cloned().collect());
    });
    let (session, ticket) = app.control.create(&caller.key, new).await?;
    audit::uses(&session);
    Ok(axum::Json(Success::new(
        id,
        session_data(&app, &base, &session, &ticket, None)?,
    )))
}

/// Everything that a client needs to go on with a session. Counts as use.
#[utoipa::path(
    post, path = "/mcp/getSession", operation_id = "getSession", tag = "Sessions",
    request_body = SessionRef,
    responses((status = 200, body = Success<SessionData>, description = "Done"), OfSession),
    security(("apiKey" = [])),
)]
pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    base: Base,
    Json(body): Json<SessionRef>,
) -> Answer<SessionData> {
    let session = app.control.session(&caller.key.id, session_id(&body)?).await?;
    session.touch();
    let ticket = app.control.issue_ticket(&session).await?;
    Ok(axum::Json(Success::new(
        id,
        session_data(&app, &base, &session, &ticket, Some(status_of(&session)))?,
    )))
}

/// A session's state. Clients poll it, so it does not count as use.
#[utoipa::path(
    post, path = "/mcp/getSessionInfo", operation_id = "getSessionInfo", tag = "Sessions",
    request_body = SessionRef,
    responses((status = 200, body = Success<Status>, description = "Done"), OfSession),
    security(("apiKey" = [])),
)]
pub(crate) async fn status(
    State(app): State<App>,
    caller: FormerCaller,
    id: RequestId,
    Json(body): Json<SessionRef>,
) -> Answer<Status> {
    let session = app.control.session(&caller.key.id, session_id(&body)?).await?;
    caller.valid()?;
    let status = status_of(&session);
    Ok(axum::Json(Success::new(id, Status { status })))
}

/// A fresh live view URL.
#[utoipa::path(
    post, path = "/mcp/getMcpResource", operation_id = "getMcpResource", tag = "Sessions",
    request_body = SessionRef,
    responses((status = 200, body = Success<Resource>, description = "Done"), OfSession),
    security(("apiKey" = [])),
)]
pub(crate) async fn resource(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    base: Base,
    Json(body): Json<SessionRef>,
) -> Answer<Resource> {
    let session = app.control.session(&caller.key.id, session_id(&body)?).await?;
    session.touch();
    let ticket = app.control.issue_ticket(&session).await?;
    let resource_id = session.sandbox_id().to_owned();
    Ok(axum::Json(Success::new(
        id,
        Resource {
            session_id: session.id.clone(),
            resource_url: base.view(&ticket, &resource_id),
            desktop_info: DesktopInfo {
                resource_id,
                ..DesktopInfo::default()
            },
        },
    )))
}

/// Counts as use of a session. Its parameter stands in the query.
#[utoipa::path(
    post, path = "/mcp/refreshSessionIdleTime", operation_id = "refreshSessionIdleTime", tag = "Sessions",
    params(SessionRef),
    responses((status = 200, body = Envelope, description = "Done"), OfSession),
    security(("apiKey" = [])),
)]
pub(crate) async fn refresh(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Query(query): Query<SessionRef>,
) -> Result<axum::Json<Envelope>, ApiError> {
    app.control
        .session(&caller.key.id, session_id(&query)?)
        .await?
        .touch();
    Ok(axum::Json(Envelope::new(id)))
}

/// Releases a session. Succeeds again for one that has ended.
#[utoipa::path(
    post, path = "/mcp/releaseSessionAsync", operation_id = "releaseSessionAsync", tag = "Sessions",
    request_body = SessionRef,
    responses((status = 200, body = Envelope, description = "Done"), OfSession),
    security(("apiKey" = [])),
)]
pub(crate) async fn release(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Json(body): Json<SessionRef>,
) -> Result<axum::Json<Envelope>, ApiError> {
    app.control.release(&caller.key, session_id(&body)?).await?;
    Ok(axum::Json(Envelope::new(id)))
}

/// The same, under the name that older clients use.
#[utoipa::path(
    post, path = "/mcp/releaseSession", operation_id = "releaseSession", tag = "Sessions",
    request_body = SessionRef,
    responses((status = 200, body = Envelope, description = "Done"), OfSession),
    security(("apiKey" = [])),
)]
pub(crate) async fn release_by_old_name(
    app: State<App>,
    caller: Caller,
    id: RequestId,
    body: Json<SessionRef>,
) -> Result<axum::Json<Envelope>, ApiError> {
    release(app, caller, id, body).await
}

/// The key's live sessions, newest first.
#[utoipa::path(
    get, path = "/sdk/ListSession", operation_id = "listSessions", tag = "Sessions",
    params(ListSessions),
    responses((status = 200, body = Page<ListedSession>, description = "Done"), Keyed),
    security(("apiKey" = [])),
)]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Query(query): Query<ListSessions>,
) -> Result<axum::Json<Page<ListedSession>>, ApiError> {
    let asked = Asked {
        length: ("maxResults", query.max_results),
        token: query.next_token,
        labels: query.labels,
    };
    page(&app, &caller, id, asked, |session| ListedSession {
        session_status: match session.state {
            SessionState::Paused => "PAUSED",
            SessionState::Running | SessionState::Ending | SessionState::Ended => "RUNNING",
        },
        session_id: session.id,
    })
    .await
}

/// What a request asks of a list, as it stands in the query.
pub(super) struct Asked {
    /// The field of the page's length, and what it holds.
    pub(super) length: (&'static str, Option<String>),
    /// The token of a former page.
    pub(super) token: Option<String>,
    /// A JSON object of labels.
    pub(super) labels: Option<String>,
}

/// A page of the key's live sessions, each told by `row`.
pub(super) async fn page<T>(
    app: &App,
    caller: &Caller,
    id: RequestId,
    asked: Asked,
    row: impl FnMut(SessionSummary) -> T,
) -> Result<axum::Json<Page<T>>, ApiError> {
    let limit = page_length(asked.length.0, asked.length.1.as_deref())?;
    let labels = labels::parse(asked.labels.as_deref().unwrap_or_default())?;
    let token = asked.token.as_deref().filter(|token| !token.is_empty());
    let after = token.map(read_token).transpose()?;
    let page = app.control.list(&caller.key.id, &labels, after, limit).await?;
    let rows = page.sessions.into_iter().map(row).collect();
    let next = page.next.as_ref().map(write_token);
    Ok(axum::Json(Page::new(id, rows, next, limit, page.total)))
}

/// The session that a request names.
pub(super) fn session_id(named: &SessionRef) -> Result<&str, ApiError> {
    named
        .session_id
        .as_deref()
        .map(str::trim)
        .filter(|id| !id.is_empty())
        .inspect(|id| audit::names(id))
        .ok_or_else(|| ApiError::missing("sessionId", "the id of a session"))
}

fn session_data(
    app: &App,
    base: &Base,
    session: &Session,
    ticket: &str,
    status: Option<&'static str>,
) -> Result<SessionData, ApiError> {
    let tools = app.control.session_tools().iter().map(|tool| ToolRef {
        name: &tool.name,
        server: &tool.server,
    });
    let tool_list = serde_json::to_string(&tools.collect::<Vec<_>>())
        .map_err(|error| ApiError::new(Code::Internal, format!("could not write the tool list: {error}")))?;
    let resource_id = session.sandbox_id().to_owned();
    Ok(SessionData {
        session_id: session.id.clone(),
        app_instance_id: resource_id.clone(),
        resource_url: base.view(ticket, &resource_id),
        resource_id,
        link_url: base.link(&session.id),
        ws_url: base.stream(&session.id),
        token: app.control.token(session),
        tool_list,
        status,
    })
}

fn page_length(field: &str, text: Option<&str>) -> Result<u32, ApiError> {
    let text = text.unwrap_or("10");
    match text.parse() {
        Ok(length @ 1..=100) => Ok(length),
        _ => {
            let shown: String = text.chars().take(40).collect();
            Err(ApiError::new(
                Code::InvalidParameter,
                format!("`{field}` is {shown}; allowed: 1 to 100"),
            ))
        }
    }
}

fn write_token(cursor: &Cursor) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{}", cursor.created_ms, cursor.id))
}

fn read_token(token: &str) -> Result<Cursor, ApiError> {
    let read = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (created_ms, id) = text.split_once(':')?;
        Some(Cursor {
            created_ms: created_ms.parse().ok()?,
            id: id.to_owned(),
        })
    };
    read().ok_or_else(|| {
        let shown: String = token.chars().take(40).collect();
        ApiError::new(
            Code::InvalidParameter,
            format!("`nextToken` is {shown:?}; allowed: the `nextToken` of a former page"),
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_leads_back_to_its_place(created_ms: i64, id in "s-[a-z2-7]{20}") {
            let cursor = Cursor { created_ms, id };
            prop_assert_eq!(read_token(&write_token(&cursor)).unwrap(), cursor);
        }

        #[test]
        fn any_token_is_read_or_refused(token in ".{0,100}") {
            let _ = read_token(&token);
        }
    }

    #[test]
    fn a_page_length_is_never_capped_in_silence() {
        assert_eq!(page_length("limit", None).unwrap(), 10);
        assert_eq!(page_length("limit", Some("100")).unwrap(), 100);
        for bad in ["0", "-1", "101", "1000", "x", ""] {
            assert!(
                page_length("limit", Some(bad))
                    .unwrap_err()
                    .message
                    .contains("allowed: 1 to 100"),
                "{bad}"
            );
        }
    }
}
