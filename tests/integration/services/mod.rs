//! The user and the order service as clients see them.

mod access;
mod flow;
mod orders;
mod topics;
mod users;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answered, Rest, send};

/// Registers somebody, who is told 201.
async fn registered(users: &Rest, email: &str) -> String {
    let user = users.post("/users", &json!({"email": email, "name": "Ann"})).await.ok(201);
    user["userId"].as_str().unwrap().to_owned()
}

/// The body of an order of that user, of two items.
fn two_items(user: &str) -> Value {
    json!({
        "userId": user,
        "currency": "EUR",
        "items": [
            {"sku": "A-1", "quantity": 3, "unitPrice": "0.10"},
            {"sku": "B-2", "quantity": 1, "unitPrice": "19.90"},
        ],
    })
}

/// Orders as that user, once the order service knows the user; the order.
async fn ordered(orders: &Rest, user: &str) -> Value {
    crate::support::eventually("the user is known", async || {
        let answered = orders.post("/orders", &two_items(user)).await;
        assert!(matches!(answered.status, 201 | 422), "{}", answered.body);
        (answered.status == 201).then_some(answered.body)
    })
    .await
}

/// Takes an order one step further.
async fn step(orders: &Rest, order: &Value, action: &str) -> Answered {
    let id = order["orderId"].as_str().unwrap();
    orders.send(Method::POST, &format!("/orders/{id}/{action}")).await
}

/// As [`step`], under a condition.
async fn step_if(orders: &Rest, order: &Value, action: &str, etag: &str) -> Answered {
    let id = order["orderId"].as_str().unwrap();
    let request = orders.request(Method::POST, &format!("/orders/{id}/{action}"));
    send(request.header("if-match", etag)).await
}
