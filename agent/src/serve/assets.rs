//! Static files. They stand in the executable, so the server needs no folder of its own and its pages work without any network.
//!
//! A file is named by its content: `/static/live.js?v=<hash>` never changes and may be kept for a year. Without the right `v` a browser asks
//! again each time, and is told that nothing changed.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::{Path, RawQuery};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use dashboards::site::assets::{ASSETS, Asset};

use super::problem::Problem;

static VERSIONS: LazyLock<HashMap<&str, (Asset, String)>> =
    LazyLock::new(|| ASSETS.into_iter().map(|asset| (asset.name, (asset, asset.version()))).collect());

/// `GET /static/{file}`.
pub(super) async fn asset(
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (asset, version) = VERSIONS.get(name.as_str()).ok_or_else(|| Problem::not_found("There is no such file."))?;
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
