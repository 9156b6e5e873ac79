//! How often clients may come: 429, and what is told before.

use highwater_web::{
    auth::{AuthConfig, LimitConfig, Rates, Scope},
    http::client::Response,
};

use super::{Guarded, Keyring, refused};

fn rates(requests: u32, events: u32) -> Rates {
    Rates { requests: requests.try_into().ok(), events: events.try_into().ok() }
}

const UNLIMITED: Rates = Rates { requests: None, events: None };
const NONE: LimitConfig = LimitConfig { client: UNLIMITED, user: UNLIMITED, total: UNLIMITED };

/// A service with these limits, on a clock that stands still.
async fn limited(limits: LimitConfig) -> Guarded {
    tokio::time::pause();
    Guarded::by(AuthConfig { limits, ..AuthConfig::default() }).await
}

/// Which policy a 429 says was violated.
fn violated(answer: &Response) -> String {
    let (problem, _) = refused(answer, 429);
    let [policy] = problem["violated-policies"].as_array().unwrap().as_slice() else { panic!("{problem}") };
    policy.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn all_together_may_send_so_much_a_second_and_again_after_it() {
    let guarded = limited(LimitConfig { total: rates(4, 2), ..NONE }).await;
    for _ in 0..2 {
        assert_eq!(guarded.post("ann", "").await.status, 201);
    }
    let third = guarded.post("bob", "").await;
    assert_eq!(violated(&third), "total-events");
    assert_eq!(third.header("retry-after"), Some("1"));
    assert_eq!(guarded.get("/api/events", "").await.status, 200, "reading takes no events");
    assert_eq!(violated(&guarded.get("/api/events", "").await), "total");
    assert_eq!(guarded.get("/health", "").await.status, 200, "how the service is, it tells");
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert_eq!(guarded.post("ann", "").await.status, 201);
    assert_eq!(guarded.service.sent().len(), 3);
}

#[tokio::test]
async fn each_user_may_be_sent_so_much_whoever_sends_it() {
    let guarded = limited(LimitConfig { user: rates(0, 3), ..NONE }).await;
    for _ in 0..3 {
        assert_eq!(guarded.post("ann", "").await.status, 201);
    }
    assert_eq!(violated(&guarded.post("ann", "").await), "user-events");
    assert_eq!(guarded.post("bob", "").await.status, 201);
    // A body that is no event counts for nobody.
    for _ in 0..5 {
        assert_eq!(guarded.post("", "").await.status, 400);
    }
}

#[tokio::test]
async fn an_event_that_one_limit_refuses_uses_no_other_up() {
    let keys = Keyring::new();
    let (flood, calm) = (keys.add("flood", &[Scope::Write]), keys.add("calm", &[Scope::Write]));
    tokio::time::pause();
    let limits = LimitConfig { client: rates(0, 2), user: rates(9, 3), total: rates(0, 4) };
    let guarded = Guarded::by(AuthConfig { limits, ..keys.auth() }).await;
    let (mut admitted, mut refused) = (0, Vec::new());
    for _ in 0..9 {
        let answer = guarded.post("ann", &flood).await;
        match answer.status {
            201 => admitted += 1,
            _ => refused.push(violated(&answer)),
        }
    }
    assert_eq!((admitted, refused), (2, vec!["client-events".to_owned(); 7]));
    // Refused requests do not count against the user: another client may still send the third.
    assert_eq!(guarded.post("ann", &calm).await.status, 201);
    let of_user = guarded.post("ann", &calm).await;
    assert_eq!(violated(&of_user), "user-events");
    // Nor from the client that was refused for the user's sake.
    assert_eq!(guarded.post("bob", &calm).await.status, 201);
    assert_eq!(violated(&guarded.post("bob", &calm).await), "client-events");
    assert_eq!(of_user.header("ratelimit"), Some("\"user-events\";r=0;t=1"));
    assert_eq!(guarded.service.sent().len(), 4);
}

#[tokio::test]
async fn an_event_that_all_together_may_not_send_leaves_its_user_what_it_had() {
    let guarded = limited(LimitConfig { user: rates(2, 2), total: rates(0, 1), ..NONE }).await;
    assert_eq!(guarded.post("ann", "").await.status, 201);
    for _ in 0..4 {
        assert_eq!(violated(&guarded.post("ann", "").await), "total-events");
    }
}

#[test]
fn what_is_given_back_can_be_taken_again_and_no_more() {
    use highwater_web::auth::Buckets;
    let amount = |amount: u32| amount.try_into().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let buckets = Buckets::new(amount(10));
        assert!(buckets.take("ann", amount(7)).is_ok());
        buckets.give_back("ann", amount(4));
        buckets.give_back("bob", amount(4));
        assert!(buckets.take("ann", amount(8)).is_err());
        assert!(buckets.take("ann", amount(7)).is_ok());
        assert!(buckets.take("bob", amount(11)).is_err());
    });
}

#[tokio::test]
async fn a_user_may_be_asked_for_so_often() {
    let guarded = limited(LimitConfig { user: rates(2, 0), ..NONE }).await;
    for path in ["/api/events/user/ann", "/api/events?userId=ann"] {
        assert_eq!(guarded.get(path, "").await.status, 200);
    }
    assert_eq!(violated(&guarded.get("/events/processed?userId=ann", "").await), "user");
    assert_eq!(guarded.get("/api/events/user/bob", "").await.status, 200);
}

#[tokio::test]
async fn a_client_is_told_of_its_limits_with_each_answer() {
    let keys = Keyring::new();
    let key = keys.add("shop", &[Scope::Read, Scope::Write]);
    let limits = LimitConfig { client: rates(3, 9), total: rates(100, 0), ..NONE };
    let auth = AuthConfig { limits, ..keys.auth() };
    tokio::time::pause();
    let guarded = Guarded::by(auth).await;
    let told = |answer: &Response| {
        ["ratelimit-policy", "ratelimit"].map(|name| answer.header(name).unwrap_or_default().to_owned())
    };
    let policy = "\"client\";q=3;qu=\"requests\";w=1";
    let read = guarded.get("/api/events", &key).await;
    assert_eq!(told(&read), [policy, "\"client\";r=2;t=1"]);
    let written = guarded.post("ann", &key).await;
    let both = format!("{policy}, \"client-events\";q=9;qu=\"events\";w=1");
    assert_eq!(told(&written), [both.as_str(), "\"client\";r=1;t=1, \"client-events\";r=8;t=1"]);
    guarded.get("/api/events", &key).await;
    let refused = guarded.get("/api/events", &key).await;
    assert_eq!((violated(&refused).as_str(), refused.header("retry-after")), ("client", Some("1")));
    assert_eq!(told(&refused), [policy, "\"client\";r=0;t=1"]);
    let figure = "highwater_client_requests_total{client=\"shop\",outcome=\"limited\"}";
    assert_eq!(guarded.counted(figure), Some(1));
}

#[tokio::test]
async fn a_keys_own_limit_goes_before_that_of_all_and_others_are_not_kept_out() {
    let keys = Keyring::new();
    let (slow, fast) = (
        keys.add_limited("slow", &[Scope::Read], Some(1)),
        keys.add_limited("fast", &[Scope::Read], Some(9)),
    );
    let other = keys.add("other", &[Scope::Read]);
    tokio::time::pause();
    let limits = LimitConfig { client: rates(2, 0), ..NONE };
    let guarded = Guarded::by(AuthConfig { limits, ..keys.auth() }).await;
    let count = async |key: &str| {
        let mut admitted = 0;
        for _ in 0..12 {
            admitted += u32::from(guarded.get("/api/events", key).await.status == 200);
        }
        admitted
    };
    assert_eq!((count(&slow).await, count(&fast).await, count(&other).await), (1, 9, 2));
}

#[tokio::test]
async fn a_credential_is_checked_before_it_is_limited_by() {
    let keys = Keyring::new();
    let key = keys.add("shop", &[Scope::Read]);
    tokio::time::pause();
    let limits = LimitConfig { client: rates(1, 0), total: rates(1, 0), ..NONE };
    let guarded = Guarded::by(AuthConfig { limits, ..keys.auth() }).await;
    let wrong = format!("hw_{}", "A".repeat(43));
    for _ in 0..5 {
        assert_eq!(guarded.get("/api/events", &wrong).await.status, 401);
        assert_eq!(guarded.get("/api/events", "").await.status, 401);
        assert_eq!(guarded.post("ann", &key).await.status, 403);
    }
    assert_eq!(guarded.get("/api/events", &key).await.status, 200, "who is refused uses nothing up");
}

#[tokio::test]
async fn users_without_number_have_room_and_the_first_ones_are_still_limited() {
    use highwater_web::auth::Buckets;
    let one = 1.try_into().unwrap();
    tokio::time::pause();
    let buckets = Buckets::new(one);
    assert!(buckets.take("ann", one).is_ok());
    let admitted = (0..300_000).filter(|user| buckets.take(&format!("user {user}"), one).is_ok()).count();
    assert!((99_000..=100_001).contains(&admitted), "{admitted}: further ones share a bucket");
    assert!(buckets.take("ann", one).is_err());
    assert!(buckets.count() <= 100_001, "{}", buckets.count());
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    assert!(buckets.take("ann", one).is_ok());
    assert!(buckets.take("somebody new", one).is_ok());
}
