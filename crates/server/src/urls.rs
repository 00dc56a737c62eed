//! The absolute URLs that the server hands out.

use axum::extract::FromRequestParts;
use berth_agb_api::Code;
use berth_control::ControlError;
use http::HeaderMap;
use http::header::HOST;
use http::request::Parts;

use crate::App;
use crate::error::ApiError;

/// Where the client of this request reaches the server: scheme, authority and path prefix, without a slash at the end.
#[derive(Debug, Clone)]
pub(crate) struct Base(String);

impl Base {
    /// The link route of a session; clients append `/callTool`.
    pub(crate) fn link(&self, session_id: &str) -> String {
        format!("{}/link/{session_id}", self.0)
    }

    /// The stream route of a session.
    pub(crate) fn stream(&self, session_id: &str) -> String {
        Protocol::WebSocket.of(&format!("{}/ws/{session_id}", self.0))
    }

    /// Where an MCP client with an event stream sends its messages: a path, because a client holds it against the origin that
    /// it has called.
    pub(crate) fn mcp_stream(&self, name: &str) -> String {
        let origin_and_path = self.0.split_once("://").map_or(self.0.as_str(), |(_, rest)| rest);
        let prefix = origin_and_path.split_once('/').map_or("", |(_, path)| path);
        let slash = if prefix.is_empty() { "" } else { "/" };
        format!("{slash}{prefix}/v2/sse/{name}")
    }

    /// The link to a port.
    pub(crate) fn port(&self, links: Option<&LinksUrl>, link: &str, protocol: Protocol) -> String {
        match links {
            Some(links) => links.url(link, protocol),
            None => protocol.of(&format!("{}/port/{link}/", self.0)),
        }
    }

    /// Where a session's pictures are; the id of one follows.
    pub(crate) fn pictures(&self, link: &str) -> String {
        format!("{}/screenshot/{link}/", self.0)
    }

    /// The live view's page.
    pub(crate) fn view(&self, ticket: &str, resource_id: &str) -> String {
        format!("{}/view/{ticket}/?resourceId={resource_id}", self.0)
    }
}

/// Where a client sees a port link: what the server inside is told, and where its redirects and cookies belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) scheme: String,
    pub(crate) authority: String,
    /// The path of the link, without a slash at the end; empty for a link with a host name of its own.
    pub(crate) prefix: String,
}

/// What a client will speak on a port link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    WebSocket,
}

impl Protocol {
    /// Reads `protocolType`. Whether the URL is a secure one is not the caller's choice but the server's, so `https` and
    /// `http` ask for the same.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        match text {
            "" | "http" | "https" => Ok(Self::Http),
            "ws" | "wss" => Ok(Self::WebSocket),
            other => {
                let shown: String = other.chars().take(40).collect();
                Err(ApiError::new(
                    Code::InvalidParameter,
                    format!("`protocolType` is {shown:?}; allowed: http, https, ws, wss"),
                ))
            }
        }
    }

    /// `base`, which begins with `http`, in the scheme of this protocol.
    fn of(self, base: &str) -> String {
        match self {
            Self::Http => base.to_owned(),
            // `http` becomes `ws`, `https` becomes `wss`.
            Self::WebSocket => format!("ws{}", base.strip_prefix("http").unwrap_or(base)),
        }
    }
}

/// Host names for port links, `https://*.links.example.com`: each link is an origin of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinksUrl {
    scheme: &'static str,
    /// With its leading dot, in lower case.
    domain: String,
    /// With its leading colon, or empty.
    port: String,
}

impl LinksUrl {
    /// Reads such a URL; `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://*")?;
        let scheme = ["http", "https"].into_iter().find(|known| *known == scheme)?;
        let (domain, port) = match authority.split_once(':') {
            Some((domain, port)) => (domain, format!(":{}", port.parse::<u16>().ok()?)),
            None => (authority, String::new()),
        };
        let name = domain.strip_prefix('.')?;
        let is_name = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
        is_name.then(|| Self {
            scheme,
            domain: domain.to_owned(),
            port,
        })
    }

    /// The link that a host names, if it is one of these hosts: the part before the domain, in lower case.
    fn link(&self, host: &str) -> Option<String> {
        let host = host.to_ascii_lowercase();
        let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
        name.strip_suffix(self.domain.as_str()).map(str::to_owned)
    }

    fn url(&self, link: &str, protocol: Protocol) -> String {
        let base = format!("{}://{link}{}{}/", self.scheme, self.domain, self.port);
        protocol.of(&base)
    }
}

/// A request came to the host name of a link; its path has been put below the link's route.
#[derive(Debug, Clone, Copy)]
struct ByHost;

/// Leads a request whose host is that of a link to the link's route: one route serves both kinds of link. Gives back
/// one that is for the server itself.
pub(crate) fn lead_to_link<B>(
    links: &LinksUrl,
    request: http::Request<B>,
) -> Result<http::Request<B>, http::Request<B>> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = request
        .uri()
        .authority()
        .map(http::uri::Authority::as_str)
        .or(host);
    let Some(link) = host.and_then(|host| links.link(host)) else {
        return Err(request);
    };
    let rest = request
        .uri()
        .path_and_query()
        .map_or("/", |rest| rest.as_str())
        .trim_start_matches('*');
    // What cannot stand in a path is no link of ours; under this host there is nothing else.
    let uri = format!("/port/{link}/{}", rest.strip_prefix('/').unwrap_or(rest))
        .parse()
        .unwrap_or_else(|_| http::Uri::from_static("/port/-/"));
    let mut request = request;
    *request.uri_mut() = uri;
    request.extensions_mut().insert(ByHost);
    Ok(request)
}

impl FromRequestParts<App> for Seen {
    type Rejection = ApiError;

    /// Refuses a link that is not used where this server has its links: on the server's own origin, pages of sessions
    /// would not be kept apart as the setting promises.
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        match (&app.links_url, parts.extensions.get::<ByHost>()) {
            (None, None) => {
                let base = Base::of(parts, app);
                let link = parts.uri.path().strip_prefix("/port/").unwrap_or_default();
                let link = link.split('/').next().unwrap_or_default();
                let (scheme, rest) = base.0.split_once("://").unwrap_or(("http", &base.0));
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                let path = if path.is_empty() {
                    String::new()
                } else {
                    format!("/{path}")
                };
                Ok(Self {
                    scheme: scheme.to_owned(),
                    authority: authority.to_owned(),
                    prefix: format!("{path}/port/{link}"),
                })
            }
            (Some(links), Some(ByHost)) => Ok(Self {
                scheme: links.scheme.to_owned(),
                authority: host(&parts.headers).unwrap_or("localhost").to_owned(),
                prefix: String::new(),
            }),
            (Some(_), None) | (None, Some(_)) => Err(ControlError::UnknownLink.into()),
        }
    }
}

impl FromRequestParts<App> for Base {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts, app))
    }
}

impl Base {
    fn of(parts: &Parts, app: &App) -> Self {
        if let Some(url) = &app.public_url {
            return Self(url.trim_end_matches('/').to_owned());
        }
        let scheme = if is_secure(&parts.headers, app) {
            "https"
        } else {
            "http"
        };
        Self(format!(
            "{scheme}://{}",
            host(&parts.headers).unwrap_or("localhost")
        ))
    }
}

/// Does the client of this request speak TLS, with this server or with a proxy that says so?
pub(crate) fn is_secure(headers: &HeaderMap, app: &App) -> bool {
    app.has_tls
        || headers
            .get("x-forwarded-proto")
            .is_some_and(|proto| proto == "https")
}

/// The host of a request, with its port, if it is nothing but that.
pub(crate) fn host(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(HOST)?.to_str().ok()?;
    is_authority(host).then_some(host)
}

/// Only what a host and a port are made of: the text goes into URLs that others open.
fn is_authority(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_under_the_base() {
        let base = Base("https://h:1/p".into());
        assert_eq!(base.link("s-1"), "https://h:1/p/link/s-1");
        assert_eq!(base.stream("s-1"), "wss://h:1/p/ws/s-1");
        assert_eq!(base.view("t", "r"), "https://h:1/p/view/t/?resourceId=r");
        assert_eq!(Base("http://h".into()).stream("s"), "ws://h/ws/s");
        assert_eq!(base.pictures("l"), "https://h:1/p/screenshot/l/");
        assert_eq!(base.mcp_stream("n"), "/p/v2/sse/n");
        assert_eq!(Base("http://h".into()).mcp_stream("n"), "/v2/sse/n");
    }

    #[test]
    fn a_port_link_has_a_path_or_a_host_of_its_own() {
        let base = Base("https://h:1/p".into());
        assert_eq!(base.port(None, "l", Protocol::Http), "https://h:1/p/port/l/");
        assert_eq!(base.port(None, "l", Protocol::WebSocket), "wss://h:1/p/port/l/");
        let links = LinksUrl::parse("http://*.Links.example:8080/").unwrap();
        assert_eq!(
            base.port(Some(&links), "l", Protocol::WebSocket),
            "ws://l.links.example:8080/"
        );
        for bad in [
            "",
            "https://links.example",
            "ftp://*.links.example",
            "https://*links.example",
            "https://*.",
            "https://*.a/b",
            "https://*.a:x",
            "*.links.example",
        ] {
            assert_eq!(LinksUrl::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_host_of_a_link_leads_to_its_route_and_nowhere_else() {
        let links = LinksUrl::parse("https://*.links.example").unwrap();
        let led = |host: &str, uri: &str| {
            let request = http::Request::get(uri).header(HOST, host).body(()).unwrap();
            lead_to_link(&links, request).map(|request| request.uri().to_string())
        };
        assert_eq!(
            led("L.Links.Example:443", "/a//b?c=/d").unwrap(),
            "/port/l/a//b?c=/d"
        );
        assert_eq!(led("l.links.example", "/").unwrap(), "/port/l/");
        assert_eq!(led("l.links.example", "*").unwrap(), "/port/l/");
        assert_eq!(led("l.links.example", "/mcp").unwrap(), "/port/l/mcp");
        assert_eq!(
            led("ignored", "http://l.links.example/a").unwrap(),
            "/port/l/a",
            "the host in the request line counts"
        );
        assert_eq!(led("a.b.links.example", "/").unwrap(), "/port/a.b/");
        assert_eq!(led("a b.links.example", "/").unwrap(), "/port/-/");
        for own in ["links.example", "berth.example", "", "l.links.example.org"] {
            assert!(led(own, "/mcp").is_err(), "{own}");
        }
    }

    #[test]
    fn a_host_header_cannot_carry_more_than_a_host() {
        assert!(is_authority("127.0.0.1:8080") && is_authority("[::1]:80"));
        assert!(!is_authority("h/evil") && !is_authority("a\"b") && !is_authority(""));
    }
}
