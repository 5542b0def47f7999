//! kube-rs, as controllers use it: watchers in each of their modes, reflectors, server-side apply and deletion of many, before a server that ends,
//! is killed, and is given an old database.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{Stream, StreamExt as _, future};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind, PartialObjectMeta};
use kube::runtime::reflector::{self, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_as};
use kube::{Api, Client, Config, Resource, ResourceExt as _};
use larder_harness::{ApiServer, Proxy};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::world::{SOON, World, labelled, names, reason, revision, setup, thing};

/// What is made last: who has seen it has seen everything.
const LAST: &str = "zz-last";

pub(crate) fn things() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("example.com", "v1", "Thing"), "things")
}

/// A kube-rs client by this kubeconfig, which goes to another address.
pub(crate) async fn client(kubeconfig: &Path, address: Option<&str>) -> Client {
    let read = Kubeconfig::read_from(kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.unwrap();
    if let Some(address) = address {
        config.cluster_url = address.parse().unwrap();
    }
    Client::try_from(config).unwrap()
}

pub(crate) fn all(client: &Client) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), "default", &things())
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

/// A server of the test's own, and a wire that stays where it is when the server is started again.
struct Line {
    server: ApiServer,
    wire: Proxy,
    is_up: watch::Sender<bool>,
}

impl Line {
    fn start() -> Self {
        let server = setup().start();
        let wire = Proxy::start(address(&server));
        Self { server, wire, is_up: watch::Sender::new(true) }
    }

    async fn client(&self) -> Client {
        let to = format!("https://{}", self.wire.address());
        client(&self.server.home().join("kubeconfig"), Some(&to)).await
    }

    /// Ends the server in this way, and starts another on the same data.
    fn restart(&mut self, end: impl FnOnce(&mut ApiServer)) {
        self.is_up.send_replace(false);
        end(&mut self.server);
        self.server.start_again();
        self.wire.lead_to(address(&self.server));
        self.is_up.send_replace(true);
    }
}

fn address(server: &ApiServer) -> String {
    format!("127.0.0.1:{}", server.port())
}

/// What a follower has come by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    events: usize,
    /// How often it began anew.
    pub(crate) lists: usize,
    newest: u64,
    /// Events that were not newer than those before them.
    pub(crate) disordered: usize,
}

/// A reflector, and what it has come by.
pub(crate) struct Follower {
    seen: watch::Receiver<Seen>,
    /// The revisions of what is in its store, by name.
    pub(crate) view: Box<dyn Fn() -> BTreeMap<String, String> + Send>,
    task: JoinHandle<()>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Follower {
    fn start<K>(changes: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static) -> Self
    where
        K: Resource<DynamicType = ApiResource> + Clone + Send + Sync + 'static,
    {
        let writer = Writer::new(things());
        let store = writer.as_reader();
        let (tell, seen) = watch::channel(Seen::default());
        let task = tokio::spawn(async move {
            let mut changes = std::pin::pin!(reflector::reflector(writer, changes.default_backoff()));
            while let Some(change) = changes.next().await {
                if let Ok(event) = change {
                    tell.send_modify(|seen| seen.note(&event));
                }
            }
        });
        let revisions = move || {
            let state = store.state();
            state.iter().map(|it| (it.name_any(), it.resource_version().unwrap())).collect()
        };
        Self { seen, view: Box::new(revisions), task }
    }

    /// In each mode that a watcher has.
    pub(crate) fn in_each_mode(client: &Client) -> [(&'static str, Self); 3] {
        let metadata =
            Api::<PartialObjectMeta<DynamicObject>>::namespaced_with(client.clone(), "default", &things());
        let streaming = watcher::Config::default().streaming_lists();
        [
            ("list and watch", Self::start(watch_as(all(client), watcher::Config::default().page_size(20)))),
            ("streaming", Self::start(watch_as(all(client), streaming))),
            ("metadata", Self::start(watch_as(metadata, watcher::Config::default()))),
        ]
    }

    /// Waits until something of this name is in the store; says what it has come by until then.
    pub(crate) async fn has(&mut self, name: &str) -> Seen {
        let Self { seen, view, .. } = self;
        let there = seen.wait_for(|_| view().contains_key(name));
        *tokio::time::timeout(SOON, there).await.expect("the last change is seen").unwrap()
    }
}

impl Seen {
    fn note<K: Resource>(&mut self, event: &Event<K>) {
        match event {
            Event::Init => self.lists += 1,
            Event::InitApply(_) | Event::InitDone => {}
            Event::Apply(object) | Event::Delete(object) => {
                let revision = object.meta().resource_version.as_deref().unwrap().parse().unwrap();
                self.disordered += usize::from(revision <= self.newest);
                self.newest = revision;
                self.events += 1;
            }
        }
    }
}

/// Numbers that look random, the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Writes at random to things that are its own, and remembers what was acknowledged.
struct Author {
    api: Api<DynamicObject>,
    number: u64,
    dice: Dice,
    is_up: watch::Receiver<bool>,
    /// By name, the revision that was acknowledged last, or that there is nothing. What may or may not have been done is not in it.
    acknowledged: BTreeMap<String, Option<u64>>,
    revisions: Vec<u64>,
}

impl Author {
    async fn write(mut self, count: usize, done: Arc<watch::Sender<usize>>) -> Self {
        for _ in 0..count {
            let name = format!("w{}-{}", self.number, self.dice.roll(8));
            let outcome = self.once(&name).await;
            self.note(name, outcome).await;
            done.send_modify(|done| *done += 1);
        }
        self
    }

    /// The revision of what is there now, or that nothing is.
    async fn once(&mut self, name: &str) -> kube::Result<Option<u64>> {
        let count = self.dice.roll(1000);
        let mut config = thing(name, ["red", "green", "blue"][usize::try_from(count % 3).unwrap()]);
        config["spec"]["count"] = count.into();
        config["metadata"]["namespace"] = "default".into();
        let made = match self.dice.roll(4) {
            0 => self.api.create(&PostParams::default(), &object(config)).await,
            1 => {
                let patch = json!({"spec": {"count": count}});
                self.api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
            }
            2 => {
                let params = PatchParams::apply("author").force();
                self.api.patch(name, &params, &Patch::Apply(config)).await
            }
            _ => {
                self.api.delete(name, &DeleteParams::default()).await?;
                return Ok(None);
            }
        };
        made.map(|it| Some(it.resource_version().unwrap().parse().unwrap()))
    }

    async fn note(&mut self, name: String, outcome: kube::Result<Option<u64>>) {
        match outcome {
            Ok(revision) => {
                let newest = self.revisions.last().copied().unwrap_or_default();
                if let Some(revision) = revision {
                    // A patch that changes nothing gives back what is there.
                    if self.acknowledged.get(&name) != Some(&Some(revision)) {
                        assert!(revision > newest, "{revision} after {newest}");
                        self.revisions.push(revision);
                    }
                }
                self.acknowledged.insert(name, revision);
            }
            // It is there already, or it is not there.
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => {}
            Err(_) => {
                self.acknowledged.remove(&name);
                let up = self.is_up.wait_for(|is_up| *is_up);
                tokio::time::timeout(SOON, up).await.expect("the server is started again").unwrap();
            }
        }
    }
}

/// Authors at work.
struct Authors {
    done: Arc<watch::Sender<usize>>,
    tasks: Vec<JoinHandle<Author>>,
}

impl Authors {
    fn start(client: &Client, is_up: &watch::Sender<bool>, authors: u64, each: usize) -> Self {
        let done = Arc::new(watch::Sender::new(0));
        let author = |number| Author {
            api: all(client),
            number,
            dice: Dice(0x9e37_79b9_7f4a_7c15 ^ (number + 1)),
            is_up: is_up.subscribe(),
            acknowledged: BTreeMap::new(),
            revisions: Vec::new(),
        };
        let tasks = (0..authors).map(|it| tokio::spawn(author(it).write(each, Arc::clone(&done)))).collect();
        Self { done, tasks }
    }

    /// Waits until this many operations have been tried.
    async fn reach(&self, count: usize) {
        let mut done = self.done.subscribe();
        tokio::time::timeout(SOON, done.wait_for(|it| *it >= count)).await.expect("authors write").unwrap();
    }

    /// What was acknowledged of each thing. No revision was given twice.
    async fn end(self) -> BTreeMap<String, Option<u64>> {
        let (mut acknowledged, mut revisions) = (BTreeMap::new(), BTreeSet::new());
        for author in future::join_all(self.tasks).await {
            let author = author.unwrap();
            for revision in author.revisions {
                assert!(revisions.insert(revision), "{revision} was given twice");
            }
            acknowledged.extend(author.acknowledged);
        }
        assert!(revisions.len() > 100, "{}", revisions.len());
        acknowledged
    }
}

/// The revisions that a list shows, by name.
pub(crate) async fn listed(api: &Api<DynamicObject>) -> BTreeMap<String, String> {
    let list = api.list(&ListParams::default()).await.unwrap();
    list.iter().map(|it| (it.name_any(), it.resource_version().unwrap())).collect()
}

pub(crate) async fn make_the_last(api: &Api<DynamicObject>, name: &str) {
    api.create(&PostParams::default(), &object(thing(name, "red"))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_81_what_watchers_have_is_what_a_list_shows() {
    let line = Line::start();
    let client = line.client().await;
    let api = all(&client);
    for number in 0..50 {
        api.create(&PostParams::default(), &object(thing(&format!("early-{number}"), "red"))).await.unwrap();
    }
    let mut followers = Follower::in_each_mode(&client);
    for (_, follower) in &mut followers {
        follower.has("early-49").await;
    }
    let authors = Authors::start(&client, &line.is_up, 8, 250);
    let acknowledged = authors.end().await;
    make_the_last(&api, LAST).await;
    let listed = listed(&api).await;
    for (name, revision) in acknowledged {
        assert_eq!(listed.get(&name).cloned(), revision.map(|it| it.to_string()), "{name}");
    }
    let mut counts = BTreeSet::new();
    for (mode, follower) in &mut followers {
        let seen = follower.has(LAST).await;
        assert_eq!((follower.view)(), listed, "{mode}");
        assert_eq!((seen.lists, seen.disordered), (1, 0), "{mode}");
        counts.insert(seen.events);
    }
    // Whoever has seen one more or one less has seen one twice, or missed one.
    assert_eq!(counts.len(), 1, "{counts:?}");
    assert!(counts.first().unwrap() > &500, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_80_and_82_a_server_that_is_killed_loses_nothing_that_it_acknowledged() {
    let mut line = Line::start();
    let client = line.client().await;
    let api = all(&client);
    let mut followers = Follower::in_each_mode(&client);
    make_the_last(&api, "aa-first").await;
    for (_, follower) in &mut followers {
        follower.has("aa-first").await;
    }
    let authors = Authors::start(&client, &line.is_up, 8, 200);
    for (at, kill) in [(300, true), (700, false), (1100, true)] {
        authors.reach(at).await;
        tokio::task::block_in_place(|| {
            line.restart(|server| if kill { server.kill() } else { assert!(server.terminate().success()) });
        });
    }
    let acknowledged = authors.end().await;
    make_the_last(&api, LAST).await;
    let listed = listed(&api).await;
    for (name, revision) in acknowledged {
        assert_eq!(listed.get(&name).cloned(), revision.map(|it| it.to_string()), "{name}");
    }
    for (mode, follower) in &mut followers {
        let seen = follower.has(LAST).await;
        assert_eq!((follower.view)(), listed, "{mode}");
        // What happened meanwhile was remembered: nobody had to begin anew.
        assert_eq!((seen.lists, seen.disordered), (1, 0), "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_59_and_83_an_old_database_is_noticed_by_all() {
    let mut line = Line::start();
    let client = line.client().await;
    let api = all(&client);
    for name in ["a", "b", "c"] {
        make_the_last(&api, name).await;
    }
    let (data, copy) = (line.server.home().join("data"), line.server.home().join("copy"));
    tokio::task::block_in_place(|| {
        line.restart(|server| {
            server.terminate();
            copy_files(&data, &copy);
        })
    });
    let mut followers = Follower::in_each_mode(&client);
    for name in ["lost-1", "lost-2", LAST] {
        make_the_last(&api, name).await;
    }
    for (_, follower) in &mut followers {
        follower.has(LAST).await;
    }
    let first = api.list(&ListParams::default().limit(2)).await.unwrap();
    let (lost, token) = (first.metadata.resource_version.unwrap(), first.metadata.continue_.unwrap());
    tokio::task::block_in_place(|| {
        line.restart(|server| {
            server.kill();
            fs::remove_dir_all(&data).unwrap();
            fs::rename(&copy, &data).unwrap();
        })
    });
    let made = api.create(&PostParams::default(), &object(thing("new", "red"))).await.unwrap();
    let made: u64 = made.resource_version().unwrap().parse().unwrap();
    assert!(made > lost.parse().unwrap(), "{made} after {lost}");
    let listed = listed(&api).await;
    assert_eq!(listed.keys().collect::<Vec<_>>(), ["a", "b", "c", "new"]);
    for (mode, follower) in &mut followers {
        let seen = follower.has("new").await;
        assert_eq!(((follower.view)(), seen.lists), (listed.clone(), 2), "{mode}");
    }
    let mut world = World::on(Arc::new(line.server)).await;
    world.namespace = "default".to_owned();
    let mut watcher = world.watch(&format!("resourceVersion={lost}")).await;
    assert_eq!(watcher.event().await.unwrap()["object"]["code"], 410);
    assert_eq!(watcher.event().await, None);
    let gone = world.get(&world.things(&format!("?limit=2&continue={token}"))).await;
    assert_eq!(reason(&gone), (410, "Expired".to_owned()));
    let token = gone.json()["metadata"]["continue"].as_str().unwrap().to_owned();
    let rest = world.get(&world.things(&format!("?limit=2&continue={token}"))).await.json();
    assert_eq!(names(&rest), ["c", "new"]);
    assert!(revision(&rest) >= made);
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_files(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_43_fields_have_owners_for_kube_rs_too() {
    let world = World::new().await;
    let client = client(&world.server.home().join("kubeconfig"), None).await;
    let api = Api::<DynamicObject>::namespaced_with(client, &world.namespace, &things());
    let apply = async |manager: &str, color: &str, force: bool| {
        let params = PatchParams { force, ..PatchParams::apply(manager) };
        api.patch("a", &params, &Patch::Apply(thing("a", color))).await
    };
    let made = apply("one", "red", false).await.unwrap();
    let again = apply("one", "red", false).await.unwrap();
    assert_eq!(made.resource_version(), again.resource_version());
    let conflict = apply("two", "blue", false).await.unwrap_err();
    let kube::Error::Api(status) = conflict else { panic!("{conflict}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    let cause = &status.details.as_ref().unwrap().causes[0];
    assert_eq!((cause.reason.as_str(), cause.field.as_str()), ("FieldManagerConflict", ".spec.color"));
    let forced = apply("two", "blue", true).await.unwrap();
    assert_eq!(forced.data["spec"]["color"], "blue");
    let owners: BTreeMap<_, _> =
        forced.managed_fields().iter().map(|it| (it.manager.clone().unwrap(), it)).collect();
    let owns = |manager: &str| {
        let fields = owners.get(manager).and_then(|it| it.fields_v1.as_ref());
        fields.is_some_and(|it| it.0.pointer("/f:spec/f:color").is_some())
    };
    assert!(owns("two") && !owns("one"), "{:?}", forced.managed_fields());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_53_kube_rs_deletes_many_at_once() {
    let mut world = World::new().await;
    for number in 0..4 {
        world.make(&labelled(&format!("t{number}"), &json!({"odd": (number % 2).to_string()}))).await;
    }
    let client = client(&world.server.home().join("kubeconfig"), None).await;
    let api = Api::<DynamicObject>::namespaced_with(client, &world.namespace, &things());
    let odd = ListParams::default().labels("odd=1");
    let deleted = api.delete_collection(&DeleteParams::default(), &odd).await.unwrap();
    let deleted = deleted.left().expect("a list of what was deleted");
    assert_eq!(deleted.iter().map(kube::ResourceExt::name_any).collect::<Vec<_>>(), ["t1", "t3"]);
    assert_eq!(names(&world.get(&world.things("")).await.json()), ["t0", "t2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_37_patches_of_different_labels_all_succeed() {
    let mut world = World::new().await;
    world.make(&thing("a", "red")).await;
    let client = client(&world.server.home().join("kubeconfig"), None).await;
    let api = Api::<DynamicObject>::namespaced_with(client, &world.namespace, &things());
    let count = AtomicUsize::new(0);
    let patches = (0..100).map(|_| async {
        let label = format!("label-{}", count.fetch_add(1, Ordering::Relaxed));
        let patch = json!({"metadata": {"labels": {label: "there"}}});
        api.patch("a", &PatchParams::default(), &Patch::Merge(patch)).await
    });
    let patched = future::try_join_all(patches).await.unwrap();
    let revisions: BTreeSet<_> = patched.iter().map(|it| it.resource_version().unwrap()).collect();
    assert_eq!(revisions.len(), 100);
    assert_eq!(world.thing("a").await["metadata"]["labels"].as_object().unwrap().len(), 100);
}
