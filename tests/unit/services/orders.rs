//! The projection of orders.

use chrono::{DateTime, TimeDelta, Utc};
use highwater_commerce::orders::{
    Orders,
    event::{Item, OrderCreated, OrderEvent, OrderStatusChanged},
    status::{Action, Status},
};
use highwater_kafka::Event as _;
use highwater_table::{Fate, Fold as _, Replica, Versioned as _};
use uuid::Uuid;

const ORDER: Uuid = Uuid::from_u128(1);
const USER: Uuid = Uuid::from_u128(2);

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

fn created() -> OrderEvent {
    let items = vec![Item { sku: "A".to_owned(), quantity: 2, unit_price: "1.50".parse().unwrap() }];
    OrderEvent::OrderCreated(OrderCreated {
        order_id: ORDER,
        user_id: USER,
        at: at(0),
        total: Item::total(&items).unwrap(),
        items,
        currency: "EUR".to_owned(),
        idempotency: None,
    })
}

fn changed(version: u64, from: Status, action: Action, status: Status) -> OrderEvent {
    OrderEvent::OrderStatusChanged(OrderStatusChanged {
        order_id: ORDER,
        user_id: USER,
        version,
        at: at(version as i64),
        action,
        from,
        status,
        reason: None,
        idempotency: None,
    })
}

#[test]
fn an_order_has_its_history_and_what_it_was_in_each_version() {
    let mut replica = Replica::<Orders>::new(1);
    let mut taken = 0;
    for event in [
        created(),
        changed(2, Status::Pending, Action::Confirm, Status::Confirmed),
        changed(3, Status::Confirmed, Action::Pay, Status::Paid),
    ] {
        assert!(OrderEvent::TYPES.contains(&&*event.event_type()), "{}", event.event_type());
        assert_eq!(replica.admit(0, event), Fate::Valid);
        assert!(replica.view().bytes() > taken);
        taken = replica.view().bytes();
    }
    let order = replica.view().get(ORDER).unwrap();
    assert_eq!(
        (order.version(), order.status(), order.total.to_string().as_str()),
        (3, Status::Paid, "3.00")
    );
    assert_eq!((order.at_version(2).status(), order.at_version(1).history().len()), (Status::Confirmed, 1));
    let listed = |status| replica.view().after(None, Some(USER), Some(status)).count();
    assert_eq!((listed(Status::Pending), listed(Status::Paid)), (0, 1));
    assert_eq!(replica.view().after(None, None, Some(Status::Paid)).count(), 1);
    assert_eq!(replica.view().after(None, None, Some(Status::Pending)).count(), 0);
    assert_eq!(replica.view().open_orders_of(USER), [ORDER]);
}

#[test]
fn what_does_not_follow_is_void_and_changes_nothing() {
    let mut replica = Replica::<Orders>::new(1);
    let confirm = changed(2, Status::Pending, Action::Confirm, Status::Confirmed);
    let first = changed(1, Status::Pending, Action::Confirm, Status::Confirmed);
    for early in [confirm.clone(), first] {
        assert_eq!(replica.admit(0, early), Fate::Void);
    }
    assert_eq!(replica.admit(0, created()), Fate::Valid);
    for wrong in [
        created(),
        changed(2, Status::Pending, Action::Ship, Status::Shipped),
        changed(2, Status::Pending, Action::Confirm, Status::Paid),
        changed(3, Status::Pending, Action::Confirm, Status::Confirmed),
        changed(u64::MAX, Status::Pending, Action::Confirm, Status::Confirmed),
    ] {
        assert_eq!(replica.admit(0, wrong), Fate::Void);
        assert_eq!(replica.view().get(ORDER).unwrap().version(), 1);
    }
    assert_eq!(replica.admit(0, confirm.clone()), Fate::Valid);
    assert_eq!(replica.admit(0, confirm), Fate::Void);
}
