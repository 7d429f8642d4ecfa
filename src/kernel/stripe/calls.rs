//! The calls that billing makes.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use stripe_billing::{
    invoice::RetrieveInvoice, invoice_payment::RetrieveInvoicePayment, subscription::RetrieveSubscription,
};
use stripe_client_core::{RequestBuilder, StripeMethod};
use stripe_core::{
    charge::RetrieveCharge,
    customer::{CreateCustomer, RetrieveCustomer},
    event::ListEvent,
    payment_intent::RetrievePaymentIntent,
};
use stripe_product::price::{ListPrice, RetrievePrice};

use super::{
    objects::{Charge, Customer, Invoice, InvoicePayment, List, Named, PaymentIntent, Price, Subscription},
    refusal::StripeError,
    transport::{Intent, Patience, Stripe},
};
use crate::kernel::secret::Secret;

/// One Stripe account, opened by its key.
#[derive(Clone)]
pub struct Account {
    stripe: Stripe,
    key: Secret<String>,
    patience: Patience,
}

/// Which account a key opens.
#[derive(Deserialize)]
struct Itself {
    id: String,
}

/// As many items as Stripe puts on a page.
const PAGE: u8 = 100;

type Answer<T> = Result<T, StripeError>;

fn expand(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

/// An id goes into a path. One that could lead elsewhere is none.
fn plain(id: &str) -> Answer<&str> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !id.is_empty() && id.len() <= 255 && id.bytes().all(fine) {
        Ok(id)
    } else {
        Err(StripeError::Missing)
    }
}

impl Stripe {
    /// Opens an account.
    pub fn account(&self, key: Secret<String>, patience: Patience) -> Account {
        Account {
            stripe: self.clone(),
            key,
            patience,
        }
    }
}

impl Account {
    /// The id of the account that the key opens.
    ///
    /// # Errors
    /// As every call here: see [`StripeError`].
    pub async fn id(&self) -> Answer<String> {
        let request = RequestBuilder::new(StripeMethod::Get, "/account");
        let account: Itself = self.stripe.perform(&self.key, request, None, self.patience).await?;
        Ok(account.id)
    }

    /// A customer with its tax ids and default card. A deleted one says so.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn customer(&self, id: &str) -> Answer<Customer> {
        let paths = expand(&["tax_ids", "invoice_settings.default_payment_method"]);
        self.read(&RetrieveCustomer::new(plain(id)?).expand(paths)).await
    }

    /// A subscription with everything that it buys, its latest invoice and how that was paid.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn subscription(&self, id: &str) -> Answer<Subscription> {
        let paths = expand(&["latest_invoice.payments"]);
        let mut subscription: Subscription = self.read(&RetrieveSubscription::new(plain(id)?).expand(paths)).await?;
        if let Some(invoice) = subscription
            .latest_invoice
            .as_mut()
            .and_then(|latest| latest.full_mut())
        {
            self.complete(invoice).await?;
        }
        if subscription.items.has_more {
            subscription.items = self.whole("/subscription_items", Some(id)).await?;
        }
        Ok(subscription)
    }

    /// An invoice with all its lines, and how it was paid.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn invoice(&self, id: &str) -> Answer<Invoice> {
        let mut invoice = self
            .read(&RetrieveInvoice::new(plain(id)?).expand(expand(&["payments"])))
            .await?;
        self.complete(&mut invoice).await?;
        Ok(invoice)
    }

    /// An answer carries the first ten lines only, and what settles changes stands before what pays for a period.
    async fn complete(&self, invoice: &mut Invoice) -> Answer<()> {
        if invoice.lines.has_more {
            let path = format!("/invoices/{}/lines", plain(&invoice.id)?);
            invoice.lines = self.whole(&path, None).await?;
        }
        Ok(())
    }

    /// All of a list, page by page from its beginning.
    async fn whole<T>(&self, path: &str, subscription: Option<&str>) -> Answer<List<T>>
    where
        T: serde::de::DeserializeOwned + Named,
    {
        let mut all = List {
            data: Vec::new(),
            has_more: true,
        };
        while all.has_more {
            let query = PartQuery {
                limit: PAGE,
                subscription,
                starting_after: all.data.last().map(T::id),
            };
            let request = RequestBuilder::new(StripeMethod::Get, path).query(&query);
            let page: List<T> = self.stripe.perform(&self.key, request, None, self.patience).await?;
            if page.has_more && page.data.is_empty() {
                return Err(StripeError::Unreadable(
                    "a page of a list that has more is empty".to_owned(),
                ));
            }
            all.data.extend(page.data);
            all.has_more = page.has_more;
        }
        Ok(all)
    }

    /// What ties an invoice to a payment.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn invoice_payment(&self, id: &str) -> Answer<InvoicePayment> {
        self.read(&RetrieveInvoicePayment::new(plain(id)?)).await
    }

    /// A payment intent with its latest charge.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn payment_intent(&self, id: &str) -> Answer<PaymentIntent> {
        self.read(&RetrievePaymentIntent::new(plain(id)?).expand(expand(&["latest_charge"])))
            .await
    }

    /// A charge.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn charge(&self, id: &str) -> Answer<Charge> {
        self.read(&RetrieveCharge::new(plain(id)?)).await
    }

    /// A price with its product and tiers.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn price(&self, id: &str) -> Answer<Price> {
        self.read(&RetrievePrice::new(plain(id)?).expand(expand(&["product", "tiers"])))
            .await
    }

    /// The active prices that carry one of these lookup keys.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn prices(&self, lookup_keys: &[String]) -> Answer<Vec<Price>> {
        let request = ListPrice::new()
            .active(true)
            .limit(PAGE)
            .lookup_keys(lookup_keys)
            .expand(expand(&["data.product"]));
        let list: List<Price> = self.read(&request).await?;
        Ok(list.data)
    }

    /// The newest events since a moment as they are, a hundred at most, newest first; before the event named, if one is.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn events(&self, since: DateTime<Utc>, older_than: Option<&str>) -> Answer<List<Value>> {
        let query = EventQuery {
            limit: PAGE,
            created: Since { gte: since.timestamp() },
            starting_after: older_than,
        };
        let path = stripe::StripeRequest::build(&ListEvent::new()).path;
        let request = RequestBuilder::new(StripeMethod::Get, path).query(&query);
        self.stripe.perform(&self.key, request, None, self.patience).await
    }

    /// Makes a customer, or answers the one that the same intent made before. The metadata is for people and repairs; nothing is decided
    /// by it.
    ///
    /// # Errors
    /// See [`StripeError`].
    pub async fn create_customer(&self, intent: &Intent, new: &NewCustomer) -> Answer<Customer> {
        let mut request = CreateCustomer::new().name(&new.name).metadata(new.metadata.clone());
        if let Some(email) = &new.email {
            request = request.email(email);
        }
        self.stripe.send(&self.key, &request, Some(intent), self.patience).await
    }

    async fn read<T: serde::de::DeserializeOwned>(&self, request: &impl stripe::StripeRequest) -> Answer<T> {
        self.stripe.send(&self.key, request, None, self.patience).await
    }
}

/// A customer to be made at Stripe.
pub struct NewCustomer {
    /// What invoices call it.
    pub name: String,
    /// Where receipts go.
    pub email: Option<String>,
    /// Ids of ours, for people.
    pub metadata: HashMap<String, String>,
}

#[derive(serde::Serialize)]
struct PartQuery<'a> {
    limit: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    starting_after: Option<&'a str>,
}

#[derive(serde::Serialize)]
struct EventQuery<'a> {
    limit: u8,
    created: Since,
    #[serde(skip_serializing_if = "Option::is_none")]
    starting_after: Option<&'a str>,
}

#[derive(serde::Serialize)]
struct Since {
    gte: i64,
}
