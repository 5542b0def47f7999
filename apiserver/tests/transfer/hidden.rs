//! What stands in etcd is no answer once objects stand here, and what stands here is none before.

use std::sync::{Arc, Mutex};

use larder_harness::need;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::reports::{GROUP, until};
use super::site::{ENTRANCE, Site, options};

const REPORTS: &str = "/apis/wgpolicyk8s.io/v1alpha2/namespaces/default/policyreports";

fn report(name: &str, finalizers: &[&str]) -> Value {
    json!({
        "apiVersion": "wgpolicyk8s.io/v1alpha2", "kind": "PolicyReport",
        "metadata": {"name": name, "finalizers": finalizers}, "summary": {"pass": 1},
    })
}

/// Asks for the report `a` and makes others until it is told to stop; returns what must not be.
async fn ask(client: kube::Client, stop: watch::Receiver<bool>) -> Vec<String> {
    let wrong = Arc::<Mutex<Vec<String>>>::default();
    let api = super::reports::reports(&client, "default", "v1alpha2");
    for number in 0.. {
        if *stop.borrow() {
            break;
        }
        let say = |it: String| wrong.lock().unwrap().push(it);
        if let Err(kube::Error::Api(status)) = api.get("a").await
            && status.code == 404
        {
            say(status.message);
        }
        let listed = api.list(&kube::api::ListParams::default()).await;
        if listed.is_ok_and(|it| it.items.iter().all(|it| it.metadata.name.as_deref() != Some("a"))) {
            say("a list without it".to_owned());
        }
        let object = serde_json::from_value(report(&format!("another-{number}"), &[])).unwrap();
        let _ = api.create(&kube::api::PostParams::default(), &object).await;
    }
    Arc::try_unwrap(wrong).unwrap().into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kube_apiserver_that_is_started_anew_does_not_answer_from_etcd() {
    let mut site = need!(Site::start().await);
    site.define().await;
    let served = site.served().await;
    assert!(served.len() >= 4, "{served:?}");
    site.send("POST", REPORTS, &report("a", &[])).await.unwrap();
    site.transfer(options()).bring_in(GROUP).await.unwrap();
    assert_eq!(site.served().await, Vec::<String>::new());

    for _ in 0..3 {
        site.kubernetes.kill();
        let (stop, stopped) = watch::channel(false);
        // Those that ask at once see more than one that waits for an answer.
        let asking: Vec<_> =
            (0..4).map(|_| tokio::spawn(ask(site.client.clone(), stopped.clone()))).collect();
        site.kubernetes.start_again();
        until("an answer", async || site.get(&format!("{REPORTS}/a")).await.is_ok()).await;
        stop.send_replace(true);
        for asked in asking {
            assert_eq!(asked.await.unwrap(), Vec::<String>::new());
        }
        assert_eq!(site.in_etcd().await, 0);
    }
    // Somebody applies the CRDs as they were.
    site.show().await;
    assert_eq!(site.served().await, served);
    site.transfer(options()).bring_in(GROUP).await.unwrap();
    assert_eq!(site.served().await, Vec::<String>::new());

    site.transfer(options()).take_out(GROUP).await.unwrap();
    assert_eq!(site.served().await, served);
    assert!(site.is_local().await && site.get(&format!("{REPORTS}/a")).await.is_ok());
    let definitions = site.definitions().await.to_string();
    for trace in ["larder.dev/served", r#""manager":"larder""#] {
        assert!(!definitions.contains(trace), "{definitions}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_entrance_is_served_while_objects_are_copied_back() {
    let site = need!(Site::start().await);
    site.define().await;
    let served = site.served().await;
    site.send("POST", REPORTS, &report("a", &[])).await.unwrap();
    site.transfer(options()).bring_in(GROUP).await.unwrap();
    let mut looks = 0;
    for calls in (6..).step_by(4) {
        let (transfer, death) = site.short_lived(options(), calls);
        tokio::select! {
            done = transfer.take_out(GROUP) => if done.is_ok() { break },
            () = death.came() => {}
        }
        let now = site.served().await;
        for open in now.iter().filter_map(|it| it.strip_suffix(ENTRANCE)) {
            looks += 1;
            assert_eq!(now.iter().filter(|it| it.starts_with(open)).count(), 1, "{now:?}");
        }
    }
    assert!(looks > 2, "{looks}");
    assert_eq!(site.served().await, served);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_with_its_crd_while_it_was_copied_does_not_come_back() {
    for goes in [&["policyreports"][..], &["policyreports", "clusterpolicyreports"]] {
        let site = need!(Site::start().await);
        site.define().await;
        site.send("POST", REPORTS, &report("a", &[])).await.unwrap();
        for calls in 10.. {
            let (transfer, death) = site.short_lived(options(), calls);
            tokio::select! {
                done = transfer.bring_in(GROUP) => panic!("it came to its end: {done:?}"),
                () = death.came() => {}
            }
            if site.in_store().await.iter().any(|it| it.ends_with("default/a")) {
                break;
            }
        }
        for plural in goes {
            site.undefine(plural).await;
        }
        until("the move", async || site.transfer(options()).bring_in(GROUP).await.is_ok()).await;
        assert_eq!(site.in_store().await, ["transfer wgpolicyk8s.io"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crd_that_is_being_deleted_is_left_alone() {
    let site = need!(Site::start().await);
    site.define().await;
    site.send("POST", REPORTS, &report("a", &["example.com/held"])).await.unwrap();
    let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/policyreports.wgpolicyk8s.io";
    site.send("DELETE", crd, &json!({})).await.unwrap();
    let reason = super::refusals::refused(&site).await;
    assert!(reason.contains("policyreports.wgpolicyk8s.io is being deleted"), "{reason}");
    assert!(site.is_local().await && !site.has_entrance().await);
    assert_eq!(site.in_store().await, Vec::<String>::new());
}
