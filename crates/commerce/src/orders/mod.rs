//! The order service: takes orders of users that it knows from their events, and moves them through their life.
//!
//! It has no database: every instance reads users and orders from `user-events` and `order-events`.

mod answer;
pub mod currency;
pub mod event;
mod openapi;
mod order_service;
pub mod price;
mod request;
mod routes;
mod service;
mod side_effects;
pub mod status;
mod view;

pub use answer::{OrderBody, OrdersBody};
pub use openapi::{DOCUMENT, document};
pub use order_service::OrderService;
pub use request::{MOST_ITEMS, MOST_OF_AN_ITEM, NewOrder};
pub use routes::{Api, PATHS, routes};
pub use service::run;
pub use side_effects::CancelOrders;
pub use view::{HistoryEntry, Order, Orders};
