//! The status of an order: each status with each action.

use highwater_commerce::orders::status::{OrderAction, OrderStatus, TRANSITIONS};

/// All that is allowed, a row a status, a column an action.
const LIFE: [(OrderStatus, [Option<OrderStatus>; 5]); 6] = {
    use OrderStatus::{Cancelled, Confirmed, Delivered, Paid, Pending, Shipped};
    [
        //           confirm          pay         ship           deliver          cancel
        (Pending, [Some(Confirmed), None, None, None, Some(Cancelled)]),
        (Confirmed, [None, Some(Paid), None, None, Some(Cancelled)]),
        (Paid, [None, None, Some(Shipped), None, Some(Cancelled)]),
        (Shipped, [None, None, None, Some(Delivered), None]),
        (Delivered, [None; 5]),
        (Cancelled, [None; 5]),
    ]
};

#[test]
fn each_status_allows_what_it_allows_and_nothing_else() {
    for (status, outcomes) in LIFE {
        for (action, outcome) in OrderAction::ALL.into_iter().zip(outcomes) {
            assert_eq!(status.after(action), outcome, "{status} {action}");
        }
        let allowed: Vec<OrderAction> = OrderAction::ALL
            .into_iter()
            .zip(outcomes)
            .filter(|(_, to)| to.is_some())
            .map(|(action, _)| action)
            .collect();
        let mut told: Vec<OrderAction> = status.allowed().collect();
        told.sort_unstable_by_key(|action| action.name());
        let mut expected = allowed.clone();
        expected.sort_unstable_by_key(|action| action.name());
        assert_eq!(told, expected, "{status}");
        assert_eq!(status.is_open(), allowed.contains(&OrderAction::Cancel), "{status}");
    }
    assert_eq!(LIFE.map(|(status, _)| status), OrderStatus::ALL);
}

#[test]
fn no_transition_is_there_twice_and_none_leads_back() {
    for (place, (from, action, to)) in TRANSITIONS.iter().enumerate() {
        assert!(from < to, "{from} {action} {to}");
        assert!(!TRANSITIONS[..place].iter().any(|(other, by, _)| (other, by) == (from, action)));
    }
}

#[test]
fn names_are_read_as_they_are_written_statuses_in_any_case() {
    for status in OrderStatus::ALL {
        assert_eq!(status.name().parse(), Ok(status));
        assert_eq!(status.name().to_uppercase().parse(), Ok(status));
        assert_eq!(serde_json::to_value(status).unwrap(), status.name());
    }
    for action in OrderAction::ALL {
        assert_eq!(OrderAction::named(action.name()), Some(action));
        assert_eq!(serde_json::to_value(action).unwrap(), action.name());
    }
    assert!("".parse::<OrderStatus>().is_err());
    assert_eq!(OrderAction::named("Confirm"), None);
}
