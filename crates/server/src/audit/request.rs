//! What a request is remembered by: handlers note it while they run, one line is written when the answer is ready.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::response::Response;
use berth_agb_api::Code;
use berth_control::{KeyRow, Session};
use http::Method;

use super::{Audit, Line, REFUSED};
use crate::error::ApiError;

/// A route whose every request is written down.
struct Watched {
    /// Any, if there is none.
    method: Option<Method>,
    route: &'static str,
    event: &'static str,
    /// What the caller shows: an API `key`, a session's `token`, or the `ticket` of a live view.
    credential: &'static str,
    /// It is its [`Part`]s that are written down; the request itself only when it is refused.
    in_parts: bool,
}

const fn watched(
    method: Option<Method>,
    route: &'static str,
    event: &'static str,
    credential: &'static str,
) -> Watched {
    Watched {
        method,
        route,
        event,
        credential,
        in_parts: false,
    }
}

/// A route whose requests may hold a tool call, or none.
const fn in_parts(method: Method, route: &'static str, credential: &'static str) -> Watched {
    Watched {
        method: Some(method),
        route,
        event: "session.tools",
        credential,
        in_parts: true,
    }
}

/// The routes that create, use, show or end something. What only reads (lists, states) is left out: clients poll it.
const WATCHED: &[Watched] = &[
    watched(Some(Method::POST), "/mcp/createSession", "session.create", "key"),
    watched(Some(Method::POST), "/mcp/getSession", "view.issue", "key"),
    watched(Some(Method::POST), "/mcp/getMcpResource", "view.issue", "key"),
    watched(
        Some(Method::POST),
        "/mcp/releaseSessionAsync",
        "session.release",
        "key",
    ),
    watched(
        Some(Method::POST),
        "/mcp/releaseSession",
        "session.release",
        "key",
    ),
    watched(Some(Method::POST), "/sdk/SetLabel", "session.labels", "key"),
    watched(
        Some(Method::POST),
        "/api/v1/sessions/{session}/pause",
        "session.pause",
        "key",
    ),
    watched(
        Some(Method::POST),
        "/api/v1/sessions/{session}/resume",
        "session.resume",
        "key",
    ),
    watched(
        Some(Method::POST),
        "/api/v1/sessions/{session}/tickets",
        "view.share",
        "key",
    ),
    watched(
        Some(Method::DELETE),
        "/api/v1/sessions/{session}/tickets",
        "view.revoke",
        "key",
    ),
    watched(
        Some(Method::DELETE),
        "/api/v1/sessions/{session}/tickets/{ticketId}",
        "view.revoke",
        "key",
    ),
    watched(Some(Method::POST), "/mcp", "session.tools", "key"),
    watched(
        Some(Method::POST),
        "/link/{session}/callTool",
        "session.tools",
        "token",
    ),
    in_parts(Method::POST, "/link/{session}/mcp", "token"),
    in_parts(Method::POST, "/v2/mcp", "key"),
    watched(Some(Method::DELETE), "/v2/mcp", "session.release", "key"),
    in_parts(Method::GET, "/v2/sse", "key"),
    watched(Some(Method::GET), "/ws/{session}", "stream.open", "token"),
    watched(Some(Method::GET), "/link/{session}/files", "file.read", "token"),
    watched(Some(Method::PUT), "/link/{session}/files", "file.write", "token"),
    watched(
        Some(Method::GET),
        "/ws/{session}/processes/{process}",
        "process.open",
        "token",
    ),
    watched(Some(Method::GET), "/view/{ticket}/ws", "view.open", "ticket"),
    watched(Some(Method::GET), "/view/{ticket}/files", "file.read", "ticket"),
    watched(Some(Method::PUT), "/view/{ticket}/files", "file.write", "ticket"),
    watched(Some(Method::GET), "/internet/getLink", "link.issue", "key"),
    watched(Some(Method::GET), "/mcp/getLink", "link.issue", "key"),
    watched(
        Some(Method::GET),
        "/screenshot/{pictures}/{picture}",
        "picture.read",
        "link",
    ),
    watched(None, "/port/{link}/", PORT, "link"),
    watched(None, "/port/{link}/{*path}", PORT, "link"),
];

/// A request for a server inside a session.
const PORT: &str = "port.open";

/// Characters of a text that a client chose.
const TEXT_CHARS_MAX: usize = 100;

tokio::task_local! {
    static CURRENT: Current;
}

struct Current {
    audit: Arc<Audit>,
    asked: Arc<Asked>,
    note: RefCell<Note>,
}

/// What is known of a request before a handler sees it.
pub(crate) struct Asked {
    watched: Option<&'static Watched>,
    route: String,
    request_id: String,
    peer: Option<String>,
    forwarded_for: Option<IpAddr>,
    started: Instant,
}

/// What handlers add.
#[derive(Debug, Default, Clone)]
pub(crate) struct Note {
    pub(crate) key_id: Option<String>,
    pub(crate) key_name: Option<String>,
    pub(crate) session_id: Option<String>,
    /// The id of a shared ticket, which is no secret.
    pub(crate) ticket_id: Option<String>,
    pub(crate) image: Option<String>,
    /// The keys of labels; their values may say more than an auditor should read.
    pub(crate) labels: Option<Vec<String>>,
    pub(crate) tool: Option<String>,
    /// What the caller showed, on a route that takes several credentials.
    pub(crate) credential: Option<&'static str>,
    /// A refusal that the answer's status does not show.
    pub(crate) refusal: Option<Code>,
}

impl Asked {
    /// Reads a request; `route` is its pattern, because paths hold tickets.
    pub(crate) fn new(request: &Request, route: &str, request_id: &str, peer: Option<SocketAddr>) -> Self {
        let forwarded = request.headers().get_all("x-forwarded-for").iter().next_back();
        Self {
            watched: WATCHED.iter().find(|watched| {
                watched.route == route
                    && watched
                        .method
                        .as_ref()
                        .is_none_or(|method| method == request.method())
            }),
            route: route.to_owned(),
            request_id: request_id.to_owned(),
            peer: peer.map(|peer| peer.to_string()),
            // The last address is the one that the nearest proxy saw; those before it are a client's word.
            forwarded_for: forwarded
                .and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()),
            started: Instant::now(),
        }
    }

    /// Is it carried out, and told of, even when its caller leaves? What the log is to know is, but for two: a server inside a
    /// session is to learn that nobody waits any more, and a client of MCP cancels a call by leaving.
    pub(crate) fn is_whole(&self) -> bool {
        self.watched
            .is_some_and(|watched| watched.event != PORT && !watched.in_parts)
    }

    fn line<'a>(&'a self, event: &'a str, note: &'a Note) -> Line<'a> {
        Line {
            request_id: Some(&self.request_id),
            credential: note.credential.or(self.watched.map(|watched| watched.credential)),
            peer: self.peer.as_deref(),
            forwarded_for: self.forwarded_for,
            key_id: note.key_id.as_deref(),
            key_name: note.key_name.as_deref(),
            session_id: note.session_id.as_deref(),
            ticket_id: note.ticket_id.as_deref(),
            image: note.image.as_deref(),
            labels: note.labels.as_deref(),
            tool: note.tool.as_deref(),
            ..Line::of(event)
        }
    }
}

/// Runs a request, then writes its line, if it deserves one.
pub(crate) async fn watch(audit: Arc<Audit>, asked: Asked, run: impl Future<Output = Response>) -> Response {
    let asked = Arc::new(asked);
    let current = Current {
        audit: Arc::clone(&audit),
        asked: Arc::clone(&asked),
        note: RefCell::default(),
    };
    CURRENT
        .scope(current, async {
            let response = run.await;
            let note = CURRENT.with(|current| current.note.take());
            write(&audit, &asked, &note, &response);
            response
        })
        .await
}

fn write(audit: &Audit, asked: &Asked, note: &Note, response: &Response) {
    let failure = response
        .extensions()
        .get::<Arc<ApiError>>()
        .map(|error| error.code);
    let refusal = failure.or(note.refusal);
    let event = match (refusal, asked.watched) {
        (Some(Code::InvalidApiKey), _) => REFUSED,
        (None, Some(watched)) if watched.in_parts => return,
        (_, Some(watched)) => watched.event,
        (_, None) => return,
    };
    let line = Line {
        route: (event == REFUSED).then_some(asked.route.as_str()),
        outcome: refusal.map_or("ok", Code::as_str),
        duration_ms: asked.watched.map(|_| millis(asked.started)),
        ..asked.line(event, note)
    };
    audit.write(line);
}

/// Notes something about the request that is being handled. Says nothing where there is none.
pub(crate) fn note(add: impl FnOnce(&mut Note)) {
    let _ = CURRENT.try_with(|current| add(&mut current.note.borrow_mut()));
}

/// Notes the key that the request shows.
pub(crate) fn asked_by(key: &KeyRow) {
    note(|note| {
        note.key_id = Some(key.id.clone());
        note.key_name = Some(key.name.clone());
    });
}

/// Notes the session that the request names, whether there is one or not.
pub(crate) fn names(session_id: &str) {
    note(|note| note.session_id = Some(shown(session_id)));
}

/// Notes the session that the request uses, and the key it belongs to.
pub(crate) fn uses(session: &Session) {
    note(|note| {
        note.session_id = Some(session.id.clone());
        note.key_id = Some(session.key_id.clone());
    });
}

/// A text of a client, as it may stand in a line.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// The present request, for a part of it that deserves a line of its own, and may go on in another task.
#[derive(Clone)]
pub(crate) struct Part {
    audit: Arc<Audit>,
    asked: Arc<Asked>,
    note: Note,
}

/// The present request, with what is known of it by now.
pub(crate) fn part() -> Option<Part> {
    CURRENT
        .try_with(|current| Part {
            audit: Arc::clone(&current.audit),
            asked: Arc::clone(&current.asked),
            note: current.note.borrow().clone(),
        })
        .ok()
}

/// Does the work of a part, then writes its line; also when nobody waits for it any more.
pub(crate) async fn tell<T>(
    part: Option<Part>,
    event: &'static str,
    work: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let Some(Part { audit, asked, note }) = part else {
        return work.await;
    };
    let current = Current {
        audit: Arc::clone(&audit),
        asked: Arc::clone(&asked),
        note: RefCell::new(note),
    };
    CURRENT
        .scope(current, async {
            let mut line = LineAtEnd {
                audit,
                asked,
                event,
                started: Instant::now(),
                outcome: "cancelled",
            };
            let done = work.await;
            line.outcome = done.as_ref().err().map_or("ok", |error| error.code.as_str());
            done
        })
        .await
}

/// Writes the line of a part when it is dropped, within the part.
struct LineAtEnd {
    audit: Arc<Audit>,
    asked: Arc<Asked>,
    event: &'static str,
    started: Instant,
    outcome: &'static str,
}

impl Drop for LineAtEnd {
    fn drop(&mut self) {
        let note = CURRENT
            .try_with(|current| current.note.take())
            .unwrap_or_default();
        self.audit.write(Line {
            outcome: self.outcome,
            duration_ms: Some(millis(self.started)),
            ..self.asked.line(self.event, &note)
        });
    }
}

/// A connection that the present request has opened. Its end is a line of its own.
pub(crate) struct Opened {
    audit: Arc<Audit>,
    asked: Arc<Asked>,
    note: Note,
    since: Instant,
}

/// Begins to measure a connection; keep the value for as long as it is open.
pub(crate) fn opened() -> Option<Opened> {
    CURRENT
        .try_with(|current| Opened {
            audit: Arc::clone(&current.audit),
            asked: Arc::clone(&current.asked),
            note: current.note.borrow().clone(),
            since: Instant::now(),
        })
        .ok()
}

impl Drop for Opened {
    fn drop(&mut self) {
        let event = match self.asked.watched.map(|watched| watched.event) {
            Some("view.open") => "view.close",
            Some("stream.open") => "stream.close",
            _ => return,
        };
        self.audit.write(Line {
            duration_ms: Some(millis(self.since)),
            ..self.asked.line(event, &self.note)
        });
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Routes that are asked with a method that could change something, and do not, or only count as use.
    const UNWATCHED: &[&str] = &[
        "/mcp/getSessionInfo",
        "/mcp/listTools",
        "/mcp/refreshSessionIdleTime",
        // What comes through it is told as part of the stream.
        "/v2/sse/{stream}",
    ];

    #[test]
    fn every_route_that_changes_something_is_watched() {
        let document = crate::router::routes().into_openapi();
        let mut changing = 0;
        for (path, item) in &document.paths.paths {
            let changes =
                item.post.is_some() || item.put.is_some() || item.patch.is_some() || item.delete.is_some();
            if !changes || UNWATCHED.contains(&path.as_str()) {
                continue;
            }
            changing += 1;
            // A link without its slash only leads to the one with it.
            let is_redirect = path == "/port/{link}";
            let watched = WATCHED.iter().any(|watched| watched.route == path);
            assert!(watched || is_redirect, "{path} is not in the audit log");
        }
        assert!(changing > 8, "{changing}");
        for watched in WATCHED {
            assert!(
                document.paths.paths.contains_key(watched.route),
                "{} is no route",
                watched.route
            );
        }
    }
}
