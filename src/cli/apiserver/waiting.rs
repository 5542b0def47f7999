//! A database that is not there yet, as when both come up for the first time: the server waits for it instead of ending again and again, ever
//! more rarely started anew. Meanwhile its probes say what it waits for, and nothing else is served.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use larder_apiserver::store::{Store, StoreError, StoreOptions};
use larder_client::database::Database;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::wait_for_a_signal;
use crate::http::probe;

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// Opens the store as soon as its database answers, and gives back the listener that answered probes meanwhile. `None` if a signal came first.
pub(super) async fn open(
    database: Arc<dyn Database>,
    options: StoreOptions,
    listener: TcpListener,
) -> anyhow::Result<Option<(Store, TcpListener)>> {
    let listener = listener.into_std()?;
    let ours = TcpListener::from_std(listener.try_clone()?)?;
    let (tell, told) = watch::channel("[-]database: not asked yet".to_owned());
    let (end, ended) = watch::channel(false);
    let probes = tokio::spawn(probe::serve(ours, router(told), ended));
    let opened = tokio::select! {
        opened = attempts(&database, options, &tell) => Some(opened?),
        signal = wait_for_a_signal() => signal.map(|()| None)?,
    };
    let _ = end.send(true);
    probes.await?;
    let Some(store) = opened else { return Ok(None) };
    Ok(Some((store, TcpListener::from_std(listener)?)))
}

async fn attempts(
    database: &Arc<dyn Database>,
    options: StoreOptions,
    tell: &watch::Sender<String>,
) -> anyhow::Result<Store> {
    loop {
        match Store::open(Arc::clone(database), options).await {
            Err(StoreError::Database(error)) if error.may_pass() => {
                let line = format!("[-]database: {error}");
                // What is said already is not said every second.
                if tell.send_if_modified(|it| std::mem::replace(it, line.clone()) != line) {
                    tracing::warn!(%error, "waiting for the database");
                }
            }
            done => return done.context("the store"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn router(told: watch::Receiver<String>) -> Router {
    let waits = move || {
        let line = format!("{}\n", *told.borrow());
        async move { (StatusCode::SERVICE_UNAVAILABLE, line) }
    };
    Router::new().route("/livez", get(|| async { "ok\n" })).fallback(get(waits))
}
