//! Redacts errors of Kafka for the public: no broker's address, no user's name.

/// The text without addresses, `host:port`, and without the user that a broker refuses.
pub fn redact(text: &str) -> String {
    const USER: &str = "refuses user ";
    let without_user = match text.split_once(USER) {
        Some((before, after)) => {
            let rest = after.split_once(": ").map(|(_, rest)| format!(": {rest}")).unwrap_or_default();
            format!("{before}refuses this service's user{rest}")
        }
        None => text.to_owned(),
    };
    let words = without_user.split(' ').map(|word| {
        let bare = word.trim_matches(|c: char| matches!(c, '(' | ')' | ',' | ';' | ':' | '.' | '`' | '"'));
        if is_address(bare) { word.replace(bare, "a broker") } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether it is `host:port`; a host has a letter, a dot or a bracket in it, as the time of a day has not.
fn is_address(word: &str) -> bool {
    let Some((host, port)) = word.rsplit_once(':') else { return false };
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_host = match host.strip_prefix('[') {
        Some(rest) => rest.ends_with(']'),
        None => host.chars().all(in_name) && host.contains(|c: char| c.is_ascii_alphabetic() || c == '.'),
    };
    is_host && (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
}
