//! `highwater keys`.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use highwater_web::auth::{KeyFile, Scope, cli::KeyCommand};
use serde_json::Value;

use super::Keyring;

fn add(name: &str) -> KeyCommand {
    KeyCommand::Add {
        name: name.to_owned(),
        scopes: vec![Scope::Write, Scope::Read],
        expires: Some(Duration::from_secs(90 * 24 * 60 * 60)),
        requests_per_second: Some(50.try_into().unwrap()),
        events_per_second: None,
    }
}

#[test]
fn a_key_is_told_once_and_the_file_has_its_hash_alone_for_its_owner_alone() {
    let keys = Keyring::new();
    let said = keys.run(add("shop")).unwrap();
    let key = said.strip_suffix('\n').unwrap();
    assert!(key.starts_with("hw_") && key.len() == 46 && !key.contains(char::is_whitespace), "{key}");
    let text = fs::read_to_string(&keys.0).unwrap();
    assert!(!text.contains(key) && !text.contains(&key[3..]));
    assert_eq!(fs::metadata(&keys.0).unwrap().permissions().mode() & 0o777, 0o600);
    assert_ne!(keys.run(add("other")).unwrap(), said);
}

#[test]
fn a_listing_tells_of_each_key_what_is_known_and_nothing_to_use_it_by() {
    let keys = Keyring::new();
    let key = keys.run(add("shop")).unwrap();
    keys.run(add("till")).unwrap();
    let lines: Vec<Value> =
        keys.run(KeyCommand::List).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["name"], "shop");
    assert_eq!(lines[0]["scopes"], serde_json::json!(["events:write", "events:read"]));
    assert_eq!(lines[0]["requestsPerSecond"], 50);
    let time =
        |name: &str| lines[0][name].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert_eq!(time("expires") - time("created"), chrono::TimeDelta::days(90));
    assert!(!lines[0].to_string().contains(key.trim_end()));
}

#[test]
fn a_key_that_is_revoked_is_gone_and_the_others_are_there() {
    let keys = Keyring::new();
    for name in ["shop", "till"] {
        keys.run(add(name)).unwrap();
    }
    keys.run(KeyCommand::Revoke { name: "shop".to_owned() }).unwrap();
    let left = keys.run(KeyCommand::List).unwrap();
    assert!(left.contains("\"till\"") && !left.contains("\"shop\""), "{left}");
    let again = keys.run(KeyCommand::Revoke { name: "shop".to_owned() }).unwrap_err();
    assert!(again.to_string().ends_with("has no key of the name shop"), "{again}");
}

#[test]
fn a_name_is_given_once_and_is_one() {
    let keys = Keyring::new();
    keys.run(add("shop")).unwrap();
    let error = keys.run(add("shop")).unwrap_err().to_string();
    assert!(error.contains("has a key of the name shop already"), "{error}");
    for name in ["", "a b", "line\nbreak", &"x".repeat(65)] {
        assert!(keys.run(add(name)).unwrap_err().to_string().starts_with("--name must be"), "{name:?}");
    }
}

#[test]
fn a_file_that_others_can_read_or_change_is_no_file_of_keys() {
    let keys = Keyring::new();
    keys.run(add("shop")).unwrap();
    for (mode, fits) in
        [(0o600, true), (0o400, true), (0o640, true), (0o644, false), (0o602, false), (0o660, false)]
    {
        fs::set_permissions(&keys.0, fs::Permissions::from_mode(mode)).unwrap();
        let read = KeyFile::read(&keys.0);
        assert_eq!(read.is_ok(), fits, "{mode:o}");
        if let Err(rule) = read {
            assert_eq!(rule, format!("must be for its owner alone (chmod 600): its mode is {mode:o}"));
        }
    }
}

#[test]
fn what_is_wrong_with_a_file_is_told_without_what_is_in_it() {
    let keys = Keyring::new();
    let key = |name: &str, more: &str| {
        let hash = "ab".repeat(32);
        format!(
            r#"{{"name":"{name}","sha256":"{hash}","scopes":["events:read"],"created":"2026-05-01T10:00:00Z"{more}}}"#
        )
    };
    for (text, rule) in [
        ("a secret that stands here by mistake".to_owned(), "holds no API keys"),
        (r#"{"keys":[{"name":"shop"}]}"#.to_owned(), "missing field"),
        (format!(r#"{{"keys":[{}]}}"#, key("shop", r#","expiry":1"#)), "unknown field `expiry`"),
        (format!(r#"{{"keys":[{},{}]}}"#, key("shop", ""), key("shop", "")), "two keys of the name shop"),
        (format!(r#"{{"keys":[{}]}}"#, key("a b", "")), "whose name is not"),
        (format!(r#"{{"keys":[{}]}}"#, key("shop", "").replace("ab", "é")), "64 hexadecimal digits"),
        (
            format!(r#"{{"keys":[{}]}}"#, key("shop", "").replace("events:read", "root")),
            "unknown variant `root`",
        ),
    ] {
        fs::write(&keys.0, text).unwrap();
        fs::set_permissions(&keys.0, fs::Permissions::from_mode(0o600)).unwrap();
        let told = KeyFile::read(&keys.0).unwrap_err();
        assert!(told.contains(rule) && !told.contains("by mistake"), "{told}");
    }
}
