//! What changes in the headers on the way to a server inside a session, and on the way back. Pure.
//!
//! The server inside sees requests to `127.0.0.1` and its port, as if it were opened on its own machine, and finds where
//! the client really is in `X-Forwarded-*`. What it answers for its own root is made true under the link's prefix.

use std::net::IpAddr;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, LOCATION, ORIGIN, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, REFERER, REFERRER_POLICY, SET_COOKIE, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::urls::Seen;

/// Headers that concern one connection, and so end here, beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Answers that would speak for everything at this address, which other links and the live view share: where else to
/// find it, that it is to be forgotten, whom to tell of its errors (with their URLs, which are secrets).
const FOR_THE_WHOLE_ORIGIN: [&str; 7] = [
    "alt-svc",
    "clear-site-data",
    "nel",
    "public-key-pins",
    "report-to",
    "service-worker-allowed",
    "strict-transport-security",
];

/// What the client asks the connection to become, if it asks.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case("upgrade"));
    headers.get(UPGRADE).filter(|_| asked).cloned()
}

/// Sets the headers that make a connection change.
pub(super) fn set_upgrade(headers: &mut HeaderMap, to: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, to);
}

/// A request's headers, as the server inside should see them.
pub(super) fn to_the_port(headers: &mut HeaderMap, seen: &Seen, port: u16, client: Option<IpAddr>) {
    end_hop(headers);
    let claims: Vec<_> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-forwarded-"))
        .cloned()
        .collect();
    for name in claims {
        headers.remove(name);
    }
    headers.remove(FORWARDED);
    headers.remove("x-real-ip");
    // A key of this server, sent by mistake, is not for code of the session.
    if headers.get(AUTHORIZATION).is_some_and(is_api_key) {
        headers.remove(AUTHORIZATION);
    }

    let local = format!("127.0.0.1:{port}");
    if let Some(origin) = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok())
        && authority_and_path(origin) == Some((&seen.authority, "/"))
    {
        set(headers, ORIGIN, &format!("http://{local}"));
    }
    if let Some(referer) = headers.get(REFERER).and_then(|referer| referer.to_str().ok())
        && let Some((authority, path)) = authority_and_path(referer)
        && authority == seen.authority
    {
        match below(path, &seen.prefix) {
            Some(path) => {
                let referer = format!("http://{local}{path}");
                set(headers, REFERER, &referer);
            }
            // A page of the server itself or of another link: its URL may be a secret.
            None => drop(headers.remove(REFERER)),
        }
    }
    set(headers, HOST, &local);
    set(
        headers,
        HeaderName::from_static("x-forwarded-host"),
        &seen.authority,
    );
    set(
        headers,
        HeaderName::from_static("x-forwarded-proto"),
        &seen.scheme,
    );
    if !seen.prefix.is_empty() {
        set(
            headers,
            HeaderName::from_static("x-forwarded-prefix"),
            &seen.prefix,
        );
    }
    if let Some(client) = client {
        set(
            headers,
            HeaderName::from_static("x-forwarded-for"),
            &client.to_string(),
        );
    }
}

/// An answer's headers, as the client should see them.
pub(super) fn from_the_port(headers: &mut HeaderMap, seen: &Seen, port: u16) {
    end_hop(headers);
    for name in FOR_THE_WHOLE_ORIGIN {
        headers.remove(name);
    }
    if let Some(location) = headers.get(LOCATION).and_then(|value| value.to_str().ok())
        && let Some(location) = outside(location, seen, port)
    {
        set(headers, LOCATION, &location);
    }
    let cookies: Vec<_> = headers
        .get_all(SET_COOKIE)
        .iter()
        .map(|cookie| confined(cookie, &seen.prefix))
        .collect();
    headers.remove(SET_COOKIE);
    for cookie in cookies {
        headers.append(SET_COOKIE, cookie);
    }
    // The URL is the credential: unless the server inside wants otherwise, other sites do not learn it.
    headers
        .entry(REFERRER_POLICY)
        .or_insert(HeaderValue::from_static("same-origin"));
}

/// Removes what concerns one connection only.
fn end_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    // With both, the transfer encoding was right; it has been undone, and the length would be a wrong one.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// `Authorization: Bearer bk_<12 characters>_<43 characters>`.
fn is_api_key(authorization: &HeaderValue) -> bool {
    let key = || {
        let (scheme, key) = authorization.to_str().ok()?.split_once(' ')?;
        let (id, secret) = key.trim().strip_prefix("bk_")?.split_once('_')?;
        Some(scheme.eq_ignore_ascii_case("bearer") && id.len() == 12 && secret.len() == 43)
    };
    key().unwrap_or(false)
}

/// The authority and the path with all that follows, of an absolute HTTP URL.
fn authority_and_path(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    Some((authority, if path.is_empty() { "/" } else { path }))
}

/// What follows `prefix` in `path`, from the slash on; `None` if `path` is elsewhere.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix).filter(|rest| rest.starts_with('/'))
}

/// A redirect to the server's own root, as a path that is true outside. `None` leaves it as it is.
fn outside(location: &str, seen: &Seen, port: u16) -> Option<String> {
    let own = format!("127.0.0.1:{port}");
    let path = match authority_and_path(location) {
        Some((authority, path)) if authority == own || authority == seen.authority => path,
        Some(_) => return None,
        // Two slashes, of either kind, begin another host.
        None if location.starts_with('/') && !location[1..].starts_with(['/', '\\']) => location,
        None => return None,
    };
    // A server that minds `X-Forwarded-Prefix` has put it there.
    match below(path, &seen.prefix) {
        Some(_) => Some(path.to_owned()),
        None if path.starts_with('/') => Some(format!("{}{path}", seen.prefix)),
        None => Some(format!("{}/{path}", seen.prefix)),
    }
}

/// A cookie that stays at its link: its path is below the prefix, and no other host gets it.
fn confined(cookie: &HeaderValue, prefix: &str) -> HeaderValue {
    let mut parts = cookie.as_bytes().split(|byte| *byte == b';');
    let mut kept = parts.next().unwrap_or_default().to_vec();
    for part in parts {
        let (name, value) = match part.iter().position(|byte| *byte == b'=') {
            Some(at) => (&part[..at], part[at + 1..].trim_ascii()),
            None => (part, &b""[..]),
        };
        let name = name.trim_ascii();
        if name.eq_ignore_ascii_case(b"domain") {
            continue;
        }
        kept.push(b';');
        let is_below = |value: &[u8]| {
            value
                .strip_prefix(prefix.as_bytes())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        if name.eq_ignore_ascii_case(b"path") && value.starts_with(b"/") && !is_below(value) {
            kept.extend_from_slice(b" Path=");
            kept.extend_from_slice(prefix.as_bytes());
            kept.extend_from_slice(value);
        } else {
            kept.extend_from_slice(part);
        }
    }
    // Made of parts of one header value and of a URL's path.
    HeaderValue::from_bytes(&kept).unwrap_or(HeaderValue::from_static(""))
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Only text that stood in a header or in a checked URL comes here.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(prefix: &str) -> Seen {
        Seen {
            scheme: "https".into(),
            authority: "berth.example".into(),
            prefix: prefix.into(),
        }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn to_the_port(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = headers(lines);
        super::to_the_port(&mut headers, &seen("/port/l"), 30100, Some([192, 0, 2, 1].into()));
        headers
    }

    fn from_the_port(prefix: &str, name: &'static str, value: &str) -> Option<String> {
        let mut headers = headers(&[(name, value)]);
        super::from_the_port(&mut headers, &seen(prefix), 30100);
        headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn what_a_client_claims_about_its_way_is_replaced() {
        let headers = to_the_port(&[
            ("host", "berth.example"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-user", "root"),
            ("forwarded", "for=10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
        ]);
        assert_eq!(headers["host"], "127.0.0.1:30100");
        assert_eq!(headers["x-forwarded-for"], "192.0.2.1");
        assert_eq!(headers["x-forwarded-host"], "berth.example");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-prefix"], "/port/l");
        assert_eq!(headers.len(), 5);
    }

    #[test]
    fn what_concerns_one_connection_ends_here() {
        let headers = to_the_port(&[
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("proxy-authorization", "Basic x"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("accept", "*/*"),
        ]);
        for gone in [
            "connection",
            "x-mine",
            "te",
            "proxy-authorization",
            "transfer-encoding",
            "content-length",
        ] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
        assert_eq!(headers["accept"], "*/*");
    }

    #[test]
    fn a_key_of_this_server_does_not_reach_the_session() {
        let key = format!("Bearer bk_{}_{}", "a".repeat(12), "b-_".repeat(14) + "c");
        assert!(!to_the_port(&[("authorization", &key)]).contains_key("authorization"));
        for other in ["Bearer abc", "Basic dTpw", "Bearer bk_live_0123"] {
            assert_eq!(to_the_port(&[("authorization", other)])["authorization"], *other);
        }
    }

    #[test]
    fn a_request_from_the_same_place_stays_one() {
        for (name, value, becomes) in [
            ("origin", "https://berth.example", Some("http://127.0.0.1:30100")),
            ("origin", "https://other.example", Some("https://other.example")),
            ("origin", "null", Some("null")),
            (
                "referer",
                "https://berth.example/port/l/a?b",
                Some("http://127.0.0.1:30100/a?b"),
            ),
            ("referer", "https://berth.example/view/secret/", None),
            ("referer", "https://berth.example/port/lemon/", None),
            (
                "referer",
                "https://other.example/",
                Some("https://other.example/"),
            ),
        ] {
            let headers = to_the_port(&[(name, value)]);
            let got = headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!(got, becomes, "{name}: {value}");
        }
    }

    #[test]
    fn an_upgrade_is_one_that_connection_names() {
        let ask =
            |connection: &str| upgrade(&headers(&[("connection", connection), ("upgrade", "websocket")]));
        assert_eq!(ask("keep-alive, Upgrade").unwrap(), "websocket");
        assert_eq!(ask("keep-alive"), None);
    }

    #[test]
    fn a_redirect_to_the_root_stays_below_the_link() {
        for (location, becomes) in [
            ("/", "/port/l/"),
            ("/a?b#c", "/port/l/a?b#c"),
            ("/port/l/a", "/port/l/a"),
            ("/port/lemon", "/port/l/port/lemon"),
            ("a/b", "a/b"),
            ("?q", "?q"),
            ("//other.example/a", "//other.example/a"),
            ("/\\other.example", "/\\other.example"),
            ("http://127.0.0.1:30100/a", "/port/l/a"),
            ("http://127.0.0.1:30100", "/port/l/"),
            ("http://127.0.0.1:30100?q", "/port/l/?q"),
            ("http://127.0.0.1:30101/a", "http://127.0.0.1:30101/a"),
            ("http://berth.example/a", "/port/l/a"),
            ("https://berth.example/port/l/a", "/port/l/a"),
            ("https://other.example/a", "https://other.example/a"),
            ("mailto:a@b", "mailto:a@b"),
        ] {
            assert_eq!(
                from_the_port("/port/l", "location", location).unwrap(),
                becomes,
                "{location}"
            );
        }
        assert_eq!(
            from_the_port("", "location", "http://127.0.0.1:30100/a").unwrap(),
            "/a"
        );
        assert_eq!(from_the_port("", "location", "/a").unwrap(), "/a");
    }

    #[test]
    fn a_cookie_stays_at_its_link() {
        for (cookie, becomes) in [
            ("a=b; Path=/", "a=b; Path=/port/l/"),
            ("a=b; path = /c ;HttpOnly", "a=b; Path=/port/l/c;HttpOnly"),
            ("a=b; Path=/port/l/c", "a=b; Path=/port/l/c"),
            (
                "a=b; Domain=example; Secure; SameSite=Lax",
                "a=b; Secure; SameSite=Lax",
            ),
            ("a=b", "a=b"),
            ("", ""),
        ] {
            assert_eq!(
                from_the_port("/port/l", "set-cookie", cookie).unwrap(),
                becomes,
                "{cookie}"
            );
        }
        assert_eq!(
            from_the_port("", "set-cookie", "a=b; Path=/x; Domain=e").unwrap(),
            "a=b; Path=/x"
        );
    }

    #[test]
    fn an_answer_speaks_for_itself_only() {
        for name in FOR_THE_WHOLE_ORIGIN {
            assert_eq!(from_the_port("", name, "x"), None, "{name}");
        }
        assert_eq!(from_the_port("", "referrer-policy", "origin").unwrap(), "origin");
        assert_eq!(
            from_the_port("", "referrer-policy", "").unwrap(),
            "",
            "what the server inside says stands"
        );
        let mut headers = HeaderMap::new();
        super::from_the_port(&mut headers, &seen(""), 30100);
        assert_eq!(headers["referrer-policy"], "same-origin");
    }

    proptest! {
        #[test]
        fn any_cookie_path_is_below_the_link(cookie in "[ -~]{0,60}", path in "/[ -:<-~]{0,20}") {
            let cookie = format!("{cookie};pAth={path}");
            let kept = from_the_port("/port/l", "set-cookie", &cookie).unwrap();
            for part in kept.split(';').skip(1) {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
                prop_assert!(name != "domain", "{}", kept);
                if name == "path" && value.starts_with('/') {
                    prop_assert!(value.starts_with("/port/l"), "{}", kept);
                }
            }
        }

        #[test]
        fn any_location_is_read(location in "[ -~]{0,80}") {
            let _ = from_the_port("/port/l", "location", &location);
        }
    }
}
