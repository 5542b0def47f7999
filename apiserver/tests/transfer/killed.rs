//! A mover that is ended after any of its calls, again and again: the next one goes on, and clients see nothing of it.

use larder_harness::need;

use super::clients::{Informer, Writers};
use super::reports::GROUP;
use super::site::{Site, options, until_done};

#[tokio::test(flavor = "multi_thread")]
async fn a_mover_that_is_killed_anywhere_loses_nothing() {
    let site = need!(Site::start().await);
    site.define().await;
    let (writers, informer) = (Writers::start(&site.client, 2), Informer::start(&site.client));
    writers.proceed(20).await;

    let mut deaths = 0;
    for calls in (2..).step_by(5) {
        let (transfer, death) = site.short_lived(options(), calls);
        tokio::select! {
            done = transfer.bring_in(GROUP) => if done.is_ok() { break },
            () = death.came() => deaths += 1,
        }
    }
    assert_eq!(site.in_etcd().await, 0);
    assert!(!site.has_entrance().await && deaths > 5, "{deaths}");
    writers.proceed(20).await;

    for calls in (2..).step_by(5) {
        let (transfer, death) = site.short_lived(options(), calls);
        tokio::select! {
            done = transfer.take_out(GROUP) => if done.is_ok() { break },
            () = death.came() => deaths += 1,
        }
    }
    assert!(site.is_local().await && !site.has_entrance().await && deaths > 10, "{deaths}");
    assert_eq!(site.in_store().await, Vec::<String>::new());
    writers.proceed(20).await;

    let (known, seen) = writers.stop().await;
    assert_eq!(seen.wrong, Vec::<String>::new());
    informer.holds(&known).await;
    assert_eq!(site.in_etcd().await, known.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_changes_his_mind_in_between_loses_nothing_either() {
    let site = need!(Site::start().await);
    site.define().await;
    let writers = Writers::start(&site.client, 2);
    writers.proceed(20).await;
    for calls in [9, 25, 45, 60, 80] {
        let (transfer, death) = site.short_lived(options(), calls);
        tokio::select! {
            _ = transfer.bring_in(GROUP) => {}
            () = death.came() => {}
        }
        let (transfer, death) = site.short_lived(options(), calls);
        tokio::select! {
            _ = transfer.take_out(GROUP) => {}
            () = death.came() => {}
        }
    }
    let transfer = site.transfer(options());
    until_done(async || transfer.bring_in(GROUP).await).await;
    assert_eq!(site.in_etcd().await, 0);
    writers.proceed(20).await;
    let (known, seen) = writers.stop().await;
    assert_eq!(seen.wrong, Vec::<String>::new());
    assert_eq!(site.in_store().await.len(), known.len() + 1);
}
