//! The Stripe of `make run` and of the tests: a stateful account that speaks Stripe's wire format.
//!
//! It serves what the billing of this product asks of Stripe, in the shape of [`API_VERSION`], on a clock that is handed
//! in, and sends signed events. What a shopper, time or bad luck would do is done through [`Stub`] or under `/_stub/`.

mod book;
mod calendar;
mod catalog;
mod control;
mod customers;
mod delivery;
mod endpoints;
mod expand;
mod fault;
mod form;
mod invoices;
mod payments;
mod proration;
mod refusal;
mod subscriptions;
mod time;
mod wire;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::web::Data;
use actix_web::{App, HttpServer};
use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

pub use self::book::{AfterLastRetry, Card};
pub use self::delivery::{Delivered, Order, Schedule};
pub use self::fault::{Fault, Kind};
pub use self::refusal::{Refusal, Told};

use super::home::write_private;
use crate::kernel::plans::SeedPlan;

use self::book::Book;
use self::form::Params;

/// The version of Stripe's API that the stub speaks.
pub const API_VERSION: &str = "2026-09-30.endive";

/// The secret key that opens the stub, unless another is given.
pub const KEY: &str = "sk_test_stub";

/// A source of the present moment.
pub type Now = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// One Stripe account in memory. Clones share it.
#[derive(Clone)]
pub struct Stub {
    inner: Arc<Inner>,
}

struct Inner {
    book: Mutex<Book>,
    now: Now,
    key: String,
    file: Option<PathBuf>,
    http: reqwest::Client,
}

/// A customer taking a subscription.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Purchase {
    /// An existing customer; absent, one is made.
    pub customer: Option<String>,
    /// Instead of a customer: the workspace that one was made for, as its metadata says.
    pub workspace: Option<String>,
    /// E-mail address of a customer that is made.
    pub email: Option<String>,
    /// The price, by id or lookup key.
    pub price: String,
    /// Units; 0 counts as 1.
    pub quantity: u32,
    /// Stripe's name of a test card, `pm_card_visa` by default.
    pub card: Option<String>,
    /// Days that are free at first.
    pub trial_days: u32,
}

impl Stub {
    /// An empty account, living on the given clock.
    pub fn new(now: Now) -> Self {
        let salt = format!("{:010x}", uuid::Uuid::new_v4().as_u128() & 0xff_ffff_ffff);
        Self::with(now, Book::new(salt), None)
    }

    /// The account that is kept in a file, or an empty one that will be kept there.
    ///
    /// # Errors
    /// When the file exists and cannot be read.
    pub fn kept(now: Now, file: PathBuf) -> anyhow::Result<Self> {
        let fresh = Self::new(now.clone());
        if !file.exists() {
            let book = std::mem::take(&mut *fresh.lock());
            return Ok(Self::with(now, book, Some(file)));
        }
        let book = serde_json::from_slice(&std::fs::read(&file)?).with_context(|| {
            format!(
                "{} is not what this version keeps; `guildhall dev --reset` starts over",
                file.display()
            )
        })?;
        Ok(Self::with(now, book, Some(file)))
    }

    fn with(now: Now, book: Book, file: Option<PathBuf>) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(std::time::Duration::from_secs(20))
            .build();
        let inner = Inner {
            book: Mutex::new(book),
            now,
            key: KEY.to_owned(),
            file,
            http: http.unwrap_or_default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Serves the account on a listener until the process ends or the handle is stopped.
    ///
    /// # Errors
    /// When the listener cannot be used.
    pub fn serve(&self, listener: TcpListener) -> std::io::Result<(SocketAddr, actix_web::dev::Server)> {
        let address = listener.local_addr()?;
        let stub = Data::new(self.clone());
        let app = move || {
            let stub = stub.clone();
            App::new()
                .app_data(stub)
                .configure(control::routes)
                .default_service(actix_web::web::to(wire::answer))
        };
        let server = HttpServer::new(app)
            .workers(1)
            .disable_signals()
            .listen(listener)?
            .run();
        Ok((address, server))
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.inner.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the book at the present second, with everything that came due already done.
    fn open(&self) -> Opened<'_> {
        let mut book = self.lock();
        let present = (self.inner.now)().timestamp() + book.ahead;
        let changed = time::catch_up(&mut book, present);
        Opened {
            book,
            changed,
            file: self.inner.file.as_ref(),
        }
    }

    fn key(&self) -> &str {
        &self.inner.key
    }

    fn http(&self) -> &reqwest::Client {
        &self.inner.http
    }

    /// Registers a receiver of all events under a secret that it already has; answers the endpoint's id.
    pub fn listen(&self, url: &str, secret: &str) -> String {
        let mut book = self.open();
        let known = book.ids("webhook_endpoint", |e| e["url"] == url);
        if let Some(known) = known.into_iter().next() {
            book.secrets.insert(known.clone(), vec![secret.to_owned()]);
            return known;
        }
        let id = book.id("we");
        let endpoint = json!({ "id": id, "object": "webhook_endpoint", "api_version": API_VERSION,
            "application": null, "created": book.now, "description": null, "enabled_events": ["*"],
            "livemode": false, "metadata": {}, "status": "enabled", "url": url });
        endpoints::register(&mut book, endpoint, secret.to_owned());
        id
    }

    /// Forgets every receiver, and what was on its way to it: those of an earlier run stand at addresses that are gone.
    pub fn forget_receivers(&self) {
        let mut book = self.open();
        for id in book.ids("webhook_endpoint", |endpoint| endpoint["deleted"].is_null()) {
            if let Err(refusal) = endpoints::delete(&mut book, &id) {
                tracing::warn!(?refusal, "a receiver of the Stripe stub stays");
            }
        }
    }

    /// Rolls an endpoint's secret; the old one goes on signing beside the new.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub fn roll(&self, endpoint: &str, secret: Option<String>) -> Result<String, Refusal> {
        endpoints::roll(&mut self.open(), endpoint, secret)
    }

    /// The signature header of a body for an endpoint at the present second.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub fn signature(&self, endpoint: &str, body: &[u8]) -> Result<String, Refusal> {
        let book = self.open();
        let secrets = book
            .secrets
            .get(endpoint)
            .ok_or_else(|| Refusal::no_such("endpoint", endpoint, "id"))?;
        Ok(endpoints::signature(secrets, book.now - book.ahead, body))
    }

    /// Answers a request as the wire would, without the wire: method, path below `/v1/`, form-encoded parameters.
    ///
    /// # Errors
    /// Stripe's refusal.
    pub fn call(&self, method: &str, path: &str, form: &str) -> Result<Value, Refusal> {
        wire::call(&mut self.open(), method, path, Params::parse(form))
    }

    /// A customer takes a subscription, with a card that pays, declines or wants its holder.
    ///
    /// # Errors
    /// Stripe's refusal: unknown price or customer.
    pub fn purchase(&self, purchase: &Purchase) -> Told<Value> {
        let mut book = self.open();
        let customer = match buyer(&book, purchase)? {
            Some(id) => id,
            None => {
                let params = Params::default().with("email", json!(purchase.email.as_deref().unwrap_or("")));
                customers::create(&mut book, &params)?["id"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            }
        };
        let card = purchase.card.as_deref().unwrap_or("pm_card_visa");
        customers::update(
            &mut book,
            &customer,
            &Params::default().with("payment_method", json!(card)),
        )?;
        let by_key = book.ids("price", |p| p["lookup_key"] == purchase.price.as_str());
        let price = by_key.into_iter().next_back().unwrap_or_else(|| purchase.price.clone());
        let quantity = purchase.quantity.max(1).to_string();
        let params = Params::default()
            .with("customer", json!(customer))
            .with("items", json!([{ "price": price, "quantity": quantity }]))
            .with("trial_period_days", json!(purchase.trial_days.to_string()));
        subscriptions::create(&mut book, &params)
    }

    /// Puts the plans of a fresh deployment on sale: a product each, and its prices. What is there already stays.
    ///
    /// # Errors
    /// Stripe's refusal.
    pub fn stock(&self, plans: &[SeedPlan]) -> Told<()> {
        let mut book = self.open();
        for plan in plans {
            let missing = |book: &Book, key: &str| book.all("price").all(|price| price["lookup_key"] != key);
            for price in plan.prices {
                if missing(&book, price.lookup_key) {
                    let form = format!(
                        "currency=usd&unit_amount={}&lookup_key={}&nickname={}&recurring[interval]={}&product_data[name]={}",
                        price.amount, price.lookup_key, plan.name, price.interval, plan.name
                    );
                    catalog::create_price(&mut book, &Params::parse(&form))?;
                }
            }
        }
        Ok(())
    }

    /// Lets time pass for the account alone; answers its present second.
    pub fn advance(&self, seconds: i64) -> i64 {
        self.lock().ahead += seconds;
        self.open().now
    }

    /// Plans trouble for coming requests.
    pub fn inject(&self, fault: Fault) {
        self.open().faults.push(fault);
    }

    /// Ends every fault.
    pub fn heal(&self) {
        self.open().faults.clear();
    }

    /// What becomes of a subscription whose last retry fails.
    pub fn after_last_retry(&self, what: AfterLastRetry) {
        self.open().after_last_retry = what;
    }

    /// Every request since the start: method, path, idempotency key, version.
    pub fn requests(&self) -> Vec<Value> {
        self.lock().log.clone()
    }

    /// How many deliveries are pending.
    pub fn pending(&self) -> usize {
        self.lock().deliveries.len()
    }

    /// Forgets pending deliveries, as an outage of the receiver for three days would.
    pub fn forget_deliveries(&self) {
        self.lock().deliveries.clear();
    }
}

/// The customer that a purchase names: by id, or by the workspace that it was made for.
fn buyer(book: &Book, purchase: &Purchase) -> Told<Option<String>> {
    let Some(workspace) = &purchase.workspace else {
        return Ok(purchase.customer.clone());
    };
    let made_for = |customer: &Value| customer["metadata"]["guildhall_workspace"] == workspace.as_str();
    match book.ids("customer", made_for).pop() {
        Some(id) => Ok(Some(id)),
        None => Err(Refusal::no_such("customer of workspace", workspace, "workspace")),
    }
}

/// The book while it is open. Closing it writes it to its file, if it has one and somebody wrote in it.
struct Opened<'a> {
    book: MutexGuard<'a, Book>,
    changed: bool,
    file: Option<&'a PathBuf>,
}

impl std::ops::Deref for Opened<'_> {
    type Target = Book;

    fn deref(&self) -> &Book {
        &self.book
    }
}

impl std::ops::DerefMut for Opened<'_> {
    fn deref_mut(&mut self) -> &mut Book {
        self.changed = true;
        &mut self.book
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        let Some(file) = self.file.filter(|_| self.changed) else {
            return;
        };
        let written = serde_json::to_string(&*self.book).map_err(anyhow::Error::from);
        // Whole or not at all: the process may be killed in the midst of it.
        if let Err(error) = written.and_then(|book| write_private(file, &book)) {
            tracing::warn!(%error, "the Stripe stub could not be saved");
        }
    }
}
