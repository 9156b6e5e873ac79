//! The user service: registers users, and publishes them as events.
//!
//! It has no database: every instance reads the users from `user-events`.

mod answer;
pub mod email;
pub mod event;
mod openapi;
pub mod punycode;
mod register;
mod request;
mod routes;
mod service;
mod view;

pub use answer::{UserBody, UsersBody};
pub use openapi::{DOCUMENT, document};
pub use request::{NewUser, UserChange};
pub use routes::{Api, PATHS, routes};
pub use service::run;
pub use view::{Registration, User, UserState, Users};
