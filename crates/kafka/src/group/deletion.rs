//! A group that is needed no more.

use kafka_protocol::{ResponseError, messages::DeleteGroupsRequest};

use super::Coordinator;
use crate::wire::WireError;

impl Coordinator {
    /// Deletes the group, with its committed offsets. One that is not there counts as deleted; one that has
    /// members is refused.
    pub(crate) async fn delete(&self) -> Result<(), WireError> {
        const WHAT: &str = "DeleteGroups";
        let request = DeleteGroupsRequest::default().with_groups_names(vec![self.group()]);
        let answer = self.call(&request, 0..=2, self.cluster().request_timeout()).await?;
        let code = answer.results.first().map_or(0, |result| result.error_code);
        match self.check(WHAT, code).await {
            Err(error) if error.code() == Some(ResponseError::GroupIdNotFound) => Ok(()),
            checked => checked,
        }
    }
}
