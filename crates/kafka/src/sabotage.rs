//! Deliberate faults, one a guarantee, to show that `scripts/chaos.sh` catches each. They exist in a build with the
//! feature `sabotage` alone, which nothing that is shipped has.

/// A guarantee broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// What was read is committed, and processed a moment later.
    CommitBeforeProcessing,
    /// The store takes an event that it has.
    NoAdmission,
    /// The lease never ends.
    NoFencing,
    /// The offset of the commit is one too high.
    WatermarkOffByOne,
    /// A post is answered before Kafka is asked.
    AckBeforeKafka,
}

/// Whether this process is to have that fault: the variable SABOTAGE names it.
#[cfg(feature = "sabotage")]
pub fn is(sabotage: Sabotage) -> bool {
    use std::sync::OnceLock;

    static CHOSEN: OnceLock<Option<Sabotage>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        #[expect(clippy::disallowed_methods, reason = "no setting: no build that anybody runs knows of it")]
        let name = std::env::var("SABOTAGE").unwrap_or_default();
        let chosen = match name.as_str() {
            "commit-before-processing" => Sabotage::CommitBeforeProcessing,
            "no-admission" => Sabotage::NoAdmission,
            "no-fencing" => Sabotage::NoFencing,
            "watermark-off-by-one" => Sabotage::WatermarkOffByOne,
            "ack-before-kafka" => Sabotage::AckBeforeKafka,
            _ => return None,
        };
        log::error!("SABOTAGE={name}: a guarantee is broken on purpose");
        Some(chosen)
    });
    *chosen == Some(sabotage)
}

/// Never.
#[cfg(not(feature = "sabotage"))]
pub const fn is(_: Sabotage) -> bool {
    false
}
