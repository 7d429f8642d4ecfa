//! One door for every `/v1` address: authentication, faults, idempotency, dispatch, expansion.

use std::time::Duration;

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use serde_json::{Value, json};

use super::book::{Book, Reply};
use super::expand::{expand, page, part, shorten};
use super::fault::Kind;
use super::form::Params;
use super::refusal::{Refusal, Told};
use super::{API_VERSION, Stub, catalog, customers, endpoints, invoices, subscriptions};

/// A request as the stub judges it.
struct Asked {
    method: String,
    path: String,
    params: Params,
    key: Option<String>,
}

/// Answers any request under `/v1/`.
pub(super) async fn answer(request: HttpRequest, body: Bytes, stub: Data<Stub>) -> HttpResponse {
    let mut params = Params::parse(request.query_string());
    params.merge(Params::parse(&String::from_utf8_lossy(&body)));
    let key = request
        .headers()
        .get("Idempotency-Key")
        .and_then(|v| v.to_str().ok())
        .map(str::to_owned);
    let path = request
        .path()
        .trim_start_matches("/v1/")
        .trim_end_matches('/')
        .to_owned();
    let asked = Asked {
        method: request.method().to_string(),
        path,
        params,
        key,
    };
    if let Err(refusal) = authenticate(&request, &stub) {
        return respond(refusal.status, &refusal.body, "req_none", false);
    }
    let version = request
        .headers()
        .get("Stripe-Version")
        .and_then(|v| v.to_str().ok())
        .unwrap_or(API_VERSION);
    let (fault, reply, request_id, replayed) = judge(&stub, &asked, version);
    match fault {
        Some(Kind::Slow(millis)) => tokio::time::sleep(Duration::from_millis(millis)).await,
        Some(Kind::Garbled) => return HttpResponse::build(status(reply.status)).body("<html>upstream error</html>"),
        Some(Kind::Cut) => return cut(),
        _ => {}
    }
    respond(reply.status, &reply.body, &request_id, replayed)
}

/// A body that promises more than it carries: the peer sees a connection that breaks.
fn cut() -> HttpResponse {
    let broken = futures_util::stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut")) });
    HttpResponse::Ok().streaming(broken)
}

fn authenticate(request: &HttpRequest, stub: &Stub) -> Told<()> {
    let header = request
        .headers()
        .get("Authorization")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let key = header.strip_prefix("Bearer ").ok_or_else(Refusal::no_key)?;
    if key != stub.key() {
        return Err(Refusal::wrong_key(
            key.get(key.len().saturating_sub(4)..).unwrap_or_default(),
        ));
    }
    Ok(())
}

/// Judges a request under the account's lock: the fault that strikes it, the answer, its id, and whether it is a replay.
fn judge(stub: &Stub, asked: &Asked, version: &str) -> (Option<Kind>, Reply, String, bool) {
    let mut book = stub.open();
    book.prune();
    let request_id = book.id("req");
    book.request = (Some(request_id.clone()), asked.key.clone());
    let entry = json!({ "id": request_id, "method": asked.method, "path": asked.path, "idempotency_key": asked.key,
        "version": version });
    book.log.push(entry);
    let fault = book
        .faults
        .iter_mut()
        .find(|f| f.strikes(&asked.method, &asked.path))
        .map(|fault| {
            fault.times -= 1;
            fault.kind.clone()
        });
    if let Some(Kind::RefusedBefore(status)) = fault {
        let refusal = Refusal::fault(status);
        return (
            fault,
            Reply {
                request: String::new(),
                status,
                body: refusal.body,
                at: 0,
            },
            request_id,
            false,
        );
    }
    let (mut reply, replayed) = reply(&mut book, asked, fault == Some(Kind::Stale));
    if let Some(Kind::RefusedAfter(status)) = fault {
        reply = Reply {
            status,
            body: Refusal::fault(status).body,
            ..reply
        };
    }
    book.request = (None, None);
    (fault, reply, request_id, replayed)
}

/// Performs one request under the lock, without key, fault or record.
pub(super) fn call(book: &mut Book, method: &str, path: &str, params: Params) -> Told<Value> {
    let asked = Asked {
        method: method.to_owned(),
        path: path.to_owned(),
        params,
        key: None,
    };
    let mut answer = perform(book, &asked, false)?;
    expand(book, &asked.params, &mut answer);
    shorten(&mut answer);
    Ok(answer)
}

fn reply(book: &mut Book, asked: &Asked, stale: bool) -> (Reply, bool) {
    let request = format!("{} {} {}", asked.method, asked.path, asked.params.canonical());
    let keyed = asked.key.as_ref().filter(|_| asked.method == "POST");
    if let Some(known) = keyed.and_then(|key| book.replies.get(key)) {
        if known.request == request {
            return (known.clone(), true);
        }
        let refusal = Refusal::key_reused();
        return (
            Reply {
                request,
                status: refusal.status,
                body: refusal.body,
                at: book.now,
            },
            false,
        );
    }
    let done = perform(book, asked, stale).map(|mut answer| {
        expand(book, &asked.params, &mut answer);
        shorten(&mut answer);
        answer
    });
    let (status, body) = done.map_or_else(|refusal| (refusal.status, refusal.body), |body| (200, body));
    let reply = Reply {
        request,
        status,
        body,
        at: book.now,
    };
    // What was refused before anything was tried is judged afresh; an effect, or a card's refusal, is remembered.
    if let Some(key) = keyed.filter(|_| status < 300 || status == 402) {
        book.replies.insert(key.clone(), reply.clone());
    }
    (reply, false)
}

fn perform(book: &mut Book, asked: &Asked, stale: bool) -> Told<Value> {
    let steps: Vec<&str> = asked.path.split('/').collect();
    match (asked.method.as_str(), steps.as_slice()) {
        ("GET", steps) => read(book, steps, &asked.params, stale),
        ("POST", steps) => write(book, steps, &asked.params),
        ("DELETE", ["customers", id]) => customers::delete(book, id),
        ("DELETE", ["subscriptions", id]) => subscriptions::cancel(book, id),
        ("DELETE", ["webhook_endpoints", id]) => endpoints::delete(book, id),
        (method, _) => Err(Refusal::unknown_address(method, &asked.path)),
    }
}

fn write(book: &mut Book, steps: &[&str], params: &Params) -> Told<Value> {
    match steps {
        ["customers"] => customers::create(book, params),
        ["customers", id] => customers::update(book, id, params),
        ["customers", id, "tax_ids"] => customers::create_tax_id(book, id, params),
        ["payment_methods", id, "attach"] => customers::attach(book, id, params.require("customer")?),
        ["products"] => catalog::create_product(book, params),
        ["products", id] => catalog::update_product(book, id, params),
        ["prices"] => catalog::create_price(book, params),
        ["prices", id] => catalog::update_price(book, id, params),
        ["subscriptions"] => subscriptions::create(book, params),
        ["subscriptions", id] => subscriptions::update(book, id, params),
        ["invoiceitems"] => invoices::ride_along(book, params),
        ["invoices", id, "pay"] => invoices::pay(book, id, params),
        ["invoices", id, "void"] => invoices::void(book, id),
        ["webhook_endpoints"] => endpoints::create(book, params),
        ["webhook_endpoints", id] => endpoints::update(book, id, params),
        other => Err(Refusal::unknown_address("POST", &other.join("/"))),
    }
}

fn read(book: &Book, steps: &[&str], params: &Params, stale: bool) -> Told<Value> {
    let url = format!("/v1/{}", steps.join("/"));
    match steps {
        ["account"] => Ok(book.account()),
        ["invoices", id, "lines"] => invoices::lines(book, id, params),
        ["customers", id, "tax_ids"] => {
            customers::live(book, id)?;
            page(
                book,
                "tax_id",
                &url,
                &params.clone().with("customer", json!(id)),
                &["customer"],
            )
        }
        ["customers", id, "payment_methods"] => page(
            book,
            "payment_method",
            &url,
            &params.clone().with("customer", json!(id)),
            &["customer", "type"],
        ),
        ["subscription_items"] => {
            params.only(&["subscription", "limit", "starting_after"])?;
            let owner = book.find("subscription", params.require("subscription")?, "subscription")?;
            part(&owner["items"], &url, params)
        }
        [kind] => {
            let (name, filters) = collection(kind).ok_or_else(|| Refusal::unknown_address("GET", kind))?;
            page(book, name, &url, params, filters)
        }
        [kind, id] => {
            let (name, _) = collection(kind).ok_or_else(|| Refusal::unknown_address("GET", &url))?;
            params.only(&[])?;
            book.find(name, id, "id")?;
            let object = if stale { book.get_stale(id) } else { book.get(id) };
            object.cloned().ok_or_else(|| Refusal::no_such(name, id, "id"))
        }
        _ => Err(Refusal::unknown_address("GET", &url)),
    }
}

/// The kind behind a plural address, and the filters of its list.
fn collection(plural: &str) -> Option<(&'static str, &'static [&'static str])> {
    Some(match plural {
        "customers" => ("customer", &["email"]),
        "products" => ("product", &["active"]),
        "prices" => ("price", &["active", "product", "currency", "type", "lookup_keys"]),
        "subscriptions" => ("subscription", &["customer", "status"]),
        "invoices" => ("invoice", &["customer", "status", "collection_method"]),
        "invoice_payments" => ("invoice_payment", &["invoice", "status"]),
        "payment_intents" => ("payment_intent", &["customer"]),
        "charges" => ("charge", &["customer", "payment_intent"]),
        "payment_methods" => ("payment_method", &["customer", "type"]),
        "events" => ("event", &["type"]),
        "webhook_endpoints" => ("webhook_endpoint", &[]),
        _ => return None,
    })
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn respond(code: u16, body: &Value, request_id: &str, replayed: bool) -> HttpResponse {
    let mut response = HttpResponse::build(status(code));
    response
        .insert_header(("Request-Id", request_id))
        .insert_header(("Stripe-Version", API_VERSION));
    if replayed {
        response.insert_header(("Idempotent-Replayed", "true"));
    }
    if code == 409 || code == 429 || code >= 500 {
        response.insert_header(("Stripe-Should-Retry", "true"));
    }
    response.json(body)
}
