//! The error codes of the API and the HTTP status that goes with each.

/// Why a request was refused, in the protocol's words.
///
/// Clients act on one of them only ([`Code::SessionNotFound`]); the rest is for people and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Missing, malformed, unknown or revoked API key.
    InvalidApiKey,
    /// Unknown, foreign or ended session. Clients end their delete polling on it.
    SessionNotFound,
    /// The same, on a route of MCP, whose clients begin anew on a 404.
    McpSessionNotFound,
    /// Unknown `imageId`.
    ImageNotFound,
    /// A field is missing or not allowed; the message names it.
    InvalidParameter,
    /// The body is not the JSON that the route takes.
    MalformedBody,
    /// The body is larger than the route takes.
    BodyTooLarge,
    /// No such route, or one that this version does not serve.
    RouteNotFound,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// The machine has no room for another session.
    NoCapacity,
    /// The session lives on another server of the same installation.
    SessionElsewhere,
    /// The live view's ticket is good, but does not give this right.
    RightMissing,
    /// The session is paused, and this request does not make it go on.
    SessionPaused,
    /// The key has as many sessions as it may have at once.
    QuotaSessions,
    /// The key's sessions have as much memory as they may have together.
    QuotaMemory,
    /// The key made as many sessions as it may make within a minute.
    QuotaCreations,
    /// The server's database does not answer, or its disk is full. It passes; the log has the cause.
    DatabaseBusy,
    /// No port link has this name, or no picture this URL.
    LinkNotFound,
    /// The session that a link leads to has ended.
    LinkEnded,
    /// The session works, but its port gave no usable answer: nothing listens there, or it does not speak HTTP.
    PortUnavailable,
    /// The session is older than what was asked of it.
    SessionOutdated,
    /// The session did not answer in time.
    SessionTimeout,
    /// Berth's own fault; the log has the cause under the request id.
    Internal,
}

impl Code {
    /// The code as it stands in the envelope.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidApiKey => "InvalidApiKey",
            Code::SessionNotFound | Code::McpSessionNotFound => "InvalidMcpSession.NotFound",
            Code::ImageNotFound => "InvalidImage.NotFound",
            Code::InvalidParameter => "InvalidParameter",
            Code::MalformedBody => "MalformedBody",
            Code::BodyTooLarge => "BodyTooLarge",
            Code::RouteNotFound => "RouteNotFound",
            Code::MethodNotAllowed => "MethodNotAllowed",
            Code::NoCapacity => "NoCapacity",
            Code::SessionElsewhere => "SessionElsewhere",
            Code::RightMissing => "RightMissing",
            Code::SessionPaused => "SessionPaused",
            Code::QuotaSessions => "QuotaExceeded.Sessions",
            Code::QuotaMemory => "QuotaExceeded.Memory",
            Code::QuotaCreations => "QuotaExceeded.CreationsPerMinute",
            Code::DatabaseBusy => "DatabaseBusy",
            Code::LinkNotFound => "LinkNotFound",
            Code::LinkEnded => "LinkEnded",
            Code::PortUnavailable => "PortUnavailable",
            Code::SessionOutdated => "SessionOutdated",
            Code::SessionTimeout => "SessionTimeout",
            Code::Internal => "InternalError",
        }
    }

    /// The HTTP status. The API answers "not found" for sessions and images with 400, which clients test for.
    pub fn status(self) -> u16 {
        match self {
            Code::InvalidApiKey => 401,
            Code::RightMissing => 403,
            Code::SessionNotFound | Code::ImageNotFound | Code::InvalidParameter | Code::MalformedBody => 400,
            Code::RouteNotFound | Code::LinkNotFound | Code::McpSessionNotFound => 404,
            Code::MethodNotAllowed => 405,
            Code::SessionPaused => 409,
            Code::SessionElsewhere => 421,
            Code::QuotaSessions | Code::QuotaMemory | Code::QuotaCreations => 429,
            Code::NoCapacity | Code::DatabaseBusy => 503,
            Code::LinkEnded => 410,
            Code::BodyTooLarge => 413,
            Code::SessionOutdated => 501,
            Code::PortUnavailable => 502,
            Code::SessionTimeout => 504,
            Code::Internal => 500,
        }
    }
}
