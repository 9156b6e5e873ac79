//! The sweep after crashes: its range, the events it leaves alone, and those it cannot mend.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use highwater_eventlog::{DatabaseError, SweepReport};
use uuid::Uuid;

use super::fakes::{GRACE, Service, Trouble, body};

const SECOND: Duration = Duration::from_secs(1);

/// A service with so many events that lack their rows, among others that do not.
async fn half_recorded(count: u128) -> Service {
    let service = Service::new();
    for number in 1..=2 * count {
        service.post(body(number, "ann", 1)).await.ok(201);
    }
    service.metadata.rows.lock().unwrap().retain(|row| row.metadata.event_id.as_u128() % 2 == 0);
    service
}

#[tokio::test]
async fn what_is_younger_than_a_request_may_live_is_spared() {
    let service = half_recorded(1).await;
    assert_eq!(service.sweep_after(GRACE - SECOND).await, Ok(SweepReport::default()));
    assert_eq!(service.rows(), 1);
    assert_eq!(
        service.sweep_after(GRACE + SECOND).await,
        Ok(SweepReport { seen: 2, completed: 1, unreadable: 0 })
    );
    assert_eq!(service.rows(), 2);
}

#[tokio::test]
async fn every_event_of_every_bucket_and_page_is_looked_at() {
    let service = half_recorded(60).await;
    // Spread over all first digits and some hours.
    let spread: Vec<_> = service.details.items.lock().unwrap().drain().collect();
    for (id, mut event) in spread {
        let new = Uuid::from_u128(id.as_u128() | (id.as_u128() % 16) << 124);
        event.metadata.event_id = new;
        event.recorded_at -= TimeDelta::minutes((id.as_u128() % 7) as i64 * 30);
        for row in &mut *service.metadata.rows.lock().unwrap() {
            if row.metadata.event_id == id {
                row.metadata.event_id = new;
            }
        }
        service.details.items.lock().unwrap().insert(new, event);
    }
    *service.metadata.swept_until.lock().unwrap() -= TimeDelta::hours(5);
    let swept = service.sweep_after(GRACE * 2).await.unwrap();
    assert_eq!(swept, SweepReport { seen: 120, completed: 60, unreadable: 0 });
    assert_eq!(service.rows(), 120);
}

#[tokio::test]
async fn a_sweep_begins_a_quarter_of_an_hour_before_the_last_one_ended_or_where_it_is_told_to() {
    let service = half_recorded(1).await;
    let long_ago = Utc::now() - TimeDelta::hours(30);
    service.details.items.lock().unwrap().values_mut().for_each(|event| event.recorded_at = long_ago);
    assert_eq!(service.sweep_after(GRACE * 2).await.unwrap().seen, 0);
    let from_then = service.log.sweep(Utc::now(), Some(long_ago)).await.unwrap();
    assert_eq!((from_then.seen, from_then.completed), (2, 1));

    let service = half_recorded(1).await;
    let mark = Utc::now();
    let late = mark - TimeDelta::minutes(14);
    service.details.items.lock().unwrap().values_mut().for_each(|event| event.recorded_at = late);
    *service.metadata.swept_until.lock().unwrap() = mark;
    assert_eq!(service.sweep_after(GRACE * 2).await.unwrap().completed, 1);
    assert!(*service.metadata.swept_until.lock().unwrap() > mark);
}

#[tokio::test]
async fn a_sweep_that_was_told_to_begin_later_leaves_what_it_skipped_to_the_next() {
    let service = half_recorded(1).await;
    let skipped = Utc::now() - TimeDelta::hours(3);
    service.details.items.lock().unwrap().values_mut().for_each(|event| event.recorded_at = skipped);
    let mark = skipped - TimeDelta::hours(1);
    *service.metadata.swept_until.lock().unwrap() = mark;
    let later = skipped + TimeDelta::minutes(1);
    assert_eq!(service.log.sweep(Utc::now(), Some(later)).await, Ok(SweepReport::default()));
    assert_eq!(*service.metadata.swept_until.lock().unwrap(), mark);
    assert_eq!(service.sweep_after(GRACE).await.unwrap().completed, 1);
    assert!(*service.metadata.swept_until.lock().unwrap() > later);
}

#[tokio::test]
async fn an_item_that_sql_takes_no_row_of_is_counted_and_left_and_stops_nothing() {
    for error in [DatabaseError::Invalid("a name is too long".to_owned()), DatabaseError::TooLarge] {
        let service = half_recorded(3).await;
        service.metadata.script.set("insert", Trouble::Fails(error), 1);
        let swept = service.sweep_after(GRACE * 2).await;
        assert_eq!(swept, Ok(SweepReport { seen: 6, completed: 2, unreadable: 1 }));
        assert_eq!(service.get("/health").await.ok(200)["databases"]["sqlServer"]["connected"], true);
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_a_database_fails_stays_where_it_was() {
    for (database, call) in [
        ("sql", "swept_until"),
        ("dynamo", "recorded"),
        ("sql", "known"),
        ("dynamo", "event"),
        ("sql", "insert"),
        ("sql", "sweep_reached"),
    ] {
        let service = half_recorded(1).await;
        let mark = *service.metadata.swept_until.lock().unwrap();
        let script = if database == "sql" { &service.metadata.script } else { &service.details.script };
        let away = DatabaseError::Away("gone".to_owned());
        // Of a right that is missing, the item cannot tell.
        let refused = DatabaseError::Refused("no INSERT for you".to_owned());
        for trouble in [Trouble::Fails(away), Trouble::Fails(refused), Trouble::Hangs] {
            script.set(call, trouble, usize::MAX);
            assert!(service.sweep_after(GRACE * 2).await.is_err(), "{call}");
            assert_eq!(*service.metadata.swept_until.lock().unwrap(), mark, "{call}");
        }
        script.clear();
        service.sweep_after(GRACE * 2).await.unwrap();
        assert_eq!(service.rows(), 2, "{call}");
    }
}

#[tokio::test]
async fn an_item_that_says_too_little_is_counted_and_left() {
    let service = half_recorded(2).await;
    let (id, event) = service.details.items.lock().unwrap().remove_entry(&Uuid::from_u128(1)).unwrap();
    service.details.strange.lock().unwrap().insert(id, event);
    let swept = service.sweep_after(GRACE * 2).await.unwrap();
    assert_eq!(swept, SweepReport { seen: 4, completed: 1, unreadable: 1 });
    assert_eq!(service.details.strange.lock().unwrap().len(), 1);
}
