//! The admin token, and the limit of guesses.

use std::{net::IpAddr, time::Duration};

use highwater_web::http::{AdminAuth, BearerToken};
use tokio::time::Instant;
use warp::http::HeaderValue;

use crate::journal;

const TOKEN: &str = "a-token-of-24-characters";

fn admin_auth() -> AdminAuth {
    AdminAuth::new(BearerToken::new(TOKEN))
}

/// The status of what is answered to that token from that address; 200 where it is admitted.
async fn ask(admin_auth: &AdminAuth, token: &str, address: &str) -> u16 {
    let authorization = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    let address: IpAddr = address.parse().unwrap();
    match admin_auth.authorize(Some(&authorization), Some(address), "test").await {
        Ok(()) => 200,
        Err(problem) => warp::Reply::into_response(problem).status().as_u16(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_waits_for_its_answer() {
    let (admin_auth, began) = (admin_auth(), Instant::now());
    assert_eq!(ask(&admin_auth, TOKEN, "10.0.0.1").await, 200);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(ask(&admin_auth, "another", "10.0.0.1").await, 401);
    assert!(began.elapsed() >= Duration::from_millis(500));
}

#[tokio::test]
async fn an_address_with_too_many_guesses_is_refused_even_with_the_right_token() {
    tokio::time::pause();
    let admin_auth = admin_auth();
    for _ in 0..10 {
        assert_eq!(ask(&admin_auth, "another", "2001:db8::1").await, 401);
    }
    assert_eq!(ask(&admin_auth, TOKEN, "2001:db8::2").await, 429, "one client has all of the network");
    assert_eq!(ask(&admin_auth, TOKEN, "10.0.0.1").await, 200, "others are not kept out");
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(ask(&admin_auth, TOKEN, "2001:db8::1").await, 200);
}

#[tokio::test(start_paused = true)]
async fn guesses_of_all_addresses_are_limited_and_known_bearers_are_not_locked_out() {
    let admin_auth = admin_auth();
    assert_eq!(ask(&admin_auth, TOKEN, "10.0.0.1").await, 200);
    let guesses = (0..100).map(|number| {
        let admin_auth = &admin_auth;
        async move { ask(admin_auth, "another", &format!("10.1.0.{number}")).await }
    });
    assert!(futures::future::join_all(guesses).await.iter().all(|status| *status == 401));
    assert_eq!(ask(&admin_auth, "another", "10.2.0.1").await, 429);
    assert_eq!(ask(&admin_auth, TOKEN, "10.0.0.1").await, 200);
}

#[tokio::test(start_paused = true)]
async fn each_call_is_in_the_audit_with_its_outcome_and_from_where_it_came() {
    journal::listen();
    let (admin_auth, from) = (admin_auth(), "10.0.0.1");
    let told = |who: &str, outcome: &str| [who, from, "test", outcome].map(str::to_owned);
    assert_eq!(ask(&admin_auth, TOKEN, from).await, 200);
    admin_auth.authorize(None, Some(from.parse().unwrap()), "test").await.unwrap_err();
    assert_eq!(journal::take_audit(), [told("admin token", "admitted"), told("unknown", "missing")]);
    for _ in 0..10 {
        assert_eq!(ask(&admin_auth, "another", from).await, 401);
    }
    assert_eq!(journal::take_audit(), vec![told("unknown", "refused"); 10]);
    for _ in 0..3 {
        assert_eq!(ask(&admin_auth, "another", from).await, 429);
    }
    assert_eq!(journal::take_audit(), [told("unknown", "limited")], "once");
    for _ in 0..30 {
        admin_auth.authorize(None, None, "test").await.unwrap_err();
    }
    let missing = journal::take_audit();
    assert!((1..=10).contains(&missing.len()), "{missing:?}");
}
