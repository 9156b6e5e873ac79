//! Repeats a call once if its answer is lost, and never over a connection that may be as dead as the first.
//!
//! A process may be frozen between two requests, for hours, as under Lambda. All its connections die meanwhile, and it does
//! not learn of that. So a new client makes the second attempt. Its pool is empty, and all calls use it from then on.
//!
//! The SDK makes no attempts of its own: it would forget that the attempt before may have succeeded.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_dynamodb::Client;

use super::client;
use crate::{DatabaseError, DatabaseResult, DynamoDb};

/// The current client, and the function that makes another.
#[derive(Debug)]
pub(super) struct Attempts {
    config: DynamoDb,
    current: Mutex<Numbered>,
}

#[derive(Debug, Clone)]
struct Numbered {
    /// The number of clients before this one.
    number: u64,
    client: Client,
}

/// The failure of a call.
struct Failure {
    /// The error of the last attempt.
    error: DatabaseError,
    /// The error of the attempt before, which may have succeeded all the same.
    lost: Option<String>,
}

impl Attempts {
    /// Connects at the first call.
    pub(super) fn new(config: &DynamoDb) -> Self {
        let first = Numbered { number: 0, client: client(config) };
        Self { config: config.clone(), current: Mutex::new(first) }
    }

    /// Makes a call that changes nothing.
    pub(super) async fn read<T, C>(&self, call: impl Fn(Client) -> C + Send) -> DatabaseResult<T>
    where
        C: Future<Output = DatabaseResult<T>> + Send,
    {
        self.twice(call).await.map_err(|failure| failure.error)
    }

    /// Makes a call that may be repeated. The error says that nothing was done only if neither attempt did anything.
    pub(super) async fn change<T, C>(&self, call: impl Fn(Client) -> C + Send) -> DatabaseResult<T>
    where
        C: Future<Output = DatabaseResult<T>> + Send,
    {
        self.twice(call).await.map_err(|Failure { error, lost }| match lost {
            // A value that is invalid now was invalid before.
            Some(lost) if error.did_nothing() && !error.is_of_one() => {
                DatabaseError::Away(format!("{error}; and before: {lost}"))
            }
            _ => error,
        })
    }

    async fn twice<T, C>(&self, call: impl Fn(Client) -> C + Send) -> Result<T, Failure>
    where
        C: Future<Output = DatabaseResult<T>> + Send,
    {
        let first = self.current().clone();
        let lost = match call(first.client).await {
            Err(DatabaseError::Away(lost)) => lost,
            outcome => return outcome.map_err(|error| Failure { error, lost: None }),
        };
        log::debug!("an attempt at DynamoDB was lost; asking again on another connection: {lost}");
        let another = self.after(first.number);
        call(another).await.map_err(|error| Failure { error, lost: Some(lost) })
    }

    /// A client later than the numbered one: a new one, unless another call has made it already.
    fn after(&self, number: u64) -> Client {
        let mut current = self.current();
        if current.number == number {
            *current = Numbered { number: number + 1, client: client(&self.config) };
        }
        current.client.clone()
    }

    fn current(&self) -> MutexGuard<'_, Numbered> {
        // Each change is a single assignment: a panic cannot have left half of one.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
