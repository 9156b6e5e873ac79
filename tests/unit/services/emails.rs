//! E-mail addresses: validation and equality.

use highwater_commerce::users::{
    email::{normal_form, parse},
    punycode,
};
use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization as _;

#[test]
fn addresses_of_any_script_are_taken_without_surrounding_blanks() {
    for (given, taken) in [
        ("ann@example.org", "ann@example.org"),
        ("  Ann.O'Neill+news@sub.example.org\t", "Ann.O'Neill+news@sub.example.org"),
        ("jörg@bücher.example", "jörg@bücher.example"),
        ("用户@例子.广告", "用户@例子.广告"),
        ("a@localhost", "a@localhost"),
        ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("a@xn--nxasmm1c.com", "a@xn--nxasmm1c.com"),
        ("हिन्दी@उदाहरण.परीक्षा", "हिन्दी@उदाहरण.परीक्षा"),
        ("jo\u{308}rg@bu\u{308}cher.example", "jo\u{308}rg@bu\u{308}cher.example"),
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
        "mailto:ann@example.org",
        "ann(work)@example.org",
        "an[n]@example.org",
        "an\\n@example.org",
        "\"ann\"@example.org",
        "ann@example.org.",
        "ann@[192.0.2.1]",
        "ann@example.org, bob@example.org",
        "ann\n@example.org",
        // Invisible characters.
        "ann\u{200b}@example.org",
        "ann@exam\u{ad}ple.org",
        "\u{202e}ann@example.org",
        "ann\u{fe0f}@example.org",
        "ann@example\u{e0061}.org",
        "ann@exam\u{200d}ple.org",
        "ann\u{2800}@example.org",
        // Domains that would read like others, or that stand for nothing.
        "ann@example\u{3002}\u{3002}org",
        "ann@a\u{2100}b.org",
        "ann@xn--.example",
        "ann@xn--abc-.example",
        "ann@xn--99999999.example",
        "ann@xn--BCHER-kva9999999.example",
        &"a@".chars().chain("ü".repeat(60).chars()).collect::<String>(),
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
fn both_small_sigmas_are_one_letter_as_in_capitals() {
    for (spelt, others) in [
        ("νίκος@example.gr", vec!["νίκοσ@example.gr", "ΝΊΚΟΣ@example.gr", "Νίκοσ@EXAMPLE.gr"]),
        ("νίκος.παπάς@example.gr", vec!["νίκοσ.παπάσ@example.gr", "ΝΊΚΟΣ.ΠΑΠΆΣ@example.gr"]),
        ("σίσυφος+σος@example.gr", vec!["ΣΊΣΥΦΟΣ+ΣΟΣ@example.gr", "ςίςυφος+ςος@example.gr"]),
        ("σ@example.gr", vec!["ς@example.gr", "Σ@example.gr"]),
    ] {
        // The key of who wrote it as Greek is written is what it was before the others counted as the same.
        assert_eq!(normal_form(spelt), spelt);
        for other in others {
            assert_eq!(normal_form(other), spelt, "{other}");
        }
    }
}

/// Keys that are in topics: whatever the normal form learns, these stay.
#[test]
fn the_keys_of_addresses_do_not_change() {
    for (address, key) in [
        ("Ann.O'Neill+News@Sub.Example.ORG", "ann.o'neill+news@sub.example.org"),
        ("Straße@example.org", "straße@example.org"),
        ("STRASSE@example.org", "strasse@example.org"),
        ("STRAẞE@example.org", "straße@example.org"),
        ("İzmir@example.org", "i\u{307}zmir@example.org"),
        ("ırmak@example.org", "ırmak@example.org"),
        ("µ@example.org", "µ@example.org"),
        ("ﬁ@example.org", "ﬁ@example.org"),
        ("Ǆemal@example.org", "ǆemal@example.org"),
        ("Jo\u{308}rg@Bu\u{308}cher.example", "jörg@bücher.example"),
        ("ΑΛΈΞΑΝΔΡΟΣ@example.gr", "αλέξανδρος@example.gr"),
        ("αλέξανδρος@example.gr", "αλέξανδρος@example.gr"),
        ("ann@ΝΊΚΟΣ.gr", "ann@νίκοσ.gr"),
        ("ann@νίκος.gr", "ann@νίκος.gr"),
        ("Иван@Пример.РФ", "иван@пример.рф"),
        ("ᏣᎳᎩ@example.org", "ꮳꮃꭹ@example.org"),
        ("用户@例子\u{3002}广告", "用户@例子.广告"),
        ("a@ｅｘａｍｐｌｅ．org", "a@example.org"),
        ("a@XN--BCHER-KVA.Example", "a@bücher.example"),
    ] {
        assert_eq!(normal_form(address), key);
    }
    for c in ('\0'..=char::MAX).filter(|c| !matches!(c, 'σ' | 'ς' | 'Σ' | '@') && !c.is_whitespace()) {
        let local = format!("A{c}b");
        let lower: String = local.nfc().collect::<String>().to_lowercase().nfc().collect();
        assert_eq!(normal_form(&format!("{local}@example.org")), format!("{lower}@example.org"), "{c:?}");
    }
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

#[test]
fn how_characters_are_composed_and_how_the_domain_is_written_makes_no_difference() {
    for (one, other) in [
        ("jo\u{308}rg@example.org", "jörg@example.org"),
        ("JO\u{308}RG@example.org", "jörg@example.org"),
        ("a@bu\u{308}cher.example", "a@bücher.example"),
        ("a@xn--bcher-kva.example", "a@bücher.example"),
        ("a@XN--BCHER-KVA.Example", "a@BÜCHER.example"),
        ("a@mail.xn--fsqu00a.xn--4rr70v", "a@mail.例子.广告"),
        ("用户@例子\u{3002}广告", "用户@例子.广告"),
        ("a@ｅｘａｍｐｌｅ．org", "a@example.org"),
    ] {
        assert_eq!(normal_form(one), normal_form(other));
        assert!(parse(one).is_ok() && parse(other).is_ok(), "{one} {other}");
    }
    for (one, other) in [
        ("a@bücher.example", "a@bucher.example"),
        ("a@straße.example", "a@strasse.example"),
        // Of the local part nobody but its domain knows.
        ("xn--bcher-kva@example.org", "bücher@example.org"),
        ("\u{ff41}@example.org", "a@example.org"),
    ] {
        assert_ne!(normal_form(one), normal_form(other));
    }
    assert_eq!(normal_form(" Ann@XN--BCHER-KVA.example "), "ann@bücher.example");
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

    #[test]
    fn the_normal_form_of_an_address_is_an_address_and_its_own_normal_form(
        local in "[a-zA-ZäÄßΣσςİ\u{308}ﬁA\u{30a}]{1,6}",
        label in prop_oneof!["(xn--)?[a-z0-9-]{1,12}", "[a-zÄüΣσｅＡ㎏\u{308}]{1,6}", "\\PC{1,4}"],
    ) {
        let address = format!("{local}@{label}.example");
        if parse(&address).is_ok() {
            let once = normal_form(&address);
            prop_assert_eq!(normal_form(&once), once.clone());
            prop_assert!(parse(&once).is_ok() || once.contains(['\u{200c}', '\u{200d}']), "{:?}", once);
        }
    }
}
