//! Redacts errors of Kafka and of the store for the public: no address, no user's name, no name of a database or a role.

/// The text without addresses (`host:port`), without the user that a broker refuses, and without the words of PostgreSQL.
/// Its SQLSTATE stays: `PostgreSQL: role "r" is not permitted to log in [28000]` becomes `PostgreSQL answers [28000]`.
pub fn redact(text: &str) -> String {
    const USER: &str = "refuses user ";
    let text = without_words_of_postgres(text);
    let without_user = match text.split_once(USER) {
        Some((before, after)) => {
            let rest = after.split_once(": ").map(|(_, rest)| format!(": {rest}")).unwrap_or_default();
            format!("{before}refuses this service's user{rest}")
        }
        None => text,
    };
    let words = without_user.split(' ').map(|word| {
        let bare = word.trim_matches(|c: char| matches!(c, '(' | ')' | ',' | ';' | ':' | '.' | '`' | '"'));
        if is_address(bare) { word.replace(bare, "a broker") } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The text before the words of PostgreSQL, or of the network or TLS on the way there, and the code after them.
fn without_words_of_postgres(text: &str) -> String {
    const WORDS: &str = "PostgreSQL: ";
    const AWAY: &str = "PostgreSQL cannot be reached";
    if let Some((before, words)) = text.split_once(WORDS) {
        let code = words.rfind(" [").map(|at| &words[at..]).unwrap_or_default();
        return format!("{before}PostgreSQL answers{code}");
    }
    match text.split_once(AWAY) {
        Some((before, _)) => format!("{before}{AWAY}"),
        None => text.to_owned(),
    }
}

/// Whether the word is `host:port`. A host has a letter, a dot or a bracket in it, unlike the time of a day.
fn is_address(word: &str) -> bool {
    let Some((host, port)) = word.rsplit_once(':') else { return false };
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_host = match host.strip_prefix('[') {
        Some(rest) => rest.ends_with(']'),
        None => host.chars().all(in_name) && host.contains(|c: char| c.is_ascii_alphabetic() || c == '.'),
    };
    is_host && (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
}
