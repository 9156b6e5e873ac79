//! A call is made once more where its answer is lost, and never over a connection that may be as dead as the first.
//!
//! A process may be frozen between two requests, for hours, as Lambda does; its connections die meanwhile, all of
//! them, and nobody hears of it. So the second attempt is made by a client of its own, whose pool is empty, and which
//! all calls use from then on.
//!
//! The SDK makes no attempts of its own: it would forget that the one before may have been done.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_dynamodb::Client;

use super::client;
use crate::{DatabaseError, DatabaseResult, DynamoDb};

/// The client that there is, and how to come by another.
#[derive(Debug)]
pub(super) struct Attempts {
    config: DynamoDb,
    current: Mutex<Numbered>,
}

#[derive(Debug, Clone)]
struct Numbered {
    /// How many there were before.
    number: u64,
    client: Client,
}

/// How a call ended that has no result.
struct Failure {
    /// The last attempt's.
    error: DatabaseError,
    /// Of the attempt before, which may have been done all the same.
    lost: Option<String>,
}

impl Attempts {
    /// Connects when it is first asked.
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

    /// Makes a call that may be made twice. That nothing was done is only said where neither attempt did anything.
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

    /// A client later than that one: a new one, unless another call has made it already.
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
