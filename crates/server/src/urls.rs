//! The absolute URLs that the server hands out.

use axum::extract::FromRequestParts;
use http::header::HOST;
use http::request::Parts;

use crate::App;

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
        // `http` becomes `ws`, `https` becomes `wss`.
        format!(
            "ws{}/ws/{session_id}",
            self.0.strip_prefix("http").unwrap_or(&self.0)
        )
    }

    /// The live view's page.
    pub(crate) fn view(&self, ticket: &str, resource_id: &str) -> String {
        format!("{}/view/{ticket}/?resourceId={resource_id}", self.0)
    }
}

impl FromRequestParts<App> for Base {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        if let Some(url) = &app.public_url {
            return Ok(Self(url.trim_end_matches('/').to_owned()));
        }
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let scheme = match header("x-forwarded-proto") {
            Some("https") => "https",
            _ => "http",
        };
        let authority = header(HOST.as_str())
            .filter(|host| is_authority(host))
            .unwrap_or("localhost");
        Ok(Self(format!("{scheme}://{authority}")))
    }
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
    }

    #[test]
    fn a_host_header_cannot_carry_more_than_a_host() {
        assert!(is_authority("127.0.0.1:8080") && is_authority("[::1]:80"));
        assert!(!is_authority("h/evil") && !is_authority("a\"b") && !is_authority(""));
    }
}
