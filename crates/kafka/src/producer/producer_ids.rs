//! The id that a cluster gives a producer (InitProducerId, KIP-98), or the lack of one.

use std::{sync::Arc, time::Duration};

use kafka_protocol::{ResponseError, messages::InitProducerIdRequest};
use log::warn;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::{Cluster, wire::WireError};

const WHAT: &str = "InitProducerId";

/// The time after which a cluster that gave no id is asked again: rights may have been granted.
const ASK_AGAIN: Duration = Duration::from_secs(10 * 60);

/// The number of attempts after which a request for patience is a failure. A broker without ids at hand, such as one that
/// has just started, asks for patience while it gets more from the controller (`RPCProducerIdManager` in Kafka).
const PATIENCE: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// The producer id of all partitions of a producer.
#[derive(Debug)]
pub(super) struct ProducerIds {
    cluster: Arc<Cluster>,
    given: Mutex<Given>,
}

/// The cluster's last answer.
#[derive(Debug, Clone, Copy)]
enum Given {
    Nothing,
    Id(i64),
    Refusal { until: Instant },
}

impl ProducerIds {
    /// The ids of a producer that has none yet.
    pub(super) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, given: Mutex::new(Given::Nothing) }
    }

    /// The producer's id, which is asked for if there is none or only the `spent` one; `None` if the cluster gives none.
    ///
    /// # Errors
    ///
    /// The cluster did not answer, asks for patience, or fails for another reason that may pass.
    pub(super) async fn id_after(&self, spent: Option<i64>) -> Result<Option<i64>, WireError> {
        let mut given = self.given.lock().await;
        match *given {
            Given::Id(id) if Some(id) != spent => return Ok(Some(id)),
            Given::Refusal { until } if Instant::now() < until => return Ok(None),
            Given::Nothing | Given::Id(_) | Given::Refusal { .. } => {}
        }
        match ask(&self.cluster).await {
            Ok(id) => {
                *given = Given::Id(id);
                Ok(Some(id))
            }
            Err(error) if is_denial(&error) => {
                self.note(&mut given, &error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Kafka refused a batch for its producer id: the producer goes without one for a while.
    pub(super) async fn refused(&self, error: &WireError) {
        self.note(&mut *self.given.lock().await, error);
    }

    fn note(&self, given: &mut Given, error: &WireError) {
        *given = Given::Refusal { until: Instant::now() + ASK_AGAIN };
        if self.cluster.warns_of_copies() {
            warn!(
                "producing without idempotence, so that a retry can write a record twice: the cluster allows it not \
                 (before Kafka 2.8 it takes the right IDEMPOTENT_WRITE on the cluster): {error}"
            );
        }
    }
}

/// Whether the cluster gives this producer no ids.
fn is_denial(error: &WireError) -> bool {
    let denies = [ResponseError::ClusterAuthorizationFailed, ResponseError::UnsupportedVersion];
    matches!(error, WireError::Unsupported(_)) || error.code().is_some_and(|code| denies.contains(&code))
}

/// Asks a broker for an id. Any broker gives one to a producer without transactions.
async fn ask(cluster: &Cluster) -> Result<i64, WireError> {
    let mut connection = cluster.connect().await?;
    let request = InitProducerIdRequest::default().with_transactional_id(None);
    let mut attempt = 1;
    let response = loop {
        let response = connection.call(&request, 0..=4).await?;
        if response.error_code != ResponseError::CoordinatorLoadInProgress.code() || attempt == PATIENCE {
            break response;
        }
        attempt += 1;
        sleep(PAUSE).await;
    };
    WireError::check(WHAT, response.error_code)?;
    let id = response.producer_id.0;
    let malformed = || WireError::Malformed { what: WHAT, reason: format!("the id {id}") };
    (id >= 0).then_some(id).ok_or_else(malformed)
}
