//! Money is exact.

use highwater_commerce::orders::{MOST_ITEMS, MOST_OF_AN_ITEM, event::OrderItem, price::Price};
use proptest::{prelude::*, test_runner::Config};

fn item(unit_price: &str, quantity: u32) -> OrderItem {
    OrderItem { sku: "A".to_owned(), quantity, unit_price: unit_price.parse().unwrap() }
}

#[test]
fn a_price_is_digits_and_a_point_and_nothing_else() {
    for good in ["0", "0.0", "7", "19.90", "0.0001", "999999999999.9999", "007.5"] {
        assert!(good.parse::<Price>().is_ok(), "{good}");
    }
    for bad in [
        "",
        " 1",
        "1 ",
        "-1",
        "+1",
        "1.",
        ".5",
        "1.00000",
        "1e3",
        "1_000",
        "1,5",
        "0x1",
        "NaN",
        "1000000000000",
        "1.2.3",
        "١",
    ] {
        assert!(bad.parse::<Price>().is_err(), "{bad}");
    }
}

#[test]
fn the_largest_order_is_exact() {
    let items = vec![item("999999999999.9999", MOST_OF_AN_ITEM); MOST_ITEMS];
    assert_eq!(OrderItem::total(&items).unwrap().to_string(), "99999999999999990000.0000");
    assert_eq!(OrderItem::total(&[item("0.10", 3), item("19.90", 1)]).unwrap().to_string(), "20.20");
}

#[test]
fn an_amount_shows_the_decimals_of_its_currency_and_loses_none() {
    for (amount, currency, shown) in [
        ("12.5", "EUR", "12.50"),
        ("12", "EUR", "12.00"),
        ("12", "JPY", "12"),
        ("1.5", "KWD", "1.500"),
        ("1.2345", "EUR", "1.2345"),
        ("12", "XYZ", "12"),
    ] {
        assert_eq!(amount.parse::<Price>().unwrap().in_currency(currency).to_string(), shown);
    }
}

#[test]
fn what_is_written_is_what_is_read_also_a_total_of_more_digits_than_a_price_has() {
    let total = OrderItem::total(&vec![item("999999999999.9999", MOST_OF_AN_ITEM); MOST_ITEMS]).unwrap();
    let written = serde_json::to_string(&total).unwrap();
    assert_eq!(written, "\"99999999999999990000.0000\"");
    assert_eq!(serde_json::from_str::<Price>(&written).unwrap(), total);
    for bad in ["\"-1\"", "1.5", "\"one\"", "null"] {
        assert!(serde_json::from_str::<Price>(bad).is_err(), "{bad}");
    }
}

proptest! {
    #![proptest_config(Config { cases: 256, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_total_is_what_whole_numbers_say(
        items in prop::collection::vec((0_u64..10_u64.pow(12), 0_u32..10_000, 1..=MOST_OF_AN_ITEM), 1..=MOST_ITEMS),
    ) {
        let of = |(whole, fraction, quantity): &(u64, u32, u32)| item(&format!("{whole}.{fraction:04}"), *quantity);
        let total = OrderItem::total(&items.iter().map(of).collect::<Vec<_>>()).unwrap();
        let in_ten_thousandths: u128 = items
            .iter()
            .map(|(whole, fraction, quantity)| {
                (u128::from(*whole) * 10_000 + u128::from(*fraction)) * u128::from(*quantity)
            })
            .sum();
        let expected = format!("{}.{:04}", in_ten_thousandths / 10_000, in_ten_thousandths % 10_000);
        prop_assert_eq!(total.to_string(), expected);
    }
}
