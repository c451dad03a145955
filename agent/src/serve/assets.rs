//! Static files. They stand in the executable, so the server needs no folder of its own and its pages work without any network.
//!
//! A file is named by its content: `/static/live.js?v=<hash>` never changes and may be kept for a year. Without the right `v` a browser asks
//! again each time, and is told that nothing changed.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::{Path, RawQuery};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use dashboards::site::{KEYS_JS, LIVE_JS, SITE_CSS};

use super::problem::Problem;
use crate::hash::sha256;

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Name, kind, content.
const FILES: [(&str, &str, &str); 3] =
    [("site.css", CSS, SITE_CSS), ("keys.js", JS, KEYS_JS), ("live.js", JS, LIVE_JS)];

struct Asset {
    kind: &'static str,
    text: &'static str,
    version: String,
}

static ASSETS: LazyLock<HashMap<&str, Asset>> = LazyLock::new(|| {
    let version = |text: &str| sha256(text.as_bytes()).chars().take(16).collect();
    FILES.into_iter().map(|(name, kind, text)| (name, Asset { kind, text, version: version(text) })).collect()
});

/// `GET /static/{file}`.
pub(super) async fn asset(
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asset = ASSETS.get(name.as_str()).ok_or_else(|| Problem::not_found("There is no such file."))?;
    let version = &asset.version;
    let tag = format!("\"{version}\"");
    let named = query.is_some_and(|query| query == format!("v={version}"));
    let keep = if named { "public, max-age=31536000, immutable" } else { "no-cache" };
    let about = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, keep.to_owned())];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    if known.split(',').any(|known| known.trim() == tag) {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    Ok((about, [(header::CONTENT_TYPE, asset.kind)], asset.text).into_response())
}
