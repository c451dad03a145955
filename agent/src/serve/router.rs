//! Which page answers which URL. Every request goes through the guard first, and every answer through [`finish`] last.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::guard::Admitted;
use super::problem::finish;
use super::{Served, assets, events, experiment, now, pages, review};

/// The whole server.
pub fn router(served: Arc<Served>) -> Router {
    Router::new()
        .route("/", get(now::page))
        .route("/api/now", get(now::document))
        .route("/events", get(events::events))
        .route("/static/{file}", get(assets::asset))
        .merge(pages::routes())
        .merge(experiment::routes())
        .merge(review::routes())
        .layer(from_fn_with_state(Arc::clone(&served), admit))
        .layer(from_fn(finish))
        .with_state(served)
}

async fn admit(State(served): State<Arc<Served>>, request: Request, next: Next) -> Response {
    match served.guard.admit(request).await {
        Ok(Admitted::In(request)) => next.run(request).await,
        Ok(Admitted::Cookie(answer)) => answer,
        Err(problem) => problem.into_response(),
    }
}
