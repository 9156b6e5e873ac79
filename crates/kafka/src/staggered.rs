//! Several ways to one end: tried in their order, and none waits for long for the one before it.
//!
//! A host that is down refuses nothing and answers nothing. So an attempt that lasts is left to go on, and the next
//! begins beside it; the first to succeed ends all others (RFC 8305, "Happy Eyeballs").

use std::time::Duration;

use futures::{
    StreamExt,
    future::{BoxFuture, FutureExt},
    stream::FuturesUnordered,
};
use tokio::time::timeout;

/// How long an attempt has to itself before the next begins: RFC 8305's Connection Attempt Delay.
const HEAD_START: Duration = Duration::from_millis(250);

/// What the first attempt gives that succeeds.
///
/// # Errors
///
/// All of them failed: their errors, in the order of the attempts. None where there was none.
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
