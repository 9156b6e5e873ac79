//! E-mail addresses: which are taken, and when two are the same.

use highwater::services::users::email::{normal_form, parse};

#[test]
fn addresses_of_any_script_are_taken_without_surrounding_blanks() {
    for (given, taken) in [
        ("ann@example.org", "ann@example.org"),
        ("  Ann.O'Neill+news@sub.example.org\t", "Ann.O'Neill+news@sub.example.org"),
        ("jörg@bücher.example", "jörg@bücher.example"),
        ("用户@例子.广告", "用户@例子.广告"),
        ("a@localhost", "a@localhost"),
        ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
    ] {
        assert_eq!(parse(given), Ok(taken));
    }
}

#[test]
fn what_is_no_address_is_not_taken() {
    let long = format!("{}@example.org", "a".repeat(65));
    let longer = format!("a@{}", vec!["a".repeat(60); 5].join("."));
    for bad in [
        "",
        " ",
        "ann",
        "@example.org",
        "ann@",
        "ann@@example.org",
        "ann@exa mple.org",
        "a nn@example.org",
        "ann@example..org",
        "ann@.org",
        "ann@-example.org",
        "ann@example-.org",
        "ann@exam_ple.org",
        "<ann@example.org>",
        "ann@example.org, bob@example.org",
        "ann\n@example.org",
        &long,
        &longer,
    ] {
        assert!(parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn case_and_surrounding_blanks_make_no_difference() {
    for (one, other) in
        [("Ann@Example.ORG", " ann@example.org "), ("JÖRG@BÜCHER.example", "jörg@bücher.EXAMPLE")]
    {
        assert_eq!(normal_form(one), normal_form(other));
    }
    assert_ne!(normal_form("ann@example.org"), normal_form("an.n@example.org"));
}
