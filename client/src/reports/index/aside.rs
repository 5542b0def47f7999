//! Work that takes milliseconds of a processor is done beside the runtime, so that whoever serves requests on it is not held up.

/// Runs `work` on a thread for blocking work.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being shut down, and takes this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
