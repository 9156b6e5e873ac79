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
use serde_json::{Value, json};
use uuid::{Uuid, uuid};
use warp::http::header;

use super::{
    NewUser, PATHS, UserBody, UserChange, UsersBody,
    register::{taken, unknown},
};
use crate::state;

/// The answer of `GET /openapi.json`: [`document`], as `docs/openapi` has it.
pub static DOCUMENT: Packed = packed!("users.json", JSON);

const ID: Uuid = uuid!("5b0f2a86-5b8c-5d3e-9e0a-3f1c6a2d7b44");

/// The document of this service.
pub fn document() -> Value {
    let mut document =
        Document::new("Highwater: users", "Registers users, and tells of them in `user-events`.", &PATHS);
    document.tag("Users", "An e-mail is registered once, whichever instance is asked.");
    register(&mut document);
    change(&mut document);
    operations::describe(&mut document, operations::ConsumedTopics::None, &[]);
    openapi::describe_files(&mut document);
    document.finish()
}

fn register(document: &mut Document) {
    let user = document.schema::<UserBody>();
    let new = document.schema::<NewUser>();
    let posted = NewUser { email: example().email, name: example().name };
    let created = Answer::new("The user is registered, or was by a request with the same Idempotency-Key.");
    let create = Operation::new("post", "registerUser", "Registers a user")
        .takes(new, &posted)
        .invalid("email", "must be an e-mail address, such as ann@example.org")
        .answers(201, created.json(user.clone(), &example()).always(header::LOCATION).always(header::ETAG))
        .problem("taken", "The e-mail is registered already, compared without case.", taken(&posted.email));
    document.add("/users", state::describe_new(Idempotency::describe(correlated(create))));

    let users = document.schema::<UsersBody>();
    let page = UsersBody { users: vec![example()], count: 1, next: None };
    let list = Operation::new("get", "listUsers", "Users, by when they registered")
        .query("email", "The one with this e-mail, compared without case.", json!({ "type": "string" }))
        .answers(200, Answer::new("A page of them.").json(users, &page).header(header::LINK));
    document.add("/users", state::describe_read(PageRequest::describe(list)));

    let find = Operation::new("get", "findUser", "A user")
        .answers(200, Answer::new("The user.").json(user, &example()).always(header::ETAG));
    document.add("/users/{userId}", state::describe_read(of_one(find)));
}

fn change(document: &mut Document) {
    let user = document.schema::<UserBody>();
    let change = document.schema::<UserChange>();
    let changed = UserBody { name: "Ann Doe".to_owned(), version: 2, ..example() };
    let rename = Operation::new("patch", "renameUser", "Gives a user another name")
        .takes(change, &UserChange { name: changed.name.clone() })
        .answers(200, Answer::new("The user, renamed.").json(user, &changed).always(header::ETAG));
    document.add("/users/{userId}", state::describe_write(guarded(correlated(of_one(rename))), false));
    let delete = Operation::new("delete", "deleteUser", "Deletes a user")
        .describe("The e-mail is free again; the user's open orders are cancelled.")
        .answers(204, Answer::new("The user is no more."));
    document.add("/users/{userId}", state::describe_write(guarded(correlated(of_one(delete))), false));
}

fn of_one(operation: Operation) -> Operation {
    operation.path("userId", "The user's id.", openapi::uuid(ID)).invalid("userId", "must be a UUID").problem(
        "unknown",
        "There is no such user.",
        unknown(ID),
    )
}

fn example() -> UserBody {
    let at = DateTime::from_timestamp_millis(1_777_629_600_000).unwrap_or_default();
    UserBody {
        user_id: ID,
        email: "ann@example.org".to_owned(),
        name: "Ann".to_owned(),
        version: 1,
        created_at: at,
        updated_at: at,
    }
}
