//! Describes the routes of this service.

use chrono::DateTime;
use highwater_web::{
    http::{
        JSON, Packed,
        openapi::{self, Answer, Document, Operation, correlated, guarded},
        packed,
    },
    idempotency::Idempotency,
    operations,
    page::PageRequest,
};
use serde_json::Value;
use uuid::{Uuid, uuid};
use warp::http::header;

use super::{
    HistoryEntry, NewOrder, OrderBody, OrdersBody, PATHS,
    event::OrderItem,
    order_service::{forbidden, may_order, unknown},
    price::Price,
    status::{OrderAction, OrderStatus},
};
use crate::{state, users::UserState};

/// The answer of `GET /openapi.json`: [`document`], as `docs/openapi` has it.
pub static DOCUMENT: Packed = packed!("orders.json", JSON);

const ID: Uuid = uuid!("2f5f3f0a-8f3e-4c39-b7d0-6f0b1a9c4e21");
const USER: Uuid = uuid!("5b0f2a86-5b8c-5d3e-9e0a-3f1c6a2d7b44");

/// The document of this service.
pub fn document() -> Value {
    let mut document = Document::new(
        "Highwater: orders",
        "Takes orders of users that it knows from `user-events`, and moves them through their life.",
        &PATHS,
    );
    document.tag("Orders", "Orders. Prices are exact decimals.");
    take(&mut document);
    list(&mut document);
    document
        .tag("Steps", "The life of an order; what its status does not allow is 409, with what is allowed.");
    for action in OrderAction::ALL {
        step(&mut document, action);
    }
    operations::describe(&mut document, operations::ConsumedTopics::Several, &[]);
    openapi::describe_files(&mut document);
    document.finish()
}

fn take(document: &mut Document) {
    let order = document.schema::<OrderBody>();
    let new = document.schema::<NewOrder>();
    let OrderBody { user_id, items, currency, .. } = example();
    let taken = Answer::new("The order is taken, or was by a request with the same Idempotency-Key.");
    let mut create = Operation::new("post", "order", "Takes an order")
        .takes(new, &NewOrder { user_id, items, currency })
        .invalid("items[0].quantity", "must be a whole number from 1 to 1000000")
        .answers(201, taken.json(order, &example()).always(header::LOCATION).always(header::ETAG));
    let deleted = UserState::Deleted(DateTime::UNIX_EPOCH);
    if let Err(problem) = may_order(Some(&deleted), USER) {
        create = create.problem("deleted", "The user was deleted.", problem);
    }
    if let Err(problem) = may_order(None, USER) {
        create = create.problem("unknownUser", "The user is not known here, perhaps not yet.", problem);
    }
    document.add("/orders", state::describe_new(Idempotency::describe(correlated(create))));
}

fn list(document: &mut Document) {
    let orders = document.schema::<OrdersBody>();
    let page = OrdersBody { orders: vec![example()], count: 1, next: None };
    let list = Operation::new("get", "listOrders", "Orders, by when they were made")
        .query("userId", "Those of this user.", openapi::uuid(USER))
        .query("status", "Those in this status, in any case.", document.schema::<OrderStatus>())
        .answers(200, Answer::new("A page of them.").json(orders, &page).header(header::LINK));
    document.add("/orders", state::describe_read(PageRequest::describe(list)));
    let order = document.schema::<OrderBody>();
    let find = Operation::new("get", "findOrder", "An order, with its life so far")
        .answers(200, Answer::new("The order.").json(order, &example()).always(header::ETAG));
    document.add("/orders/{orderId}", state::describe_read(of_one(find)));
}

fn step(document: &mut Document, action: OrderAction) {
    let (id, summary, refused) = match action {
        OrderAction::Confirm => ("confirm", "It is to be as ordered", OrderStatus::Cancelled),
        OrderAction::Pay => ("pay", "The money is there", OrderStatus::Pending),
        OrderAction::Ship => ("ship", "It leaves", OrderStatus::Confirmed),
        OrderAction::Deliver => ("deliver", "It arrives", OrderStatus::Paid),
        OrderAction::Cancel => ("cancel", "It is given up", OrderStatus::Shipped),
    };
    let order = document.schema::<OrderBody>();
    let mut after = example();
    let status = OrderStatus::ALL.into_iter().find_map(|status| status.after(action)).unwrap_or(after.status);
    after.status = status;
    after.version += 1;
    after.history.push(HistoryEntry {
        status,
        at: after.created_at,
        action: Some(action),
        reason: None,
        idempotency: None,
    });
    let operation = Operation::new("post", id, summary)
        .answers(200, Answer::new("The order, a step further.").json(order, &after).always(header::ETAG))
        .problem("forbidden", "Its status does not allow it.", forbidden(refused, action));
    let operation = guarded(Idempotency::describe(correlated(of_one(operation))));
    document.add(&format!("/orders/{{orderId}}/{action}"), state::describe_write(operation, true));
}

fn of_one(operation: Operation) -> Operation {
    operation
        .path("orderId", "The order's id.", openapi::uuid(ID))
        .invalid("orderId", "must be a UUID")
        .problem("unknown", "There is no such order.", unknown(ID))
}

fn example() -> OrderBody {
    let at = DateTime::from_timestamp_millis(1_777_629_600_000).unwrap_or_default();
    let price = "19.90".parse::<Price>();
    let items: Vec<OrderItem> = price
        .into_iter()
        .map(|unit_price| OrderItem { sku: "A-1".to_owned(), quantity: 3, unit_price })
        .collect();
    let status = OrderStatus::Pending;
    let total = OrderItem::total(&items);
    OrderBody {
        order_id: ID,
        user_id: USER,
        status,
        currency: "EUR".to_owned(),
        total: total.unwrap_or_default(),
        items,
        version: 1,
        created_at: at,
        updated_at: at,
        history: vec![HistoryEntry { status, at, action: None, reason: None, idempotency: None }],
    }
}
