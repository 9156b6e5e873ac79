//! E-mail addresses: which are taken, and when two are the same.

use highwater::services::users::{
    email::{normal_form, parse},
    punycode,
};
use proptest::prelude::*;

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

#[test]
fn a_domain_in_ascii_is_the_one_that_people_read() {
    for (in_ascii, as_read) in [
        ("jörg@xn--bcher-kva.example", "jörg@bücher.example"),
        ("JÖRG@XN--BCHER-KVA.Example", "jörg@Bücher.example"),
        ("a@mail.xn--fsqu00a.xn--4rr70v", "a@mail.例子.广告"),
    ] {
        assert_eq!(normal_form(in_ascii), normal_form(as_read));
    }
    assert_ne!(normal_form("a@xn--bcher-kva.example"), normal_form("a@bucher.example"));
}

#[test]
fn what_only_looks_like_a_domain_in_ascii_is_left_as_it_is() {
    for address in
        ["xn--bcher-kva@example.org", "a@xn--.example", "a@xn--abc-.example", "a@xn--99999999.example"]
    {
        assert_eq!(normal_form(address), address);
    }
}

/// Labels as they come, and as they may be bent.
fn label() -> impl Strategy<Value = String> {
    let encoded =
        "[a-z0-9äßéłπж例]{1,12}".prop_filter_map("it is encoded", |label| idna::punycode::encode_str(&label));
    prop_oneof![encoded, "[a-z0-9-]{0,14}"]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn punycode_is_read_as_a_library_for_domain_names_reads_it(label in label()) {
        prop_assert_eq!(punycode::decode(&label), idna::punycode::decode_to_string(&label));
    }

    #[test]
    fn the_normal_form_of_a_normal_form_is_itself(local in "[a-zäß]{1,5}", label in "(xn--)?[a-z0-9-]{1,12}") {
        let once = normal_form(&format!("{local}@{label}.example"));
        prop_assert_eq!(normal_form(&once), once);
    }
}
