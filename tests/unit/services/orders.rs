//! The projection of orders.

use chrono::{DateTime, TimeDelta, Utc};
use highwater_commerce::orders::{
    Orders,
    event::{OrderCreated, OrderEvent, OrderItem, OrderStatusChanged},
    status::{OrderAction, OrderStatus},
};
use highwater_kafka::Event as _;
use highwater_table::{EventOutcome, Projection as _, Replica, Versioned as _};
use uuid::Uuid;

const ORDER: Uuid = Uuid::from_u128(1);
const USER: Uuid = Uuid::from_u128(2);

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

fn created() -> OrderEvent {
    let items = vec![OrderItem { sku: "A".to_owned(), quantity: 2, unit_price: "1.50".parse().unwrap() }];
    OrderEvent::OrderCreated(OrderCreated {
        order_id: ORDER,
        user_id: USER,
        at: at(0),
        total: OrderItem::total(&items).unwrap(),
        items,
        currency: "EUR".to_owned(),
        idempotency: None,
    })
}

fn changed(version: u64, from: OrderStatus, action: OrderAction, status: OrderStatus) -> OrderEvent {
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
        changed(2, OrderStatus::Pending, OrderAction::Confirm, OrderStatus::Confirmed),
        changed(3, OrderStatus::Confirmed, OrderAction::Pay, OrderStatus::Paid),
    ] {
        assert!(OrderEvent::TYPES.contains(&&*event.event_type()), "{}", event.event_type());
        assert_eq!(replica.apply(0, event), EventOutcome::Applied);
        assert!(replica.projection().bytes() > taken);
        taken = replica.projection().bytes();
    }
    let order = replica.projection().get(ORDER).unwrap();
    assert_eq!(
        (order.version(), order.status(), order.total.to_string().as_str()),
        (3, OrderStatus::Paid, "3.00")
    );
    assert_eq!(
        (order.at_version(2).status(), order.at_version(1).history().len()),
        (OrderStatus::Confirmed, 1)
    );
    let listed = |status| replica.projection().after(None, Some(USER), Some(status)).count();
    assert_eq!((listed(OrderStatus::Pending), listed(OrderStatus::Paid)), (0, 1));
    assert_eq!(replica.projection().after(None, None, Some(OrderStatus::Paid)).count(), 1);
    assert_eq!(replica.projection().after(None, None, Some(OrderStatus::Pending)).count(), 0);
    assert_eq!(replica.projection().open_orders_of(USER), [ORDER]);
}

#[test]
fn what_does_not_follow_is_void_and_changes_nothing() {
    let mut replica = Replica::<Orders>::new(1);
    let confirm = changed(2, OrderStatus::Pending, OrderAction::Confirm, OrderStatus::Confirmed);
    let first = changed(1, OrderStatus::Pending, OrderAction::Confirm, OrderStatus::Confirmed);
    for early in [confirm.clone(), first] {
        assert_eq!(replica.apply(0, early), EventOutcome::Rejected);
    }
    assert_eq!(replica.apply(0, created()), EventOutcome::Applied);
    for wrong in [
        created(),
        changed(2, OrderStatus::Pending, OrderAction::Ship, OrderStatus::Shipped),
        changed(2, OrderStatus::Pending, OrderAction::Confirm, OrderStatus::Paid),
        changed(3, OrderStatus::Pending, OrderAction::Confirm, OrderStatus::Confirmed),
        changed(u64::MAX, OrderStatus::Pending, OrderAction::Confirm, OrderStatus::Confirmed),
    ] {
        assert_eq!(replica.apply(0, wrong), EventOutcome::Rejected);
        assert_eq!(replica.projection().get(ORDER).unwrap().version(), 1);
    }
    assert_eq!(replica.apply(0, confirm.clone()), EventOutcome::Applied);
    assert_eq!(replica.apply(0, confirm), EventOutcome::Rejected);
}
