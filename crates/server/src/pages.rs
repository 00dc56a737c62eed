//! The pages that are part of the binary: the built `web/`, and the one that refuses.

use std::borrow::Cow;
use std::sync::LazyLock;

use axum::response::Html;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue};
use rust_embed::Embed;
use sha2::{Digest, Sha256};

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// What the page that refuses may do: look as it does.
static REFUSAL_POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = between(REFUSAL, "<style>", "</style>");
    let digest = STANDARD.encode(Sha256::digest(style));
    format!("default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")
});

const REFUSAL: &str = include_str!("refusal.html");

/// What a page may use of the browser, where it is not framed by another site; that one decides for a frame. The rest
/// is off. Browsers have no word for the keyboard lock here, and let a full screen have it.
const FEATURES: &str = "clipboard-read=(self), clipboard-write=(self), fullscreen=(self), \
                        keyboard-map=(self), autoplay=(self), camera=(), microphone=(), geolocation=(), \
                        display-capture=(), payment=(), usb=()";

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
type Guards<'a> = [(HeaderName, &'a str); 5];

/// The headers of a page of ours, with what it may do.
pub(crate) fn guarded(policy: &str) -> Guards<'_> {
    [
        (CONTENT_SECURITY_POLICY, policy),
        // The URL is the credential: it must not reach another site.
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-store"),
        (PERMISSIONS_POLICY, FEATURES),
    ]
}

/// Keeps the URL of an answer from caches and from other sites, unless the answer says otherwise of itself.
pub(crate) fn keep_private(headers: &mut HeaderMap) {
    for (name, value) in [(REFERRER_POLICY, "no-referrer"), (CACHE_CONTROL, "no-store")] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// A page that says why `what` (a live view, a port link) is refused. Needs no script.
pub(crate) fn refusal(what: &'static str, message: &str) -> (Guards<'static>, Html<String>) {
    let message = message
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;");
    let page = REFUSAL.replace("{what}", what).replace("{message}", &message);
    (guarded(&REFUSAL_POLICY), Html(page))
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let rest = text.split_once(begin).map_or("", |(_, rest)| rest);
    rest.split_once(end).map_or("", |(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_add_elements() {
        assert!(refusal("live view", "<script>").1.0.contains("&lt;script>"));
    }
}
