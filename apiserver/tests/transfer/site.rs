//! A kube-apiserver with its etcd, and a Larder beside it that it can send requests to.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response};
use kube::client::Body;
use kube::{Client, Config};
use larder_apiserver::auth::{AnyClient, Authenticator, Authorizer, Bundle, FrontProxy, Trust};
use larder_apiserver::http::{ApiServer, ApiServerParts, ConnectionLimits, RequestLimits, Validation, run};
use larder_apiserver::registry::Registry;
use larder_apiserver::store::{Store, StoreOptions};
use larder_apiserver::telemetry::Unheard;
use larder_apiserver::transfer::{Backend, Gate, Options, Parties, Transfer, TransferError};
use larder_apiserver::watch::Watches;
use larder_client::database::Embedded;
use larder_client::migrate::leadership::Always;
use larder_harness::{Authority, Kubernetes, Skip};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::reports::{GROUP, in_etcd, until};

pub(crate) const ENTRANCE: &str = "v0larder";

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const REPORTS: &str = include_str!("../../resources/policyreports.yaml");
const CLUSTER_REPORTS: &str = include_str!("../../resources/clusterpolicyreports.yaml");

/// Everything that a test has to do with.
pub(crate) struct Site {
    pub(crate) kubernetes: Kubernetes,
    pub(crate) client: Client,
    pub(crate) larder: Larder,
    pub(crate) registry: Arc<Registry>,
    _home: TempDir,
}

/// The server.
pub(crate) struct Larder {
    pub(crate) store: Store,
    pub(crate) watches: Watches,
    pub(crate) gate: Gate,
    pub(crate) backend: Backend,
    /// Why its certificate is not believed.
    pub(crate) doubt: Option<String>,
}

impl Site {
    pub(crate) async fn start() -> Result<Self, Skip> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let kubernetes = Kubernetes::start()?;
        let client = client(&kubernetes).await;
        let home = tempfile::tempdir().unwrap();
        let mut registry = Registry::default();
        registry.add("built in", REPORTS).unwrap();
        registry.add("built in", CLUSTER_REPORTS).unwrap();
        let registry = Arc::new(registry);
        let larder = Larder::start(&kubernetes, &registry, &home).await;
        let site = Self { kubernetes, client, larder, registry, _home: home };
        site.add_service().await;
        Ok(site)
    }

    /// The way to the port of the loopback that the server listens on.
    async fn add_service(&self) {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "larder", "namespace": "default"},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        });
        // The namespace comes a moment after the server.
        until("the namespace", async || {
            self.send("POST", "/api/v1/namespaces/default/services", &service).await.is_ok()
        })
        .await;
    }

    /// Makes the two CRDs.
    pub(crate) async fn define(&self) {
        for text in [REPORTS, CLUSTER_REPORTS] {
            self.define_as(text, |_| ()).await;
        }
    }

    /// Makes a CRD, changed.
    pub(crate) async fn define_as(&self, text: &str, change: impl FnOnce(&mut Value)) {
        let mut document: Value = serde_saphyr::from_str(text).unwrap();
        change(&mut document);
        self.send("POST", DEFINITIONS, &document).await.unwrap();
        let (group, spec) = (document["spec"]["group"].as_str().unwrap().to_owned(), &document["spec"]);
        let version = spec["versions"][0]["name"].as_str().unwrap();
        let list = format!("/apis/{group}/{version}/{}", spec["names"]["plural"].as_str().unwrap());
        until("the CRD", async || self.get(&list).await.is_ok()).await;
    }

    pub(crate) async fn define_reports_as(&self, change: impl FnOnce(&mut Value)) {
        self.define_as(REPORTS, change).await;
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, kube::Error> {
        self.client.request(Request::get(path).body(Vec::new()).unwrap()).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value, kube::Error> {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        self.client.request(request.body(body.to_string().into_bytes()).unwrap()).await
    }

    /// A mover.
    pub(crate) fn transfer(&self, options: Options) -> Transfer {
        self.transfer_with(self.client.clone(), options)
    }

    /// A mover that never comes back from the call behind `calls`.
    pub(crate) fn short_lived(&self, options: Options, calls: usize) -> (Transfer, Death) {
        let (inner, death) = (self.client.clone(), Death::after(calls));
        let told = death.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (inner, told) = (inner.clone(), told.clone());
            async move {
                told.call().await;
                inner.send(request).await
            }
        });
        let service = service.map_response(|it: Response<Body>| it);
        (self.transfer_with(Client::new(service, "default"), options), death)
    }

    fn transfer_with(&self, client: Client, options: Options) -> Transfer {
        let Larder { store, watches, gate, backend, doubt } = &self.larder;
        let doubt = doubt.clone();
        let parties = Parties {
            client,
            backend: watch::channel(backend.clone()).1,
            certified: Box::new(move |_| doubt.clone().map_or(Ok(()), Err)),
            registry: Arc::clone(&self.registry),
            store: store.clone(),
            watches: watches.clone(),
            gate: gate.clone(),
            leadership: Arc::new(Always::default()),
            has_lease: false,
        };
        Transfer::new(parties, options)
    }

    /// How many objects of the group etcd has.
    pub(crate) async fn in_etcd(&self) -> u64 {
        in_etcd(&self.kubernetes).await
    }

    /// Whether kube-apiserver answers all versions itself, and would keep doing so.
    pub(crate) async fn is_local(&self) -> bool {
        for version in ["v1alpha2", "v1beta1"] {
            let path = format!("/apis/apiregistration.k8s.io/v1/apiservices/{version}.{GROUP}");
            let service = self.get(&path).await.unwrap();
            let kept = &service["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"];
            if !service["spec"]["service"].is_null() || *kept != "true" {
                return false;
            }
        }
        true
    }

    /// All CRDs.
    pub(crate) async fn definitions(&self) -> Value {
        self.get(DEFINITIONS).await.unwrap()["items"].take()
    }

    /// Whether there is a side entrance to any resource.
    pub(crate) async fn has_entrance(&self) -> bool {
        self.definitions().await.to_string().contains(ENTRANCE)
    }

    /// What kube-apiserver serves of CRDs: `policyreports.wgpolicyk8s.io v1alpha2`.
    pub(crate) async fn served(&self) -> Vec<String> {
        let (mut served, all) = (Vec::new(), self.definitions().await);
        for definition in all.as_array().unwrap() {
            let versions = definition["spec"]["versions"].as_array().unwrap().iter();
            let name = definition["metadata"]["name"].as_str().unwrap();
            let open = versions.filter(|it| it["served"] == true);
            served.extend(open.map(|it| format!("{name} {}", it["name"].as_str().unwrap())));
        }
        served
    }

    /// Serves everything that the CRDs have, as whoever applies them would.
    pub(crate) async fn show(&self) {
        for mut definition in std::mem::take(self.definitions().await.as_array_mut().unwrap()) {
            let versions = definition["spec"]["versions"].as_array_mut().unwrap();
            versions.iter_mut().for_each(|it| it["served"] = true.into());
            let path = format!("{DEFINITIONS}/{}", definition["metadata"]["name"].as_str().unwrap());
            self.send("PUT", &path, &definition).await.unwrap();
        }
    }

    /// Deletes a CRD, and waits until it is gone.
    pub(crate) async fn undefine(&self, plural: &str) {
        let path = format!("{DEFINITIONS}/{plural}.{GROUP}");
        self.send("DELETE", &path, &json!({})).await.unwrap();
        until("the end of the CRD", async || self.get(&path).await.is_err()).await;
    }

    /// Every object that the store has, of any resource, by resource and key.
    pub(crate) async fn in_store(&self) -> Vec<String> {
        use larder_apiserver::store::{At, ListQuery, Selection};
        let mut found = Vec::new();
        let ids = self.registry.iter().map(|it| it.id());
        for id in ids.chain(["transfer".to_owned()]) {
            let query =
                ListQuery { selection: Selection::default(), at: At::Latest, after: None, limit: None };
            let mut list = self.larder.store.list(&id, &query).await.unwrap();
            while let Some(stored) = list.next().await.unwrap() {
                found.push(format!("{id} {}", stored.key));
            }
        }
        found
    }
}

/// Quick enough for a test, and slow enough for one kube-apiserver.
pub(crate) fn options() -> Options {
    Options {
        rate: NonZeroU32::new(2000).unwrap(),
        settle: Duration::from_millis(300),
        quiet: Duration::from_secs(2),
        reconnect: Duration::from_secs(1),
        force: false,
    }
}

/// Goes on where it failed, as a process that is started again does.
pub(crate) async fn until_done(mut attempt: impl AsyncFnMut() -> Result<(), TransferError>) {
    let mut last = None;
    for _ in 0..20 {
        match attempt().await {
            Ok(()) => return,
            Err(error) => last = Some(error),
        }
    }
    panic!("it does not come to its end: {last:?}");
}

impl Larder {
    async fn start(kubernetes: &Kubernetes, registry: &Arc<Registry>, home: &TempDir) -> Self {
        let database = Embedded::open(home.path().join("data")).unwrap();
        let store = Store::open(Arc::new(database), StoreOptions::default()).await.unwrap();
        let watches = Watches::new(store.clone());
        let gate = Gate::following(watches.clone());
        let (listener, ca) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Authority::new("larder test"));
        let address = listener.local_addr().unwrap();
        let pair = ca.server_of(&["larder.default.svc"], home.path(), "larder");
        let tls = Arc::new(tls(&pair));
        let api = ApiServer::new(ApiServerParts {
            registry: (**registry).clone(),
            store: store.clone(),
            watches: watches.clone(),
            gate: gate.clone(),
            authenticator: Authenticator::new(Arc::new(ArcSwap::from_pointee(trust(kubernetes))), None),
            authorizer: Authorizer::authenticated(),
            namespaces: None,
            limits: RequestLimits::default(),
            validation: Validation::Enforce,
            telemetry: Arc::new(Unheard),
            trusted: watch::channel(true).1,
            draining: forever(),
        });
        tokio::spawn(run(
            listener,
            Arc::new(move || Arc::clone(&tls)),
            api,
            ConnectionLimits::default(),
            forever(),
        ));
        Self { store, watches, gate, backend: backend(address, ca.pem()), doubt: None }
    }
}

pub(crate) fn backend(address: SocketAddr, ca: String) -> Backend {
    Backend { namespace: "default".to_owned(), name: "larder".to_owned(), port: address.port(), ca }
}

/// The server never drains.
fn forever() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    std::mem::forget(sender);
    receiver
}

fn trust(kubernetes: &Kubernetes) -> Trust {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let pem = std::fs::read(kubernetes.front_proxy_ca()).unwrap();
    let front_proxy = FrontProxy {
        authorities: Bundle::from_pem(&pem, provider).unwrap(),
        allowed_names: Vec::new(),
        user_headers: vec![http::HeaderName::from_static("x-remote-user")],
        uid_headers: Vec::new(),
        group_headers: vec![http::HeaderName::from_static("x-remote-group")],
        extra_prefixes: vec!["x-remote-extra-".to_owned()],
    };
    Trust { clients: None, front_proxy: Some(front_proxy) }
}

fn tls(pair: &larder_harness::Pair) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = CertificateDer::pem_file_iter(&pair.cert).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(Arc::new(AnyClient::new(provider)))
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

async fn client(kubernetes: &Kubernetes) -> Client {
    let url = format!("https://{}", kubernetes.address()).parse().unwrap();
    let mut config = Config::new(url);
    let pem = std::fs::read(kubernetes.ca()).unwrap();
    let roots = CertificateDer::pem_slice_iter(&pem).map(|it| it.unwrap().to_vec()).collect();
    config.root_cert = Some(roots);
    config.auth_info.token = Some(std::fs::read_to_string(kubernetes.token()).unwrap().into());
    Client::try_from(config).unwrap()
}

/// Counts calls, and lets none through when it is over.
#[derive(Clone)]
pub(crate) struct Death {
    left: Arc<AtomicUsize>,
    came: watch::Sender<bool>,
}

impl Death {
    fn after(calls: usize) -> Self {
        Self { left: Arc::new(AtomicUsize::new(calls)), came: watch::Sender::new(false) }
    }

    async fn call(&self) {
        let taken = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |it| it.checked_sub(1));
        if taken.is_err() {
            self.came.send_replace(true);
            std::future::pending::<()>().await;
        }
    }

    /// Returns when it has come.
    pub(crate) async fn came(&self) {
        let _ = self.came.subscribe().wait_for(|it| *it).await;
    }
}
