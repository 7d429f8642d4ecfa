//! A database that is busy just when somebody looks.

use chrono::Duration;
use guildhall::app::dev::stripe::Schedule;

use super::Shop;
use crate::world::gate::Undo;

/// What a database says that is busy, or too slow, or about to be gone.
const CONTENTION: &str = "deadlock detected";
const TOO_LATE: &str = "canceling statement due to statement timeout";
const GONE: &str = "terminating connection due to administrator command";

impl Shop {
    /// The first changes of events that are so are refused, each with its words.
    fn refuses(&self, so: &str, words: &[&str]) -> Undo<'_> {
        let words = words.join("', '");
        self.world.meanwhile(
            &format!(
                "CREATE SEQUENCE guildhall.tries;
                 CREATE FUNCTION guildhall.refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
                 DECLARE said text := (ARRAY['{words}'])[nextval('guildhall.tries')];
                 BEGIN IF said IS NOT NULL THEN RAISE EXCEPTION '%', said; END IF; RETURN NEW; END $$;
                 CREATE TRIGGER refuse BEFORE UPDATE ON guildhall.inbox_events
                   FOR EACH ROW WHEN ({so}) EXECUTE FUNCTION guildhall.refuse()"
            ),
            "DROP TRIGGER refuse ON guildhall.inbox_events; DROP FUNCTION guildhall.refuse(); DROP SEQUENCE guildhall.tries",
        )
    }

    fn tries(&self) -> i64 {
        self.world.count("SELECT last_value AS count FROM guildhall.tries")
    }

    /// All that is told of a purchase is that it was paid.
    async fn hears_of_the_payment(&self) {
        let only = Schedule {
            types: vec!["invoice.paid".into()],
            ..Schedule::default()
        };
        self.settles_by(&only).await;
    }
}

#[actix_web::test]
async fn a_look_that_may_not_begin_at_this_moment_begins_a_moment_later() {
    let shop = Shop::open().await;
    shop.buys("guildhall_pro_month");
    let refused = shop.refuses("NEW.looking AND NOT OLD.looking", &[CONTENTION, GONE, TOO_LATE]);
    shop.hears_of_the_payment().await;
    assert_eq!(shop.tries(), 4);
    drop(refused);
    assert_eq!(shop.plan().await, "pro");
    assert_eq!(shop.count("inbox_events", "attempts > 0 OR put_off > 0"), 0);
}

#[actix_web::test]
async fn what_came_of_a_look_is_noted_although_it_may_not_be_at_first() {
    let shop = Shop::open().await;
    shop.buys("guildhall_pro_month");
    // The first of them is applied, the others are put off.
    let refused = shop.refuses(
        "NEW.state = 'done' OR NEW.put_off > OLD.put_off",
        &[CONTENTION, CONTENTION, GONE, TOO_LATE],
    );
    shop.hears_of_the_payment().await;
    assert_eq!(shop.tries(), 5);
    drop(refused);
    assert_eq!(shop.plan().await, "free");
    let waits = "state = 'received' AND put_off = 1 AND attempts = 0 AND NOT looking";
    assert_eq!(shop.count("inbox_events", waits), 1);
    assert_eq!(shop.count("inbox_lanes", "lease_token IS NOT NULL"), 0);
    shop.passes(Duration::seconds(10)).await;
    assert_eq!(shop.plan().await, "pro");
    assert_eq!(shop.count("inbox_events", "attempts > 0"), 0);
}
