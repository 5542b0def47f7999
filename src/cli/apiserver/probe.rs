//! The probe port of the API server: plain HTTP for the kubelet and for Prometheus, and no object.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use larder_apiserver::http::ApiServer;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::metrics::Metrics;
use crate::http::probe;
use crate::tls::Tls;

#[derive(Clone)]
struct Probed {
    api: Arc<ApiServer>,
    metrics: Arc<Metrics>,
    tls: Arc<Tls>,
}

/// Serves until `ended`.
pub(super) async fn run(
    listener: TcpListener,
    api: Arc<ApiServer>,
    metrics: Arc<Metrics>,
    tls: Arc<Tls>,
    ended: watch::Receiver<bool>,
) {
    let router = Router::new()
        .route("/metrics", get(scrape))
        .fallback(get(health))
        .with_state(Probed { api, metrics, tls });
    probe::serve(listener, router, ended).await;
}

async fn health(State(probed): State<Probed>, uri: Uri, RawQuery(query): RawQuery) -> Response {
    match probed.api.probe(uri.path(), query.as_deref()).await {
        Some(told) => told.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn scrape(State(probed): State<Probed>) -> Response {
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, media_type)], probed.metrics.render(&probed.tls)).into_response()
}
