//! The pages that are part of the binary: the built `web/`, and the one that refuses.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write;
use std::sync::LazyLock;

use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue};
use rust_embed::Embed;
use sha2::{Digest, Sha256};

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// What the page that refuses may do: look as it does.
static REFUSAL_POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = hash_source(REFUSAL, "<style>", "</style>");
    format!("default-src 'none'; style-src {style}; base-uri 'none'; form-action 'none'")
});

/// What the pages may do: talk to their own server, and nothing else. The one script that stands in the live view's page,
/// `web/src/page/first.ts`, is named by its hash. Other sites may frame it; that is a use of it.
static PAGE_POLICY: LazyLock<String> = LazyLock::new(|| {
    let page = FILES
        .get("index.html")
        .map_or_else(Cow::default, |file| String::from_utf8_lossy(&file.plain));
    let first = hash_source(&page, "<script>", "</script>");
    format!(
        "default-src 'none'; script-src 'self' {first}; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'"
    )
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

/// A file of the built pages, as it is and deflated: over a slow link its length is most of the wait for a picture.
struct File {
    plain: Cow<'static, [u8]>,
    gzip: Vec<u8>,
    kind: &'static str,
}

static FILES: LazyLock<HashMap<String, File>> = LazyLock::new(|| {
    let file = |name: Cow<'static, str>| {
        let kind = content_type(&name)?;
        let plain = Web::get(&name)?.data;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        // Into memory, which does not fail.
        gzip.write_all(&plain).ok()?;
        let gzip = gzip.finish().ok()?;
        Some((name.into_owned(), File { plain, gzip, kind }))
    };
    Web::iter().filter_map(file).collect()
});

/// Readies the pages, which the first viewer would wait for otherwise.
pub(crate) fn prepare() {
    LazyLock::force(&FILES);
}

/// The live view's page, for a browser that accepts `accepted`.
pub(crate) fn index(accepted: &HeaderMap) -> Option<Response> {
    page("index.html", accepted)
}

/// The page that plays recordings.
pub(crate) fn player(accepted: &HeaderMap) -> Option<Response> {
    page("player.html", accepted)
}

fn page(name: &str, accepted: &HeaderMap) -> Option<Response> {
    let body = FILES.get(name)?.response(accepted);
    Some((guarded(&PAGE_POLICY), body).into_response())
}

/// A file of these pages.
pub(crate) fn asset(name: &str, accepted: &HeaderMap) -> Option<Response> {
    FILES
        .get(&format!("assets/{name}"))
        .map(|file| file.response(accepted))
}

impl File {
    fn response(&'static self, accepted: &HeaderMap) -> Response {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        let body: &'static [u8] = if takes_gzip(accepted) {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            &self.gzip
        } else {
            &self.plain
        };
        (headers, body).into_response()
    }
}

/// Whether a browser says that it takes gzip. One that refuses it by a quality of 0 is met nowhere but in a test.
fn takes_gzip(accepted: &HeaderMap) -> bool {
    let words = accepted
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut codings = words.flat_map(|value| value.split(',')).map(str::trim);
    codings.any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip")
            && !matches!(quality.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

fn content_type(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        _ => return None,
    })
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

/// How a policy names what stands between `begin` and `end` in `page`.
fn hash_source(page: &str, begin: &str, end: &str) -> String {
    format!(
        "'sha256-{}'",
        STANDARD.encode(Sha256::digest(between(page, begin, end)))
    )
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let rest = text.split_once(begin).map_or("", |(_, rest)| rest);
    rest.split_once(end).map_or("", |(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_those_who_take_it() {
        let takes = |accepted: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, accepted.parse().unwrap());
            takes_gzip(&headers)
        };
        assert!(takes("gzip") && takes("br;q=1.0, GZIP ; q=0.8") && takes("deflate,gzip"));
        assert!(!takes("br") && !takes("gzip;q=0") && !takes("x-gzip2") && !takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_message_cannot_add_elements() {
        assert!(refusal("live view", "<script>").1.0.contains("&lt;script>"));
    }
}
