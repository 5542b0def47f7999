//! The wire: routes, options, verbs, Status errors.
//!
//! A request passes the same stations in the same order as in Kubernetes' own servers: who is it, is there room, may it, is there such a resource,
//! are its options good, and only then the verb. Routes are looked up in the registry, so there is one handler for each verb and none for
//! any kind. Handlers return an `Answer` or a `Refusal`; this file makes them bytes, counts them and
//! logs what has gone wrong.

mod admission;
mod answer;
mod body;
mod call;
mod documents;
mod health;
mod limits;
mod options;
mod path;
mod pretty;
mod pulse;
mod server;
mod show;
mod status;
mod verbs;
mod warnings;
mod yaml;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use futures_util::FutureExt as _;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, header};
use tokio::sync::{Semaphore, watch};

pub use limits::RequestLimits;
pub use server::{ConnectionLimits, TlsSource, run};

use answer::{AUDIT_ID, Answer, refused};
use body::{Layout, Wishes};
use call::Call;
use documents::Documents;
use limits::Budget;
use options::Query;
use path::Target;
use status::Refusal;
use warnings::Warnings;

use crate::auth::{Attributes, Authenticator, Authorizer, Namespaces, Peer, Place, User, Verb};
use crate::present::accept;
use crate::registry::{Registry, Resource};
use crate::selector;
use crate::store::Store;
use crate::telemetry::{self, Telemetry};
use crate::transfer::{Gate, Intent};
use crate::watch::Watches;

/// Watches at the same time.
const WATCHES: usize = 20_000;

/// Why nobody is let in just after the start.
const NOT_TRUSTED_YET: &str = "the cluster has not said yet whose certificates are trusted";

/// How much objects are asked to look as their schemas say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validation {
    /// What does not is refused.
    #[default]
    Enforce,
    /// What does not is stored, and its writer warned.
    Warn,
    /// Nobody looks.
    Off,
}

/// What a server is made of.
pub struct ApiServerParts {
    /// Which resources there are.
    pub registry: Registry,
    /// Where their objects are.
    pub store: Store,
    /// What changes there.
    pub watches: Watches,
    /// Whether they are there yet, and still.
    pub gate: Gate,
    /// Who calls.
    pub authenticator: Authenticator,
    /// What they may do.
    pub authorizer: Authorizer,
    /// The cluster's namespaces; without a cluster every namespace is there.
    pub namespaces: Option<Namespaces>,
    /// What requests may take.
    pub limits: RequestLimits,
    /// How much schemas count.
    pub validation: Validation,
    /// Who is told what happens.
    pub telemetry: Arc<dyn Telemetry>,
    /// Whether it is known whose certificates are trusted.
    pub trusted: watch::Receiver<bool>,
    /// Whether the server is about to end.
    pub draining: watch::Receiver<bool>,
}

/// The API. Shared by all connections.
pub struct ApiServer {
    documents: Documents,
    registry: Registry,
    store: Store,
    watches: Watches,
    gate: Gate,
    authenticator: Authenticator,
    authorizer: Authorizer,
    namespaces: Option<Namespaces>,
    budget: Budget,
    validation: Validation,
    watchers: Arc<Semaphore>,
    telemetry: Arc<dyn Telemetry>,
    trusted: watch::Receiver<bool>,
    draining: watch::Receiver<bool>,
}

/// What a request is for, as far as the registry knows it.
struct Route {
    target: Target,
    /// [`Target`]'s, with watches told from lists.
    verb: Option<Verb>,
    resource: Option<Arc<Resource>>,
    /// What the store calls it; empty if there is none.
    id: String,
}

impl ApiServer {
    /// Puts a server together. It begins to follow the store; it listens to nobody yet.
    #[must_use]
    pub fn new(parts: ApiServerParts) -> Arc<Self> {
        Arc::new(Self {
            documents: Documents::new(&parts.registry),
            registry: parts.registry,
            store: parts.store,
            watches: parts.watches,
            gate: parts.gate,
            authenticator: parts.authenticator,
            authorizer: parts.authorizer,
            namespaces: parts.namespaces,
            budget: Budget::new(parts.limits),
            validation: parts.validation,
            watchers: Arc::new(Semaphore::new(WATCHES)),
            telemetry: parts.telemetry,
            trusted: parts.trusted,
            draining: parts.draining,
        })
    }

    fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Answers a request of a connection whose client is `peer`.
    async fn answer(self: &Arc<Self>, peer: &Peer, request: Request<Body>) -> Response {
        let started = Instant::now();
        let (mut head, body) = request.into_parts();
        let audit_id = audit_id(&head.headers);
        head.headers.insert(AUDIT_ID, audit_id.clone());
        let query = Query::parse(head.uri.query());
        let layout =
            if pretty::is_wanted(&query, &head.headers) { Layout::Indented } else { Layout::Compact };
        let wishes = Wishes { layout, gzip: Wishes::takes_gzip(&head.headers) };
        let told = accept::plain(accept::header(&head.headers)).unwrap_or_default();
        let route = self.route(&head, &query);
        let warnings = Warnings::default();
        let handling = self.handle(peer, &route, head, body, query, warnings.clone());
        let handled = AssertUnwindSafe(handling).catch_unwind().await;
        let handled =
            handled.unwrap_or_else(|_| Err(Refusal::internal("the request was not handled to its end")));
        let response = match handled {
            Ok(answer) => answer.respond(wishes).await.map_err(|error| *error.0),
            Err(refusal) => Err(refusal),
        };
        let mut response = match response {
            Ok(response) => response,
            Err(refusal) => refused(&refusal).encoded(told).respond(wishes).await.unwrap_or_default(),
        };
        let headers = response.headers_mut();
        headers.insert(AUDIT_ID, audit_id);
        for warning in warnings.headers() {
            headers.append(header::WARNING, warning);
        }
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
        self.telemetry.answered(&route.told(), response.status().as_u16(), started.elapsed());
        response
    }

    fn route(&self, head: &Parts, query: &Query) -> Route {
        let target = Target::of(&head.method, head.uri.path());
        let Target::Resource { verb, place, .. } = &target else {
            return Route { target, verb: None, resource: None, id: String::new() };
        };
        let is_watch = *verb == Some(Verb::List) && query.flag("watch") == Some(true);
        let verb = if is_watch { Some(Verb::Watch) } else { *verb };
        let found = self.registry.find(&place.group, &place.version, &place.resource);
        let resource = found.map(|(resource, _)| Arc::clone(resource));
        let id = resource.as_ref().map(|it| it.id()).unwrap_or_default();
        Route { verb, resource, target, id }
    }

    /// Everything that comes before the verb.
    async fn handle(
        self: &Arc<Self>,
        peer: &Peer,
        route: &Route,
        mut head: Parts,
        body: Body,
        query: Query,
        warnings: Warnings,
    ) -> Result<Answer, Refusal> {
        let user = self.authenticator.authenticate(peer, &mut head.headers).await.map_err(|error| {
            self.telemetry.unknown(&error.to_string());
            // What is shown may be good: nobody can tell yet.
            let is_known = *self.trusted.borrow();
            if is_known { Refusal::unauthorized() } else { Refusal::unavailable(NOT_TRUSTED_YET) }
        })?;
        if let Target::Path(path) = &route.target
            && let Some(answer) = self.health(path, head.uri.query()).await
        {
            self.authorize(&user, &attributes(route, &head, &query), head.uri.path()).await?;
            return Ok(answer);
        }
        if self.is_draining() {
            return Err(Refusal::unavailable("the server is shutting down"));
        }
        if head.headers.keys().any(|it| it.as_str().starts_with("impersonate-")) {
            let why = "impersonation is done by the kube-apiserver alone";
            return Err(Refusal::forbidden("", "", "", why));
        }
        let is_read = route.verb.is_none_or(Verb::is_read);
        let is_watch = route.verb == Some(Verb::Watch);
        let place = if is_watch { None } else { Some(self.budget.place(is_read)?) };
        let patience = if is_watch { WATCH_HEAD } else { self.budget.patience(&query, is_read)? };
        let done = async {
            self.authorize(&user, &attributes(route, &head, &query), head.uri.path()).await?;
            self.dispatch(route, user, head, body, query, warnings).await
        };
        let answer =
            tokio::time::timeout(patience, done).await.unwrap_or_else(|_| Err(Refusal::timeout()))?;
        Ok(match place {
            Some(place) => answer.holding(place),
            None => answer,
        })
    }

    async fn authorize(&self, user: &User, attributes: &Attributes, uri: &str) -> Result<(), Refusal> {
        let decision = self.authorizer.authorize(user, attributes).await.map_err(|error| {
            tracing::error!(%error, "nobody says who may do what");
            let text = format!("Internal Server Error: {}: {error}", crate::field::quote(uri));
            Refusal::Text(http::StatusCode::INTERNAL_SERVER_ERROR, sanitized(&text), None)
        })?;
        if decision.allowed {
            return Ok(());
        }
        let mut why = attributes.forbidden(user);
        if !decision.reason.is_empty() {
            why = format!("{why}: {}", decision.reason);
        }
        Err(match attributes {
            Attributes::Resource { place, .. } => {
                Refusal::forbidden(&place.group, &place.resource, &place.name, &why)
            }
            Attributes::Path { .. } => Refusal::forbidden("", "", "", &why),
        })
    }

    async fn dispatch(
        self: &Arc<Self>,
        route: &Route,
        user: User,
        head: Parts,
        body: Body,
        query: Query,
        warnings: Warnings,
    ) -> Result<Answer, Refusal> {
        let (place, is_too_deep) = match &route.target {
            Target::Path(path) => return self.document(path, &head),
            Target::Resource { place, is_too_deep, .. } => (place.clone(), *is_too_deep),
        };
        let Some(resource) = &route.resource else {
            return Err(if self.serves(&place) { Refusal::no_resource() } else { Refusal::no_path() });
        };
        let verb = route.verb.ok_or_else(Refusal::wrong_method)?;
        if is_too_deep {
            return Err(Refusal::no_resource());
        }
        let intent = match verb {
            Verb::Get => Intent::Read,
            Verb::List => Intent::List,
            Verb::Watch => Intent::Watch,
            _ => Intent::Write,
        };
        let name = Some(place.name.as_str()).filter(|it| !it.is_empty());
        let pass = self.gate.admit(&place.group, intent, name).await.map_err(Refusal::turned)?;
        let call = Call {
            pass,
            server: Arc::clone(self),
            resource: Arc::clone(resource),
            headers: head.headers,
            user,
            place,
            query,
            warnings,
        };
        call.check(verb)?;
        call.warn_of_deprecation();
        verbs::run(verb, call, body).await
    }

    /// Whether any resource is served under this group and version.
    fn serves(&self, place: &Place) -> bool {
        self.registry.iter().any(|it| it.group == place.group && it.version(&place.version).is_some())
    }
}

/// How long a watch may take to begin.
const WATCH_HEAD: Duration = Duration::from_secs(60);

impl Route {
    fn told(&self) -> telemetry::Request<'_> {
        let verb = match (self.verb, &self.target) {
            (Some(verb), _) => verb.as_str(),
            (None, Target::Path(_)) => "path",
            (None, Target::Resource { .. }) => "other",
        };
        let subresource = match &self.target {
            Target::Resource { place, .. } if place.subresource == "status" => "status",
            _ => "",
        };
        telemetry::Request { verb, resource: &self.id, subresource }
    }
}

/// What a request wants to do. Selectors that cannot be read are not looked at: the request fails by them later.
fn attributes(route: &Route, head: &Parts, query: &Query) -> Attributes {
    let Target::Resource { place, .. } = &route.target else {
        return Attributes::Path {
            verb: head.method.as_str().to_ascii_lowercase(),
            path: head.uri.path().to_owned(),
        };
    };
    let mut place = place.clone();
    let Some(verb) = route.verb else {
        return Attributes::Path {
            verb: head.method.as_str().to_ascii_lowercase(),
            path: head.uri.path().to_owned(),
        };
    };
    let (mut labels, mut fields) = (Vec::new(), Vec::new());
    if matches!(verb, Verb::List | Verb::Watch | Verb::DeleteCollection) {
        labels = query.set("labelSelector").and_then(|it| selector::labels(it).ok()).unwrap_or_default();
        let version = route.resource.as_ref().and_then(|it| Some((it, it.version(&place.version)?)));
        if let (Some(text), Some((resource, version))) = (query.set("fieldSelector"), version) {
            fields = selector::fields(text, resource.scope, version).unwrap_or_default();
        }
        if let [(_, true, name)] = fields.iter().filter(|it| it.0 == "metadata.name").collect::<Vec<_>>()[..]
        {
            place.name.clone_from(name);
        }
    }
    Attributes::Resource { verb, place, labels, fields }
}

/// The caller's own id, if it is sane; else a new one.
fn audit_id(headers: &HeaderMap) -> HeaderValue {
    const LONGEST: usize = 128;
    let is_sane = |id: &&HeaderValue| {
        (1..=LONGEST).contains(&id.len()) && id.as_bytes().iter().all(|byte| byte.is_ascii_graphic())
    };
    let given = headers.get(&AUDIT_ID).filter(is_sane).cloned();
    given.unwrap_or_else(|| {
        let id = uuid::Uuid::new_v4().to_string();
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("unknown"))
    })
}

/// As Go's servers keep text out of HTML.
fn sanitized(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
