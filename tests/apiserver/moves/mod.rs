//! Moving with the real binary beside a real kube-apiserver, as a pod with the account and the rights of the manifests.
//!
//! What a mover that ends after any of its calls leaves behind is tried in `apiserver/tests/transfer`, with the same clients.

#[path = "../../../apiserver/tests/transfer/clients.rs"]
mod clients;
#[path = "../../../apiserver/tests/transfer/reports.rs"]
mod reports;
mod site;

use std::time::{Duration, Instant};

use larder_harness::{ApiServer, need};
use serde_json::Value;

use clients::{Informer, Writers};
use reports::GROUP;
use site::{NAMESPACE, Site, moved};

/// How long a stage of a move may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// The objects that nobody changes.
const KEPT: usize = 300;

/// Waits until a stage of the group's move has begun.
fn stage(larder: &ApiServer, stage: &str) {
    let line = format!(r#""group":"{GROUP}","stage":"{stage}""#);
    drop(larder.log().wait_for(&line, PATIENCE));
}

/// Waits until so many objects have come to this state since the server was started.
async fn count(larder: &ApiServer, state: &str, count: u64) {
    let deadline = Instant::now() + PATIENCE;
    while moved(larder, state).await < count {
        assert!(Instant::now() < deadline, "{count} objects do not come to be {state}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the group is moved.
fn end(larder: &ApiServer, direction: &str) {
    let line = format!(r#""message":"everything is moved","group":"{GROUP}","direction":"{direction}""#);
    drop(larder.log().wait_for(&line, PATIENCE));
}

/// What differs.
fn assert_same(
    before: &std::collections::BTreeMap<String, Value>,
    after: &std::collections::BTreeMap<String, Value>,
) {
    for name in before.keys().chain(after.keys()) {
        assert_eq!(before.get(name), after.get(name), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_moves_in_and_out_though_the_binary_is_killed_again_and_again() {
    let site = need!(Site::start().await);
    site.seed(KEPT).await;
    let (before, everything) = (site.kept(), site.everything());
    assert_eq!(before.len(), KEPT + 1);
    site.install();
    let (writers, informer) = (Writers::start(&site.client, 2), Informer::start(&site.client));
    writers.proceed(20).await;

    let mut larder = need!(site.alone(100));
    count(&larder, "copied", 100).await;
    site.kill(&mut larder);
    stage(&larder, "open");
    site.kill(&mut larder);
    for _ in 0..2 {
        count(&larder, "removed", 60).await;
        site.kill(&mut larder);
    }
    end(&larder, "In");
    assert_eq!(site.in_etcd().await, 0);
    assert!(["v1alpha2", "v1beta1"].iter().all(|it| site.is_registered(it)));
    assert_same(&before, &site.kept());
    writers.proceed(60).await;

    assert!(larder.terminate().success());
    larder.start_again_to("evacuate");
    site.lead_to(&larder);
    count(&larder, "copied", 60).await;
    site.kill(&mut larder);
    stage(&larder, "leaving");
    larder.kill();
    larder.start_again_at_terminal();
    site.lead_to(&larder);
    stage(&larder, "gone");
    let shown = larder.log().text();
    // A line of eighty columns has no room for more.
    assert!(
        shown.contains("█░") && shown.contains("/s  clusterpolicyreports.wgpolicyk8s.io comparing"),
        "{shown}"
    );
    for _ in 0..2 {
        site.kill(&mut larder);
    }
    end(&larder, "Out");
    drop(larder.log().wait_for("everything is moved; the server may be ended", PATIENCE));
    writers.proceed(60).await;
    assert_same(&before, &site.kept());
    assert!(larder.terminate().success());
    let unregistered = larder.run_once("unregister");
    assert!(unregistered.status.success(), "{}", String::from_utf8_lossy(&unregistered.stderr));

    let (mut known, seen) = writers.stop().await;
    assert_eq!(seen.wrong, Vec::<String>::new());
    known.extend((0..KEPT).map(|it| (format!("kept-{it:04}"), it as i64)));
    informer.holds(&known).await;
    assert_eq!(*informer.lost.lock().unwrap(), Vec::<String>::new());
    assert_eq!(site.in_etcd().await, known.len() as u64 + 1);
    told(&seen);
    site.uninstall();
    assert_same(&everything, &site.everything());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_one_moves_and_the_other_goes_on_when_that_is_killed() {
    let site = need!(Site::start().await);
    site.seed(KEPT).await;
    let before = site.kept();
    site.install();
    let sidecar = larder_harness::setup!().start();
    let mut first = need!(site.replica(50, &sidecar));
    site.lead_to(&first);
    count(&first, "copied", 60).await;
    let second = need!(site.replica(50, &sidecar));
    let writers = Writers::start(&site.client, 2);
    writers.proceed(20).await;
    count(&first, "copied", 120).await;
    assert_eq!((moved(&second, "found").await, holder(&site)), (0, first.pid()));
    first.kill();
    site.lead_to(&second);
    end(&second, "In");
    assert_eq!((site.in_etcd().await, holder(&site)), (0, second.pid()));
    // What the first had copied was found to be there.
    assert!(moved(&second, "same").await >= 120);
    assert_same(&before, &site.kept());
    writers.proceed(20).await;
    // Back again, the first has nothing to do.
    first.start_again();
    writers.proceed(20).await;
    let (known, seen) = writers.stop().await;
    assert_eq!(seen.wrong, Vec::<String>::new());
    assert_eq!(moved(&first, "found").await, 0);
    let list = site.reports().list(&kube::api::ListParams::default()).await.unwrap();
    assert_eq!(list.items.len(), KEPT + known.len());
    told(&seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_are_missing_are_named_before_anything_is_touched() {
    let site = need!(Site::start().await);
    site.seed(10).await;
    let everything = site.everything();
    site.install();
    for (kind, role, resource, verb) in [
        ("ClusterRole", "larder-apiserver-transfer", "customresourcedefinitions", "patch"),
        ("ClusterRole", "larder-apiserver-transfer", "*", "delete"),
        ("ClusterRole", "larder-apiserver", "apiservices", "patch"),
        ("Role", "larder-apiserver", "leases", "create"),
    ] {
        site.take_right(kind, role, resource, verb);
    }
    let sidecar = larder_harness::setup!().start();
    let larder = need!(site.replica(2000, &sidecar));
    site.lead_to(&larder);
    let said = larder.log().wait_for(&format!("{GROUP} is not moved"), PATIENCE);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&said["level"], &said["error"]),
        (
            &"ERROR".into(),
            &format!(
                "{GROUP} is not moved: this server's account lacks rights: \
                 patch apiservices.apiregistration.k8s.io/v1alpha2.{GROUP}; \
                 patch apiservices.apiregistration.k8s.io/v1beta1.{GROUP}; \
                 delete clusterpolicyreports.{GROUP}; \
                 patch customresourcedefinitions.apiextensions.k8s.io/clusterpolicyreports.{GROUP}; \
                 patch customresourcedefinitions.apiextensions.k8s.io/policyreports.{GROUP}; \
                 create leases.coordination.k8s.io in {NAMESPACE}; \
                 delete policyreports.{GROUP}"
            )
            .into()
        )
    );
    // It is asked again by itself.
    let changed: Vec<_> =
        site.everything().into_iter().filter(|it| everything.get(&it.0) != Some(&it.1)).collect();
    assert!(changed.iter().all(|(name, _)| name.contains("larder")), "{changed:?}");
    site.install();
    end(&larder, "In");
    assert_eq!(site.in_etcd().await, 0);
}

/// The process that leads.
fn holder(site: &Site) -> u32 {
    let path = "jsonpath={.spec.holderIdentity}";
    let lease = "larder-apiserver-transfer";
    let holder = site.kubectl.says(&["get", "lease", lease, "-n", NAMESPACE, "-o", path]);
    holder.rsplit_once('-').unwrap().1.parse().unwrap()
}

/// What it was like for clients.
#[expect(clippy::print_stderr, reason = "figures for whoever asks with --nocapture")]
fn told(seen: &clients::Seen) {
    eprintln!("{} changes, {} to be sent again, {:?} the longest", seen.done, seen.later, seen.longest);
}
