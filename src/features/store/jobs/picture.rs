//! What a look saw: every object fetched once, however many events point at it.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};

use crate::kernel::{
    inbox::Waiting,
    stripe::{Account, Customer, Expandable, Invoice, PaymentIntent, Price, StripeError, Subscription},
};

/// Objects that are fetched at once.
const AT_ONCE: usize = 4;

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Customer(String),
    Subscription(String),
    Invoice(String),
    InvoicePayment(String),
    PaymentIntent(String),
    Charge(String),
    Price(String),
}

impl Target {
    /// Stripe's id of it.
    fn object(&self) -> &str {
        match self {
            Target::Customer(id)
            | Target::Subscription(id)
            | Target::Invoice(id)
            | Target::InvoicePayment(id)
            | Target::PaymentIntent(id)
            | Target::Charge(id)
            | Target::Price(id) => id,
        }
    }
}

/// What came of looking at a target.
enum Seen {
    Customer(Box<Customer>),
    Subscription(Box<Subscription>),
    Invoice(Box<Invoice>),
    Payment(Box<PaymentIntent>),
    Price(Box<Price>),
    /// Nothing that we keep hangs on it.
    Nothing,
}

/// What is to become of an event.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::features::store) enum Verdict {
    /// What it pointed at was seen.
    Apply,
    /// What it pointed at belongs to this customer, whose lane it is to be looked at in.
    Belongs(String),
    /// Nothing here is about it.
    Nothing,
    /// It could not be looked at.
    Failed(StripeError),
    /// It points at something that Stripe does not know.
    Dangling(String),
}

/// Everything that a look saw, after the lane was taken: nobody can have written anything fresher.
#[derive(Default)]
pub(in crate::features::store) struct Picture {
    pub(in crate::features::store) events: Vec<(Waiting, Verdict)>,
    pub(in crate::features::store) customer: Option<Customer>,
    pub(in crate::features::store) subscriptions: BTreeMap<String, Subscription>,
    pub(in crate::features::store) invoices: BTreeMap<String, Invoice>,
    pub(in crate::features::store) payments: BTreeMap<String, PaymentIntent>,
    pub(in crate::features::store) prices: BTreeMap<String, Price>,
    /// Prices that Stripe no longer has.
    pub(in crate::features::store) gone_prices: BTreeSet<String>,
}

impl Picture {
    /// Nothing could be looked at.
    pub(in crate::features::store) fn unseen(events: Vec<Waiting>, why: StripeError) -> Picture {
        let verdict = Verdict::Failed(why);
        Picture {
            events: events.into_iter().map(|event| (event, verdict.clone())).collect(),
            ..Picture::default()
        }
    }

    /// Whether anything was seen that hangs on a customer.
    pub(in crate::features::store) fn needs_customer(&self) -> bool {
        !(self.subscriptions.is_empty() && self.invoices.is_empty() && self.payments.is_empty())
    }

    /// Looks at what the events of a lane point at.
    pub(in crate::features::store) async fn take(account: &Account, lane: &str, events: Vec<Waiting>) -> Picture {
        let mut picture = Picture::default();
        let targets: BTreeSet<Target> = events.iter().filter_map(|event| target(event, lane)).collect();
        let seen = fetch(account, targets).await;
        let mut verdicts = BTreeMap::new();
        for (target, seen) in seen {
            let verdict = picture.add(&target, seen, lane);
            verdicts.insert(target, verdict);
        }
        picture.complete(account, &mut verdicts).await;
        for event in events {
            let verdict = target(&event, lane).and_then(|target| verdicts.get(&target).cloned());
            picture.events.push((event, verdict.unwrap_or(Verdict::Nothing)));
        }
        picture
    }

    /// Fetches what the objects themselves point at: an invoice's subscription, the customer of a subscription, prices of lines.
    async fn complete(&mut self, account: &Account, verdicts: &mut BTreeMap<Target, Verdict>) {
        let owners = self.invoices.values().filter_map(|invoice| invoice.subscription());
        let missing = owners
            .filter(|id| !self.subscriptions.contains_key(*id))
            .map(|id| Target::Subscription(id.to_owned()));
        let mut missing: BTreeSet<Target> = missing.collect();
        let customers = self
            .subscriptions
            .values()
            .map(|subscription| subscription.customer.id());
        let customers = customers.chain(
            self.invoices
                .values()
                .filter_map(|i| i.customer.as_ref().map(Expandable::id)),
        );
        if self.customer.is_none() {
            missing.extend(customers.map(|id| Target::Customer(id.to_owned())));
        }
        self.follow(account, missing, verdicts).await;
        self.take_latest_invoices();
        let outdated = self.outdated();
        self.subscriptions.retain(|id, _| !outdated.contains(id));
        let again = outdated.into_iter().map(Target::Subscription).collect();
        self.follow(account, again, verdicts).await;
        self.take_latest_invoices();
        let paid_with = self
            .invoices
            .values()
            .filter_map(|invoice| invoice.payments.as_ref())
            .flat_map(|list| &list.data);
        let intents = paid_with
            .filter_map(|payment| payment.payment.as_ref()?.payment_intent.as_ref())
            .map(Expandable::id);
        let intents = intents
            .filter(|id| !self.payments.contains_key(*id))
            .map(|id| Target::PaymentIntent(id.to_owned()));
        let intents: BTreeSet<Target> = intents.collect();
        self.follow(account, intents, verdicts).await;
        let items = self
            .subscriptions
            .values()
            .flat_map(|subscription| &subscription.items.data);
        self.prices.extend(
            items
                .map(|item| (item.price.id.clone(), item.price.clone()))
                .collect::<Vec<_>>(),
        );
        let lines = self.invoices.values().flat_map(|invoice| &invoice.lines.data);
        let unknown = lines
            .filter_map(|line| line.price())
            .filter(|id| !self.prices.contains_key(*id));
        let unknown: BTreeSet<Target> = unknown.map(|id| Target::Price(id.to_owned())).collect();
        self.follow(account, unknown, verdicts).await;
    }

    /// Subscriptions that are older than one of their invoices may be, which was paid for an item that they do not have: it came meanwhile, or
    /// left before. Who looks at them again knows which.
    fn outdated(&self) -> BTreeSet<String> {
        let unknown = |invoice: &&Invoice| {
            let of = invoice.subscription().and_then(|id| self.subscriptions.get(id));
            let items = of.map(|subscription| &subscription.items.data);
            let has = |item: &str| items.is_none_or(|items| items.iter().any(|known| known.id == item));
            let mut named = invoice.lines.data.iter().filter(|line| !line.is_proration());
            named.any(|line| line.item().is_some_and(|item| !has(item)))
        };
        let invoices = self.invoices.values().filter(unknown);
        invoices
            .filter_map(|invoice| invoice.subscription())
            .map(str::to_owned)
            .collect()
    }

    /// Looks further. What cannot be seen there fails whatever led there, for half a picture is none.
    async fn follow(&mut self, account: &Account, targets: BTreeSet<Target>, verdicts: &mut BTreeMap<Target, Verdict>) {
        for (target, seen) in fetch(account, targets).await {
            match seen {
                Ok(seen) => self.keep(seen),
                Err(StripeError::Missing) if matches!(target, Target::Price(_)) => self.forget_price(&target),
                Err(error) => {
                    let failed = match error {
                        StripeError::Missing => Verdict::Dangling(target.object().to_owned()),
                        error => Verdict::Failed(error),
                    };
                    for verdict in verdicts.values_mut().filter(|verdict| **verdict == Verdict::Apply) {
                        *verdict = failed.clone();
                    }
                }
            }
        }
    }

    fn forget_price(&mut self, target: &Target) {
        if let Target::Price(id) = target {
            self.gone_prices.insert(id.clone());
        }
    }

    fn take_latest_invoices(&mut self) {
        let latest = self
            .subscriptions
            .values()
            .filter_map(|subscription| subscription.latest_invoice.as_ref());
        let latest: Vec<Invoice> = latest.filter_map(Expandable::full).cloned().collect();
        for invoice in latest {
            self.invoices.entry(invoice.id.clone()).or_insert(invoice);
        }
    }

    /// Keeps what was seen if it belongs into this lane, and says what becomes of its events.
    fn add(&mut self, target: &Target, seen: Result<Seen, StripeError>, lane: &str) -> Verdict {
        let seen = match seen {
            Ok(Seen::Nothing) => return Verdict::Nothing,
            Ok(seen) => seen,
            Err(StripeError::Missing) if matches!(target, Target::Price(_)) => {
                self.forget_price(target);
                return Verdict::Apply;
            }
            Err(error) => return Verdict::Failed(error),
        };
        match seen.customer() {
            Some(customer) if customer != lane => return Verdict::Belongs(customer.to_owned()),
            _ => self.keep(seen),
        }
        Verdict::Apply
    }

    fn keep(&mut self, seen: Seen) {
        match seen {
            Seen::Customer(customer) => self.customer = Some(*customer),
            Seen::Subscription(object) => drop(self.subscriptions.insert(object.id.clone(), *object)),
            Seen::Invoice(object) => drop(self.invoices.insert(object.id.clone(), *object)),
            Seen::Payment(object) => drop(self.payments.insert(object.id.clone(), *object)),
            Seen::Price(object) => drop(self.prices.insert(object.id.clone(), *object)),
            Seen::Nothing => {}
        }
    }
}

impl Seen {
    /// The customer that it hangs on.
    fn customer(&self) -> Option<&str> {
        match self {
            Seen::Customer(customer) => Some(&customer.id),
            Seen::Subscription(object) => Some(object.customer.id()),
            Seen::Invoice(object) => object.customer.as_ref().map(Expandable::id),
            Seen::Payment(object) => object.customer.as_ref().map(Expandable::id),
            Seen::Price(_) | Seen::Nothing => None,
        }
    }
}

/// What an event points at. `None`: nothing here is about it.
fn target(event: &Waiting, lane: &str) -> Option<Target> {
    let object = || event.object_id.clone();
    let of = |start: &str| event.kind.starts_with(start);
    if of("customer.subscription.") {
        object().map(Target::Subscription)
    } else if of("customer.tax_id.") || of("customer.source.") || of("payment_method.") {
        // Its own id says nothing; the lane is the customer, unless it never had one.
        (event.object_id.as_deref() != Some(lane)).then(|| Target::Customer(lane.to_owned()))
    } else if matches!(
        event.kind.as_str(),
        "customer.created" | "customer.updated" | "customer.deleted"
    ) {
        object().map(Target::Customer)
    } else if of("invoice.") {
        object().map(Target::Invoice)
    } else if of("invoice_payment.") {
        object().map(Target::InvoicePayment)
    } else if of("payment_intent.") {
        object().map(Target::PaymentIntent)
    } else if of("charge.dispute.") || of("charge.refund.") {
        None
    } else if of("charge.") {
        object().map(Target::Charge)
    } else if of("price.") {
        object().map(Target::Price)
    } else {
        None
    }
}

async fn fetch(account: &Account, targets: BTreeSet<Target>) -> Vec<(Target, Result<Seen, StripeError>)> {
    let calls = targets.into_iter().map(|target| async move {
        let seen = look_at(account, &target).await;
        (target, seen)
    });
    stream::iter(calls).buffered(AT_ONCE).collect().await
}

async fn look_at(account: &Account, target: &Target) -> Result<Seen, StripeError> {
    Ok(match target {
        Target::Customer(id) => Seen::Customer(Box::new(account.customer(id).await?)),
        Target::Subscription(id) => Seen::Subscription(Box::new(account.subscription(id).await?)),
        Target::Invoice(id) => Seen::Invoice(Box::new(account.invoice(id).await?)),
        Target::PaymentIntent(id) => Seen::Payment(Box::new(account.payment_intent(id).await?)),
        Target::Price(id) => Seen::Price(Box::new(account.price(id).await?)),
        Target::InvoicePayment(id) => match account.invoice_payment(id).await?.invoice {
            Some(invoice) => Seen::Invoice(Box::new(account.invoice(invoice.id()).await?)),
            None => Seen::Nothing,
        },
        Target::Charge(id) => match account.charge(id).await?.payment_intent {
            Some(intent) => Seen::Payment(Box::new(account.payment_intent(intent.id()).await?)),
            None => Seen::Nothing,
        },
    })
}

#[cfg(test)]
mod tests;
