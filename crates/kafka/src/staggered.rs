//! Attempts that start one after the other and run side by side (RFC 8305, "Happy Eyeballs").
//!
//! A host that is down neither refuses nor answers. So an attempt goes on when the next one starts, and the first success
//! ends all others.

use std::time::Duration;

use futures::{
    StreamExt,
    future::{BoxFuture, FutureExt},
    stream::FuturesUnordered,
};
use tokio::time::timeout;

/// The delay between the starts of two attempts: RFC 8305's Connection Attempt Delay.
const HEAD_START: Duration = Duration::from_millis(250);

/// The result of the first attempt that succeeds.
///
/// # Errors
///
/// All attempts failed: their errors, in the order of the attempts.
pub(super) async fn first_success<'a, T: Send + 'a, E: Send + 'a>(
    attempts: Vec<BoxFuture<'a, Result<T, E>>>,
) -> Result<T, Vec<E>> {
    let mut failures: Vec<Option<E>> = attempts.iter().map(|_| None).collect();
    let mut waiting = attempts.into_iter().enumerate();
    let mut under_way = FuturesUnordered::new();
    loop {
        let next = waiting.next();
        if let Some((number, attempt)) = next {
            under_way.push(attempt.map(move |result| (number, result)));
        }
        let patience = if waiting.len() > 0 { HEAD_START } else { Duration::MAX };
        match timeout(patience, under_way.next()).await {
            Err(_) => {}
            Ok(Some((_, Ok(success)))) => return Ok(success),
            Ok(Some((number, Err(error)))) => failures[number] = Some(error),
            Ok(None) => return Err(failures.into_iter().flatten().collect()),
        }
    }
}
