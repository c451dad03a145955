//! Pages that list: nights, campaigns, a night's experiments and their tree; and the page that was written in the morning. `/api/` has the
//! same as JSON.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use dashboards::site::{self, CampaignView, ExperimentsQuery, ExperimentsView, ROWS, Tab, TreeView, frame};
use serde::Serialize;

use super::problem::Problem;
use super::{Served, views};
use crate::files;
use crate::flow::NightId;
use crate::records::NightRecord;
use crate::report::seconds_cut_off;
use crate::store::{ListQuery, Reader};

/// Bytes of a morning's page.
const MOST_REPORT: u64 = 64 << 20;

/// The morning's page is one file with its own styles, and has this policy of its own in it.
const REPORT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; \
                             frame-ancestors 'none'";

type Answer = Result<Response, Problem>;
/// Names and values of an address's query.
pub(super) type Parameters = Query<Vec<(String, String)>>;

pub(super) fn routes() -> Router<Arc<Served>> {
    Router::new()
        .route("/nights", get(nights))
        .route("/campaigns/{campaign}", get(campaign))
        .route("/nights/{night}", get(experiments))
        .route("/nights/{night}/tree", get(tree))
        .route("/nights/{night}/report", get(report))
        .route("/api/nights", get(api_nights))
        .route("/api/campaigns/{campaign}", get(api_campaign))
        .route("/api/nights/{night}/experiments", get(api_experiments))
        .route("/api/nights/{night}/tree", get(api_tree))
}

/// A JSON document. What could be read as markup stands in it as an escape, whatever opens it.
pub(super) fn document(value: &impl Serialize) -> Answer {
    let text = serde_json::to_string(value).map_err(|error| Problem::internal(&error))?;
    let text = text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// The night of an address.
pub(super) async fn night_of(reader: &Reader, name: &str) -> Result<NightRecord, Problem> {
    let found = match NightId::try_from(name.to_owned()) {
        Ok(id) => reader.night(&id).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| Problem::not_found(format!("There is no night {name:?}.")))
}

async fn nights(State(served): State<Arc<Served>>) -> Answer {
    let campaigns = campaigns(&served.reader().await?, None).await?;
    Ok(Html(frame(&served.frame("Nights", Tab::Nights), site::nights(&campaigns))).into_response())
}

async fn api_nights(State(served): State<Arc<Served>>) -> Answer {
    document(&campaigns(&served.reader().await?, None).await?)
}

/// All campaigns with their nights, or one of them.
async fn campaigns(reader: &Reader, campaign: Option<&str>) -> Result<Vec<CampaignView>, Problem> {
    let nights = reader.listed_nights(campaign).await?;
    let mut cut_off = HashMap::new();
    // The journals of the few: one night's takes milliseconds.
    for night in nights.iter().filter(|night| night.resumed) {
        cut_off.insert(night.night.clone(), seconds_cut_off(reader, &night.night).await?);
    }
    Ok(views::campaigns(nights, &cut_off))
}

async fn campaign(State(served): State<Arc<Served>>, Path(name): Path<String>) -> Answer {
    let mut view = campaign_view(&served, &name).await?;
    view.picture = Some(site::progress_of_nights(&view.nights).map_err(|error| Problem::internal(&error))?);
    let about = served.frame(&format!("Campaign {name}"), Tab::Nights);
    Ok(Html(frame(&about, site::campaign(&view))).into_response())
}

async fn api_campaign(State(served): State<Arc<Served>>, Path(name): Path<String>) -> Answer {
    document(&campaign_view(&served, &name).await?)
}

async fn campaign_view(served: &Served, name: &str) -> Result<CampaignView, Problem> {
    let reader = served.reader().await?;
    let found = campaigns(&reader, Some(name)).await?.pop();
    let view = found.ok_or_else(|| Problem::not_found(format!("There is no night of a campaign {name:?}.")))?;
    Ok(CampaignView { accumulated: views::accumulated(reader.kept_changes(name).await?), ..view })
}

async fn experiments(State(served): State<Arc<Served>>, Path(night): Path<String>, asked: Parameters) -> Answer {
    let view = experiments_view(&served, &night, asked).await?;
    let about = served.frame(&format!("Experiments of {night}"), Tab::Experiments).of_night(night);
    Ok(Html(frame(&about, site::experiments(&view))).into_response())
}

async fn api_experiments(State(served): State<Arc<Served>>, Path(night): Path<String>, asked: Parameters) -> Answer {
    document(&experiments_view(&served, &night, asked).await?)
}

async fn experiments_view(served: &Served, night: &str, asked: Parameters) -> Result<ExperimentsView, Problem> {
    let pairs = asked.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let query = ExperimentsQuery::parse(pairs).map_err(|error| Problem::bad_request(error.to_string()))?;
    let reader = served.reader().await?;
    let night = night_of(&reader, night).await?;
    let listed = ListQuery {
        outcome: query.verdict.map(|verdict| verdict.name()),
        proposer: query.proposer.as_deref(),
        family: query.family.as_deref(),
        text: Some(query.q.as_str()).filter(|text| !text.is_empty()),
        sort: query.sort.name(),
        descending: query.descending,
        skip: (query.page - 1).saturating_mul(ROWS),
        most: ROWS,
    };
    let listed = reader.listed(&night.id, &listed).await?;
    let view = views::experiments(&night, query, listed);
    if view.query.page > view.pages() {
        return Err(Problem::not_found(format!(
            "There is no page {}; the last one is {}.",
            view.query.page,
            view.pages()
        )));
    }
    Ok(view)
}

async fn tree(State(served): State<Arc<Served>>, Path(night): Path<String>) -> Answer {
    let view = tree_view(&served, &night).await?;
    let about = served.frame(&format!("Tree of {night}"), Tab::Tree).of_night(night);
    Ok(Html(frame(&about, site::tree(&view))).into_response())
}

async fn api_tree(State(served): State<Arc<Served>>, Path(night): Path<String>) -> Answer {
    document(&tree_view(&served, &night).await?)
}

async fn tree_view(served: &Served, night: &str) -> Result<TreeView, Problem> {
    let reader = served.reader().await?;
    let night = night_of(&reader, night).await?;
    let start = reader.start_level(&night.id).await?;
    let champions = reader.champion_moves(&night.id).await?;
    Ok(views::tree(&night, start, &champions, reader.tree(&night.id).await?))
}

async fn report(State(served): State<Arc<Served>>, Path(night): Path<String>) -> Answer {
    let reader = served.reader().await?;
    let night = night_of(&reader, &night).await?;
    let path = served.layout.reports(&night.campaign, &night.id).join("report.html");
    let read = tokio::task::spawn_blocking(move || files::read_capped(&path, MOST_REPORT)).await;
    match read.map_err(|error| Problem::internal(&error))? {
        Ok(page) => {
            let about =
                [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, REPORT_POLICY)];
            Ok((about, page).into_response())
        }
        Err(error) if error.is_not_found() => Err(Problem::not_found(format!(
            "The morning's page of night {} is not written yet: it is written when the night ends, or by `nocturne report {}`.",
            night.id, night.id
        ))),
        Err(error) => Err(Problem::internal(&error)),
    }
}
