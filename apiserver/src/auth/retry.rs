//! Asking the kube-apiserver again: as Kubernetes' own servers do, five times within ten seconds, if trying again can help.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// How long an answer may take, however often it is asked for.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const ATTEMPTS: u32 = 5;

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The last attempt failed so.
    #[error("{0}")]
    Failed(String),
    /// None has ended in time.
    #[error("the kube-apiserver has not answered within {} s", PATIENCE.as_secs())]
    TooLate,
}

/// Asks until there is an answer, or one that stays as it is.
pub(super) async fn ask<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, AskError>
where
    F: Future<Output = Result<T, kube::Error>>,
{
    let deadline = Instant::now() + PATIENCE;
    let mut pause = FIRST_PAUSE;
    for left in (0..ATTEMPTS).rev() {
        let answer = timeout_at(deadline, attempt()).await.map_err(|_| AskError::TooLate)?;
        match answer {
            Ok(answer) => return Ok(answer),
            Err(error) if left > 0 && may_pass(&error) && Instant::now() + pause < deadline => {
                sleep(pause).await;
                pause = pause * 3 / 2;
            }
            Err(error) => return Err(AskError::Failed(told(&error))),
        }
    }
    Err(AskError::TooLate)
}

/// Overload, a server that stumbled, and a connection that broke.
fn may_pass(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 429 | 500 | 503 | 504),
        kube::Error::HyperError(_) | kube::Error::Service(_) => true,
        _ => false,
    }
}

/// The error with what caused it.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
