//! A client that does a little and often, and notes how long it had to wait.

use http::{Method, header};
use larder_harness::{Answer, Server};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// A point read and a small write every tenth of a second.
pub(crate) struct Heartbeat {
    ended: Arc<AtomicBool>,
    longest: Arc<AtomicU64>,
    beating: JoinHandle<u64>,
}

const READ: &str = r#"["SELECT count FROM heartbeat WHERE id = 1"]"#;
const WRITE: &str = r#"["UPDATE heartbeat SET count = count + 1 WHERE id = 1"]"#;

impl Heartbeat {
    /// Makes its table and begins.
    pub(crate) async fn start(server: &Server) -> Self {
        let create = r#"["CREATE TABLE heartbeat (id INTEGER PRIMARY KEY, count INTEGER)", "INSERT INTO heartbeat VALUES (1, 0)"]"#;
        assert_eq!(server.connect("owner").await.post("/execute", create).await.status, 200);
        let mut connection = server.connect("writer").await;
        let (ended, longest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (until, noted) = (Arc::clone(&ended), Arc::clone(&longest));
        let beating = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            let mut beats = 0;
            while !until.load(Ordering::Relaxed) {
                ticks.tick().await;
                for (path, body) in [("/query", READ), ("/execute", WRITE)] {
                    let started = Instant::now();
                    let content = [(header::CONTENT_TYPE.as_str(), "application/json")];
                    let answer: Answer = connection.send(Method::POST, path, &content, body).await.unwrap();
                    noted.fetch_max(started.elapsed().as_millis() as u64, Ordering::Relaxed);
                    assert_eq!(answer.status, 200, "{:?}", answer.body);
                }
                beats += 1;
            }
            beats
        });
        Self { ended, longest, beating }
    }

    /// The longest wait since the last call.
    pub(crate) fn take_longest(&self) -> Duration {
        assert!(!self.beating.is_finished(), "the heartbeat has stopped");
        Duration::from_millis(self.longest.swap(0, Ordering::Relaxed))
    }

    /// Ends; says how many beats there were.
    pub(crate) async fn stop(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        self.beating.await.unwrap()
    }
}
