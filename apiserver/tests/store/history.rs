//! Histories that are lost: the database is replaced by an old copy of itself.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use larder_apiserver::store::{Selection, Store, StoreError};
use larder_apiserver::watch::{From, Watches};
use larder_client::database::{Database, Embedded};
use tempfile::TempDir;

use crate::close;
use crate::suite::{RESOURCE, all, at, create, failed, listed, shown, store, told};

fn open(directory: &Path) -> (Arc<Embedded>, Arc<dyn Database>) {
    let database = Arc::new(Embedded::open(directory).unwrap());
    (Arc::clone(&database), database)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

async fn write(store: &Store, prefix: &str, count: usize) -> u64 {
    for it in 0..count {
        create(store, &format!("{prefix}/{it}"), "x=1").await;
    }
    store.revision().await.unwrap()
}

#[tokio::test]
async fn a_restart_expires_nobody() {
    let home = TempDir::new().unwrap();
    let (engine, database) = open(home.path());
    let first = store(&database).await;
    let early = write(&first, "a", 2).await;
    let made = create(&first, "b/b", "").await;
    let latest = first.revision().await.unwrap();
    drop((first, database));
    close(engine).await;
    let (_engine, database) = open(home.path());
    let (again, _other) = (store(&database).await, store(&database).await);
    assert!(again.revision().await.unwrap() > latest);
    assert_eq!(listed(&again, &at(early)).await.unwrap().len(), 2);
    assert_eq!(listed(&again, &at(latest)).await.unwrap().len(), 3);
    let watches = Watches::new(again.clone());
    let mut watch = watches.watch(RESOURCE, Selection::default(), From::Revision(early)).await.unwrap();
    let next = create(&again, "c/c", "").await;
    assert_eq!(told(&mut watch, 2).await, [format!("+{}", shown(&made)), format!("+{}", shown(&next))]);
    let mut watch = watches.watch(RESOURCE, Selection::default(), From::Revision(latest)).await.unwrap();
    assert_eq!(told(&mut watch, 1).await, [format!("+{}", shown(&next))]);
}

#[tokio::test]
async fn a_lost_history_is_expired_and_no_revision_of_it_is_given_again() {
    let home = TempDir::new().unwrap();
    let (now, then) = (home.path().join("now"), home.path().join("then"));
    let (engine, database) = open(&now);
    let first = store(&database).await;
    let common = write(&first, "a", 3).await;
    drop((first, database));
    close(engine).await;
    copy(&now, &then);

    let (engine, database) = open(&now);
    let second = store(&database).await;
    let opened = second.revision().await.unwrap();
    let lost = write(&second, "b", 3).await;
    drop((second, database));
    close(engine).await;

    let (_engine, database) = open(&then);
    let restored = store(&database).await;
    let began = restored.revision().await.unwrap();
    assert!(began > lost, "{began} is above {lost}, which nobody here has ever seen");
    let watches = Watches::new(restored.clone());
    for revision in [opened, lost - 1, lost] {
        let list = listed(&restored, &at(revision)).await;
        assert!(matches!(failed(list), StoreError::Expired { asked, .. } if asked == revision));
        let watch = watches.watch(RESOURCE, Selection::default(), From::Revision(revision)).await;
        assert!(matches!(failed(watch), StoreError::Expired { asked, .. } if asked == revision));
    }
    // What both histories have in common is still good.
    let mut watch = watches.watch(RESOURCE, Selection::default(), From::Revision(common)).await.unwrap();
    let made = create(&restored, "b/0", "").await;
    assert!(made.revision > began);
    assert_eq!(told(&mut watch, 1).await, [format!("+{}", shown(&made))]);
    assert_eq!(listed(&restored, &at(common)).await.unwrap().len(), 3);
    assert_eq!(listed(&restored, &all()).await.unwrap().len(), 4);
}
