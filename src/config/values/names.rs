//! The names of topics, event types, groups and instances.

use std::fs;

use highwater_web::invisible::is_blank;

use super::Values;
use crate::activity::MAX_CHARACTERS;

/// A topic's name, by the rules of `org.apache.kafka.common.internals.Topic`.
pub(in crate::config) struct TopicName;

impl TopicName {
    /// The longest name in characters, each of one byte.
    pub(in crate::config) const LONGEST: usize = 249;
}

impl Values for TopicName {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_topic = (1..=Self::LONGEST).contains(&text.len())
            && text.chars().all(legal)
            && !matches!(text, "." | "..");
        is_topic.then(|| text.to_owned())
    }

    fn allowed(&self) -> String {
        format!("1 to {} letters, digits, dots, dashes or underscores, but not . or ..", Self::LONGEST)
    }
}

/// Any text of visible characters.
pub(in crate::config) struct Text {
    /// The longest text, in characters.
    pub(in crate::config) longest: usize,
}

impl Values for Text {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        is_text(text, self.longest).then(|| text.to_owned())
    }

    fn allowed(&self) -> String {
        format!("1 to {} characters, none of them a control character", self.longest)
    }
}

fn is_text(text: &str, longest: usize) -> bool {
    !is_blank(text) && text.chars().count() <= longest && !text.chars().any(char::is_control)
}

/// A group instance id. The word `hostname` stands for the machine's name, which is unique to a container.
pub(in crate::config) struct InstanceId {
    /// The longest id, in characters.
    pub(in crate::config) longest: usize,
}

impl InstanceId {
    const OF_THE_MACHINE: &str = "hostname";
}

impl Values for InstanceId {
    type Value = String;

    fn parse(&self, text: &str) -> Option<String> {
        let text = match text {
            Self::OF_THE_MACHINE => fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_owned(),
            text => text.to_owned(),
        };
        is_text(&text, self.longest).then_some(text)
    }

    fn allowed(&self) -> String {
        let (word, text) = (Self::OF_THE_MACHINE, Text { longest: self.longest });
        format!("{word} for the machine's own name, or {}", text.allowed())
    }
}

/// Event types.
pub(in crate::config) struct EventTypes;

impl Values for EventTypes {
    type Value = Vec<String>;

    fn parse(&self, text: &str) -> Option<Vec<String>> {
        text.split(',')
            .map(str::trim)
            .map(|name| is_text(name, MAX_CHARACTERS).then(|| name.to_owned()))
            .collect()
    }

    fn allowed(&self) -> String {
        "names with commas between them, none of them blank".into()
    }
}

/// Extensions of SASL/OAUTHBEARER (RFC 7628, section 3.1): keys of letters, values of visible characters and blanks.
pub(in crate::config) struct Extensions;

impl Values for Extensions {
    type Value = Vec<(String, String)>;

    fn parse(&self, text: &str) -> Option<Self::Value> {
        let pair = |pair: &str| {
            let (key, value) = pair.trim().split_once('=')?;
            let is_key =
                !key.is_empty() && key != "auth" && key.bytes().all(|byte| byte.is_ascii_alphabetic());
            let is_value = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
            (is_key && is_value).then(|| (key.to_owned(), value.to_owned()))
        };
        text.split(',').map(pair).collect()
    }

    fn allowed(&self) -> String {
        "pairs such as logicalCluster=lkc-1 with commas between them; a name is of letters, and not auth"
            .into()
    }
}
