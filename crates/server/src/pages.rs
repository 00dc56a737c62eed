//! The pages that are part of the binary: the built `web/`, and the one that refuses.

use std::borrow::Cow;

use axum::response::Html;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use rust_embed::Embed;

/// What the page that refuses may do: nothing.
const REFUSAL_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// What `npm run build` left in `web/dist`.
#[derive(Embed)]
#[folder = "../../web/dist"]
struct Web;

/// The live view's page.
pub(crate) fn index() -> Option<String> {
    Web::get("index.html").map(|file| String::from_utf8_lossy(&file.data).into_owned())
}

/// A file of the page, with its content type.
pub(crate) fn asset(name: &str) -> Option<(Cow<'static, [u8]>, &'static str)> {
    let kind = match name.rsplit_once('.')?.1 {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        _ => return None,
    };
    Web::get(&format!("assets/{name}")).map(|file| (file.data, kind))
}

/// Headers of a page.
type Guards = [(HeaderName, &'static str); 4];

/// The headers of a page of ours, with what it may do.
pub(crate) fn guarded(policy: &'static str) -> Guards {
    [
        (CONTENT_SECURITY_POLICY, policy),
        // The URL is the credential: it must not reach another site.
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-store"),
    ]
}

/// A page that says why `what` (a live view, a port link) is refused. Needs no script.
pub(crate) fn refusal(what: &'static str, message: &str) -> (Guards, Html<String>) {
    let message = message
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;");
    let page = include_str!("refusal.html")
        .replace("{what}", what)
        .replace("{message}", &message);
    (guarded(REFUSAL_POLICY), Html(page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_add_elements() {
        assert!(refusal("live view", "<script>").1.0.contains("&lt;script>"));
    }
}
