//! TLS and SASL: settings that belong together, and secrets.

use std::{env::temp_dir, fs, path::PathBuf};

use highwater_kafka::security::{Credential, Sasl, SaslMechanism, Secret, Security};
use uuid::Uuid;

#[cfg(feature = "embedded-broker")]
use super::parse;
use super::{faults, with};

const USER: [(&str, &str); 4] = [
    ("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
    ("KAFKA_SASL_MECHANISM", "scram-sha-512"),
    ("KAFKA_SASL_USERNAME", "alice"),
    ("KAFKA_SASL_PASSWORD", "hunter2 = x"),
];

/// A file that is gone after the test.
struct TestFile(PathBuf);

impl TestFile {
    fn of(content: &str) -> Self {
        let path = temp_dir().join(format!("highwater-test-{}", Uuid::new_v4()));
        fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        // Nothing is lost with it.
        let _ = fs::remove_file(&self.0);
    }
}

fn alice(password: &str) -> Security {
    let sasl =
        Sasl::with_password(SaslMechanism::ScramSha512, "alice", Credential::new(Secret::new(password)));
    Security::default().with_sasl(Some(sasl))
}

#[test]
fn a_user_has_a_mechanism_a_name_and_a_password() {
    assert_eq!(with(&[]).map(|c| c.kafka.security), Ok(Security::default()));
    assert_eq!(with(&USER).map(|c| c.kafka.security), Ok(alice("hunter2 = x")));
}

#[test]
fn a_password_file_is_read_without_its_line_end() {
    for (content, password) in
        [("a b ", "a b "), ("secret\n", "secret"), ("secret\r\n", "secret"), ("s\n\n", "s\n")]
    {
        let file = TestFile::of(content);
        let variables = [USER[0], USER[1], USER[2], ("KAFKA_SASL_PASSWORD_FILE", file.path())];
        assert_eq!(with(&variables).map(|c| c.kafka.security), Ok(alice(password)), "{content:?}");
    }
    for content in ["", "\n"] {
        let file = TestFile::of(content);
        let lines = faults(&[USER[0], USER[1], USER[2], ("KAFKA_SASL_PASSWORD_FILE", file.path())]);
        assert!(lines.len() == 1 && lines[0].ends_with(": holds no password"), "{lines:?}");
    }
}

#[test]
fn a_password_is_never_shown() {
    let config = with(&USER).expect("valid");
    assert!(!format!("{config:?} {}", Secret::new("hunter2")).contains("hunter2"));
    let mut wrong = USER;
    wrong[0].1 = "SSLL";
    let file = ("KAFKA_SASL_PASSWORD_FILE", "/nowhere");
    for variables in
        [&wrong[..], &USER[1..], &[USER[0], USER[3]], &[USER[0], USER[1], USER[2], USER[3], file]]
    {
        let lines = faults(variables).join("\n");
        assert!(!lines.contains("hunter2"), "{lines}");
    }
    let lines = faults(&[USER[0], USER[1], USER[2], ("KAFKA_SASL_PASSWORD", "hunter2\u{fffd}")]);
    assert_eq!(lines, ["KAFKA_SASL_PASSWORD=…: must be a text, which is never shown"]);
}

#[test]
fn all_that_is_missing_is_reported_together() {
    assert_eq!(
        faults(&[("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")]),
        [
            "KAFKA_SASL_MECHANISM=: must be set for SASL_PLAINTEXT",
            "KAFKA_SASL_USERNAME=: must be set for SASL_PLAINTEXT",
            "KAFKA_SASL_PASSWORD=: must be set for SASL_PLAINTEXT",
        ]
    );
}

#[test]
fn settings_of_another_protocol_are_refused() {
    let lines = faults(&[("KAFKA_SSL_CA", "/ca.pem"), ("KAFKA_SASL_USERNAME", "alice"), USER[3]]);
    assert_eq!(
        lines,
        [
            "KAFKA_SSL_CA=/ca.pem: has no meaning with KAFKA_SECURITY_PROTOCOL=PLAINTEXT",
            "KAFKA_SASL_USERNAME=alice: has no meaning with KAFKA_SECURITY_PROTOCOL=PLAINTEXT",
            "KAFKA_SASL_PASSWORD=…: has no meaning with KAFKA_SECURITY_PROTOCOL=PLAINTEXT",
        ]
    );
}

#[cfg(feature = "embedded-broker")]
#[test]
fn the_embedded_broker_is_not_secured() {
    let exit = parse(&[], &USER, "").expect_err("a fault");
    assert!(exit.message.contains("the embedded broker has neither TLS nor SASL"), "{}", exit.message);
}

#[cfg(not(feature = "tls"))]
#[test]
fn without_tls_in_the_build_it_cannot_be_asked_for() {
    let lines = faults(&[("KAFKA_SECURITY_PROTOCOL", "SSL")]);
    assert!(lines.len() == 1 && lines[0].contains("this build has no TLS"), "{lines:?}");
}

#[cfg(feature = "tls")]
#[test]
fn each_unusable_tls_file_is_reported_and_not_shown() {
    let text = TestFile::of("hunter2, and no PEM");
    let damaged = TestFile::of("-----BEGIN PRIVATE KEY-----\nhunter2!\n-----END PRIVATE KEY-----\n");
    let lines = faults(&[
        ("KAFKA_SECURITY_PROTOCOL", "SSL"),
        ("KAFKA_SSL_CA", "/nowhere/ca.pem"),
        ("KAFKA_SSL_CERTIFICATE", text.path()),
        ("KAFKA_SSL_KEY", damaged.path()),
    ]);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("KAFKA_SSL_CA=/nowhere/ca.pem: cannot be read: No such file"), "{lines:?}");
    assert!(lines[1].ends_with(": holds no certificate in PEM"), "{lines:?}");
    assert!(lines[2].ends_with(": is damaged PEM"), "{lines:?}");
    assert!(!lines.join("").contains("hunter2"), "{lines:?}");
    let lines = faults(&[("KAFKA_SECURITY_PROTOCOL", "SSL"), ("KAFKA_SSL_KEY", damaged.path())]);
    assert!(lines.iter().any(|line| line.contains("must be set both or neither")), "{lines:?}");
}

#[cfg(feature = "tls")]
#[test]
fn tls_needs_names_rskafka_can_read() {
    let lines = faults(&[("KAFKA_SECURITY_PROTOCOL", "SSL"), ("KAFKA_BROKERS", "[::1]:9093")]);
    assert!(lines.iter().any(|line| line.ends_with(": TLS needs names or IPv4 addresses")), "{lines:?}");
}
