//! The pages that are part of the binary: the built `web/`, and the one that refuses.

use std::borrow::Cow;

use rust_embed::Embed;

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

/// A page that says why a live view URL is refused. Needs no script.
pub(crate) fn refusal(message: &str) -> String {
    let message = message
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;");
    include_str!("refusal.html").replace("{message}", &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_add_elements() {
        assert!(refusal("<script>").contains("&lt;script>"));
    }
}
