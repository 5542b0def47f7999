//! What is left when the process is killed between any two changes of the disk.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::{Condition, Directory, KeyValue as _, Operation};

const DIRECTORY: &str = "LARDER_TEST_DIRECTORY";
const KILL_AT: &str = "LARDER_TEST_KILL_AT";

/// Ends the process, as `kill -9` would, where the test that started it said so.
pub(super) fn step() {
    use std::sync::atomic::{AtomicU64, Ordering};
    static STEPS: AtomicU64 = AtomicU64::new(0);
    let Ok(kill_at) = std::env::var(KILL_AT) else { return };
    if kill_at.parse() == Ok(STEPS.fetch_add(1, Ordering::Relaxed)) {
        std::process::abort();
    }
}

fn put(key: &str, value: &'static str) -> Operation {
    Operation::Put { key: key.to_owned(), value: value.into(), condition: Condition::Any }
}

fn delete(key: &str) -> Operation {
    Operation::Delete { key: key.to_owned(), condition: Condition::Any }
}

fn long() -> String {
    "long/".repeat(100)
}

/// Three keys that another transaction takes over, in one of each kind of change.
async fn content(store: &Directory) -> Vec<Option<String>> {
    let keys = ["a".to_owned(), "b".to_owned(), long(), "c".to_owned()];
    let found = store.get(&keys).await.expect("reads");
    found.into_iter().map(|it| Some(String::from_utf8(it?.value.to_vec()).expect("is text"))).collect()
}

/// The victim: not a test of its own, but what the test below starts as a process.
#[tokio::test]
#[ignore = "is started by another test"]
async fn victim() {
    let store = Directory::open(std::env::var(DIRECTORY).expect("is given")).expect("opens");
    let changes = vec![put("a", "new"), delete("b"), put(&long(), "new"), put("c", "new")];
    assert!(store.commit(changes).await.expect("commits"));
}

#[tokio::test]
async fn a_transaction_is_whole_or_not_there_wherever_the_process_is_killed() {
    let old = vec![Some("old".to_owned()), Some("old".to_owned()), None, None];
    let new = vec![Some("new".to_owned()), None, Some("new".to_owned()), Some("new".to_owned())];
    let (mut seen_old, mut seen_new) = (0, 0);
    for kill_at in 0.. {
        let home = tempfile::tempdir().expect("a directory");
        let store = Directory::open(home.path()).expect("opens");
        assert!(store.commit(vec![put("a", "old"), put("b", "old")]).await.expect("commits"));
        let before = store.get(&["a".to_owned()]).await.expect("reads");

        let ended = Command::new(std::env::current_exe().expect("has a path"))
            .args(["--exact", "fallback::directory::tests::victim", "--ignored"])
            .env(DIRECTORY, home.path())
            .env(KILL_AT, kill_at.to_string())
            .output()
            .expect("starts");

        // Once as the next process finds it, once as the one that was open all the time.
        let again = Directory::open(home.path()).expect("opens");
        let left = content(&again).await;
        assert_eq!(left, content(&store).await);
        assert!(left == old || left == new, "killed at {kill_at}: {left:?}");
        seen_old += usize::from(left == old);
        seen_new += usize::from(left == new);
        assert_eq!(std::fs::read_dir(home.path().join("new")).expect("is there").count(), 0);

        let renewed = store.commit(vec![put("a", "newer")]).await.expect("commits");
        let after = again.get(&["a".to_owned()]).await.expect("reads");
        assert!(
            renewed && after[0].as_ref().map(|it| it.revision) > before[0].as_ref().map(|it| it.revision)
        );
        if ended.status.success() {
            assert_eq!(left, new);
            break;
        }
    }
    assert!(seen_old >= 3 && seen_new >= 5, "{seen_old} times before, {seen_new} times after");
}

const STEPS: usize = 40;

/// One of several processes that count together.
#[tokio::test]
#[ignore = "is started by another test"]
async fn counter() {
    let store = Directory::open(std::env::var(DIRECTORY).expect("is given")).expect("opens");
    for _ in 0..STEPS {
        loop {
            let entry = store.get(&["count".to_owned()]).await.expect("reads").remove(0).expect("is there");
            let count: usize = String::from_utf8_lossy(&entry.value).parse().expect("a number");
            let (value, condition) = ((count + 1).to_string().into(), Condition::Unchanged(entry.revision));
            let step = Operation::Put { key: "count".to_owned(), value, condition };
            if store.commit(vec![step]).await.expect("commits") {
                break;
            }
        }
    }
}

#[tokio::test]
async fn processes_that_count_together_lose_no_step() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Directory::open(home.path()).expect("opens");
    assert!(store.commit(vec![put("count", "0")]).await.expect("commits"));
    let start = |_| {
        Command::new(std::env::current_exe().expect("has a path"))
            .args(["--exact", "fallback::directory::tests::counter", "--ignored"])
            .env(DIRECTORY, home.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("starts")
    };
    let processes: Vec<_> = (0..3).map(start).collect();
    for mut process in processes {
        assert!(process.wait().expect("ends").success());
    }
    let counted = store.get(&["count".to_owned()]).await.expect("reads").remove(0).expect("is there");
    assert_eq!(counted.value, (3 * STEPS).to_string());
}

#[tokio::test]
async fn a_volume_that_is_gone_is_no_empty_store() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Directory::open(home.path().join("store")).expect("opens");
    std::fs::rename(home.path().join("store"), home.path().join("unmounted")).expect("renames");
    let outage = store.get(&["a".to_owned()]).await.expect_err("is away");
    assert!(matches!(outage, super::StoreError::Unreachable { .. }), "{outage}");
    std::fs::create_dir(home.path().join("store")).expect("makes");
    store.list("", None, 10).await.expect_err("is another directory");
}

#[tokio::test]
async fn who_is_kept_out_says_so_in_time() {
    let home = tempfile::tempdir().expect("a directory");
    drop(Directory::open(home.path()).expect("is founded"));
    let lock = std::fs::File::open(home.path().join("lock")).expect("is there");
    lock.lock().expect("locks");
    let (begun, patience) = (Instant::now(), Duration::from_millis(200));
    let store = Directory::open_with_patience(home.path(), patience).expect("waits for nobody");
    let outage = store.get(&["a".to_owned()]).await.expect_err("is locked");
    assert!(matches!(outage, super::StoreError::Unreachable { .. }), "{outage}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    lock.unlock().expect("unlocks");
    assert_eq!(store.get(&["a".to_owned()]).await.expect("answers"), [None]);
}

#[test]
fn a_store_is_founded_once_however_many_come() {
    for _ in 0..50 {
        let home = tempfile::tempdir().expect("a directory");
        let open = || Directory::open(home.path().join("store")).map(drop);
        std::thread::scope(|scope| {
            let openers: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            for opener in openers {
                opener.join().expect("runs").expect("opens");
            }
        });
    }
}
