//! What the API can do, read from its own OpenAPI document: so the document, the routes and what the front door knows of them cannot
//! differ.

use std::collections::BTreeMap;

use actix_web::http::{Method, header::HeaderMap};
use anyhow::{Context, Result, ensure};
use prometheus::{Histogram, IntCounter};
use utoipa::openapi::{
    OpenApi, RefOr,
    path::{Operation as Described, Parameter, ParameterIn},
};

use super::{
    body::DEFAULT_LIMIT,
    export::{LINES, wants_lines},
};
use crate::kernel::{access::Class, metrics};

/// One operation, as its description declares it.
#[derive(Clone, Debug)]
pub struct Operation {
    /// `resource_action`.
    pub id: &'static str,
    /// The path with its placeholders.
    pub template: &'static str,
    /// What the path begins with below `/api/v1/`; empty for what stands beside it.
    pub resource: &'static str,
    /// The permission that it needs in a workspace; `None`: none, or the account alone.
    pub permission: Option<&'static str>,
    /// The class of its rate limit.
    pub rate: RateClass,
    /// The class of its work.
    pub admission: Class,
    /// No credential needed.
    pub public: bool,
    /// Changes nothing: a `GET`.
    pub reads: bool,
    /// About the account, and the workspace that is named: `x-workspace`.
    pub placed: bool,
    /// Wants a sign-in of the last minutes: `x-fresh`.
    pub fresh: bool,
    /// Works in a workspace whose payment is overdue: reads, exports, whatever bills or deletes, what the workspace's customers ask, and
    /// what says so by `x-works-unpaid`. Data is never hostage.
    pub works_unpaid: bool,
    /// Works in a workspace that the operator suspended: what pays, what takes one's own data along, and what says so by `x-works-suspended`. Its
    /// owners look at everything.
    pub works_suspended: bool,
    /// Documents query parameters.
    pub queries: bool,
    /// Can be asked to wait: it documents the parameter `wait`.
    pub waits: bool,
    /// Can answer everything at once, a row a line.
    pub exports: bool,
    /// The largest body that it takes, in bytes: `x-body-limit`, else 256 KiB.
    pub body_limit: usize,
    /// What is counted of it.
    pub meters: Meters,
}

/// What nearly every request counts, looked up once.
#[derive(Clone, Debug)]
pub struct Meters {
    /// Requests that succeeded.
    pub succeeded: IntCounter,
    /// How long all of them took.
    pub seconds: Histogram,
}

impl Meters {
    /// Those of the operation of that id.
    pub fn of(operation: &str) -> Meters {
        Meters {
            succeeded: metrics::HTTP_REQUESTS.with_label_values(&[operation, "2xx", ""]),
            seconds: metrics::HTTP_SECONDS.with_label_values(&[operation]),
        }
    }
}

/// What kind of use a request is, for its rate limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RateClass {
    /// Looks.
    Read,
    /// Changes.
    Write,
    /// Searches.
    Search,
    /// Many at once.
    Bulk,
    /// Starts runs.
    Execute,
    /// The customer's software.
    Public,
    /// The customer's software takes a place for a machine.
    Activation,
    /// Without a credential.
    Anonymous,
    /// Providers' events: limited by their address, and let in by their signature.
    Ingress,
    /// Probes: never limited.
    Free,
}

impl RateClass {
    fn named(name: &str) -> Option<RateClass> {
        Some(match name {
            "read" => RateClass::Read,
            "write" => RateClass::Write,
            "search" => RateClass::Search,
            "bulk" => RateClass::Bulk,
            "execute" => RateClass::Execute,
            "public" => RateClass::Public,
            "activation" => RateClass::Activation,
            "anonymous" => RateClass::Anonymous,
            "ingress" => RateClass::Ingress,
            "free" => RateClass::Free,
            _ => return None,
        })
    }
}

/// Every mounted operation, by path and method. They are read once and live as long as the process.
pub struct Operations {
    paths: matchit::Router<usize>,
    /// Few of them for each path: they are compared one after the other.
    methods: Vec<Vec<(Method, &'static Operation)>>,
    unlisted: &'static Operation,
    development: &'static Operation,
}

impl Operations {
    /// Reads the document of the mounted routes.
    ///
    /// # Errors
    /// An operation without id, `x-rate-class` or `x-admission`, or with neither `x-permission` nor a declared absence of it.
    pub fn read(document: &OpenApi) -> Result<Operations> {
        let mut operations = Operations {
            paths: matchit::Router::new(),
            methods: Vec::new(),
            unlisted: Box::leak(Box::new(unlisted())),
            development: Box::leak(Box::new(Operation {
                id: "development",
                rate: RateClass::Free,
                meters: Meters::of("development"),
                ..unlisted()
            })),
        };
        for (path, item) in &document.paths.paths {
            let template: &'static str = path.clone().leak();
            let described: BTreeMap<&str, &Option<Described>> = BTreeMap::from([
                ("GET", &item.get),
                ("POST", &item.post),
                ("PUT", &item.put),
                ("PATCH", &item.patch),
                ("DELETE", &item.delete),
            ]);
            let mut methods = Vec::new();
            for (method, described) in described {
                if let Some(described) = described {
                    let method = Method::from_bytes(method.as_bytes()).expect("a method");
                    let read = operation(template, &method, described).with_context(|| path.clone())?;
                    methods.push((method, &*Box::leak(Box::new(read))));
                }
            }
            operations
                .paths
                .insert(template, operations.methods.len())
                .with_context(|| path.clone())?;
            operations.methods.push(methods);
        }
        Ok(operations)
    }

    /// The operation that a request is for. `HEAD` is `GET`.
    pub fn find(&self, method: &Method, path: &str) -> Option<&'static Operation> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let methods = self.at(path)?;
        methods
            .iter()
            .find(|(known, _)| known == method)
            .map(|(_, operation)| *operation)
    }

    /// The methods that an address has, as `Allow` lists them; `None` if there is no such address.
    pub fn allowed(&self, path: &str) -> Option<String> {
        let mut names: Vec<_> = self.at(path)?.iter().map(|(method, _)| method.as_str()).collect();
        if names.contains(&"GET") {
            names.push("HEAD");
        }
        names.sort_unstable();
        Some(names.join(", "))
    }

    /// What stands for pages and documents that are not in the document.
    pub fn unlisted(&self) -> &'static Operation {
        self.unlisted
    }

    /// What stands for what only a development stack has, which follows no rules and is not counted.
    pub fn development(&self) -> &'static Operation {
        self.development
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Method, &Operation)> {
        self.methods
            .iter()
            .flatten()
            .map(|(method, operation)| (method, *operation))
    }

    fn at(&self, path: &str) -> Option<&[(Method, &'static Operation)]> {
        self.paths.at(path).ok().map(|found| &*self.methods[*found.value])
    }
}

fn unlisted() -> Operation {
    Operation {
        id: "unlisted",
        template: "",
        resource: "",
        permission: None,
        rate: RateClass::Anonymous,
        admission: Class::Account,
        public: true,
        works_unpaid: true,
        works_suspended: false,
        reads: false,
        placed: false,
        fresh: false,
        queries: true,
        waits: false,
        exports: false,
        body_limit: DEFAULT_LIMIT,
        meters: Meters::of("unlisted"),
    }
}

/// What a path begins with below `/api/v1/`.
fn resource(path: &str) -> &str {
    let below = path.strip_prefix("/api/v1/");
    below.and_then(|below| below.split('/').next()).unwrap_or_default()
}

fn parameters(described: &Described) -> impl Iterator<Item = &RefOr<Parameter>> {
    described.parameters.iter().flatten()
}

fn exports(described: &Described) -> bool {
    let mut answers = described.responses.responses.values();
    answers.any(|answer| matches!(answer, RefOr::T(answer) if answer.content.contains_key(LINES)))
}

fn operation(template: &'static str, method: &Method, described: &Described) -> Result<Operation> {
    let id: &'static str = described.operation_id.clone().context("no operation_id")?.leak();
    let said = |key: &str| {
        described
            .extensions
            .as_ref()
            .and_then(|all| all.get(key))
            .and_then(|value| value.as_str())
    };
    let permission = said("x-permission").map(|name| &*name.to_owned().leak());
    let says = |key: &str| {
        let all = described.extensions.as_ref();
        all.is_some_and(|all| all.get(key).is_some())
    };
    let public = says("x-public");
    let rate = said("x-rate-class")
        .and_then(RateClass::named)
        .with_context(|| format!("{id}: no known x-rate-class"))?;
    let admission = said("x-admission")
        .and_then(Class::of_requests)
        .with_context(|| format!("{id}: no known x-admission"))?;
    let limit = described
        .extensions
        .as_ref()
        .and_then(|all| all.get("x-body-limit")?.as_u64());
    let body_limit = limit.map_or(DEFAULT_LIMIT, |bytes| bytes as usize);
    let bills = permission.is_some_and(|permission| permission.starts_with("billing:"));
    ensure!(
        !(public && permission.is_some()),
        "{id}: both x-public and x-permission"
    );
    Ok(Operation {
        id,
        template,
        resource: resource(template),
        permission,
        rate,
        admission,
        public,
        reads: method == Method::GET,
        placed: says("x-workspace"),
        fresh: says("x-fresh"),
        works_unpaid: matches!(
            rate,
            RateClass::Read | RateClass::Search | RateClass::Public | RateClass::Activation
        ) || method == Method::DELETE
            || bills
            || says("x-works-unpaid"),
        works_suspended: bills || says("x-works-suspended"),
        queries: parameters(described).any(|parameter| match parameter {
            RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Query,
            RefOr::Ref(_) => true,
        }),
        waits: parameters(described)
            .any(|parameter| matches!(parameter, RefOr::T(parameter) if parameter.name == "wait")),
        exports: exports(described),
        body_limit,
        meters: Meters::of(id),
    })
}

impl Operation {
    /// What concerns credentials, members, ownership and deletion asks the database whatever is remembered; so does whatever a person
    /// changes of their own account.
    pub fn is_sensitive(&self) -> bool {
        const RESOURCES: [&str; 5] = ["members", "invitations", "roles", "api_keys", "service_accounts"];
        let own_account = self.permission.is_none() && !self.public && !self.reads;
        self.fresh
            || own_account
            || self.permission.is_some_and(|permission| {
                let (resource, action) = permission.split_once(':').unwrap_or((permission, ""));
                RESOURCES.contains(&resource) && action != "read"
                    || matches!(permission, "workspace:delete" | "workspace:transfer")
            })
    }

    /// Whether the caller wants everything at once: that costs more, and takes data along.
    pub fn is_export(&self, headers: &HeaderMap) -> bool {
        self.exports && wants_lines(headers, true).unwrap_or(false)
    }
}
