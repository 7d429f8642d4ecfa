//! Delivering events: signed as Stripe signs them, in the order, number and time that a test asks for.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Stub;
use super::book::{Book, Delivery};
use super::endpoints::signature;
use super::expand::shorten;

/// Seconds before each further try of a delivery that was not answered with 2xx.
const RETRY_SECONDS: [i64; 6] = [10, 60, 300, 3600, 7200, 36_000];

/// How pending events are to arrive.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Copies of each event beside the first.
    pub extra_copies: u32,
    /// The order in which they arrive.
    pub order: Order,
    /// Of a hundred deliveries, how many are lost for good.
    pub lose_percent: u8,
    /// Only events of these types, if any are named; the others stay pending.
    pub types: Vec<String>,
    /// Seed of shuffles and losses.
    pub seed: u64,
}

/// The order in which pending events arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As they happened.
    #[default]
    AsMade,
    /// The newest first.
    Reversed,
    /// In an order that follows from the seed.
    Shuffled,
}

/// What came of one delivery.
#[derive(Clone, Debug, Serialize)]
pub struct Delivered {
    /// The event's id.
    pub event: String,
    /// The event's type.
    pub kind: String,
    /// The status of the answer; 0 where there was none, or where the delivery was lost on purpose.
    pub status: u16,
}

/// A delivery that is ready to be sent.
struct Parcel {
    delivery: Delivery,
    kind: String,
    url: String,
    header: String,
    payload: Vec<u8>,
    lost: bool,
}

/// A small generator of the xorshift family: reproducible, and good enough to shuffle.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below.max(1)
    }
}

impl Stub {
    /// Sends what is pending, once, by the given schedule. Whatever is not answered with 2xx stays pending and is due
    /// again later.
    pub async fn deliver(&self, schedule: &Schedule) -> Vec<Delivered> {
        let parcels = self.parcels(schedule);
        let mut results = Vec::with_capacity(parcels.len());
        for parcel in parcels {
            let status = if parcel.lost { 0 } else { self.send(&parcel).await };
            if !parcel.lost && !(200..300).contains(&status) {
                self.open().put_back(parcel.delivery.clone());
            }
            results.push(Delivered {
                event: parcel.delivery.event,
                kind: parcel.kind,
                status,
            });
        }
        results
    }

    fn parcels(&self, schedule: &Schedule) -> Vec<Parcel> {
        let mut book = self.open();
        let now = book.now;
        match book.deliveries.iter().any(|delivery| delivery.due <= now) {
            true => book.pack(schedule),
            // Asked for five times a second, and nothing to write down.
            false => Vec::new(),
        }
    }

    /// Delivers by itself what comes due, as Stripe does, for as long as the process lives.
    pub async fn deliver_forever(self) {
        loop {
            self.deliver(&Schedule::default()).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn send(&self, parcel: &Parcel) -> u16 {
        let request = self
            .http()
            .post(&parcel.url)
            .header("Content-Type", "application/json; charset=utf-8");
        let request = request
            .header("Stripe-Signature", &parcel.header)
            .body(parcel.payload.clone());
        request.send().await.map_or(0, |response| response.status().as_u16())
    }
}

impl Book {
    fn pack(&mut self, schedule: &Schedule) -> Vec<Parcel> {
        let mut dice = Dice(schedule.seed.wrapping_mul(2) | 1);
        let (mut due, waiting): (Vec<Delivery>, Vec<Delivery>) = std::mem::take(&mut self.deliveries)
            .into_iter()
            .partition(|d| d.due <= self.now && self.wanted(d, schedule));
        self.deliveries = waiting;
        let copies = due
            .iter()
            .flat_map(|d| std::iter::repeat_n(d.clone(), schedule.extra_copies as usize))
            .collect();
        due = [due, copies].concat();
        match schedule.order {
            Order::AsMade => {}
            Order::Reversed => due.reverse(),
            Order::Shuffled => (1..due.len())
                .rev()
                .for_each(|i| due.swap(i, dice.roll(i as u64 + 1) as usize)),
        }
        due.into_iter()
            .map(|d| self.parcel(d, dice.roll(100) < u64::from(schedule.lose_percent)))
            .collect()
    }

    fn wanted(&self, delivery: &Delivery, schedule: &Schedule) -> bool {
        let kind = self
            .get(&delivery.event)
            .and_then(|e| e["type"].as_str())
            .unwrap_or_default();
        schedule.types.is_empty() || schedule.types.iter().any(|t| t == kind)
    }

    fn parcel(&self, delivery: Delivery, lost: bool) -> Parcel {
        let mut event = self.copy(&delivery.event);
        shorten(&mut event);
        let payload = serde_json::to_vec_pretty(&event).unwrap_or_default();
        let endpoint = self.copy(&delivery.endpoint);
        let secrets = self.secrets.get(&delivery.endpoint).cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        // Whatever time it is at this Stripe, its signature is of the moment at which it is sent.
        let header = signature(&secrets, self.now - self.ahead, &payload);
        Parcel {
            delivery,
            kind: text(&event["type"]),
            url: text(&endpoint["url"]),
            header,
            payload,
            lost,
        }
    }

    fn put_back(&mut self, delivery: Delivery) {
        if let Some(wait) = RETRY_SECONDS.get(delivery.attempts as usize) {
            self.deliveries.push(Delivery {
                attempts: delivery.attempts + 1,
                due: self.now + wait,
                ..delivery
            });
        }
    }
}
