//! Deletion of the group.

use kafka_protocol::{ResponseError, messages::DeleteGroupsRequest};

use super::Coordinator;
use crate::wire::WireError;

impl Coordinator {
    /// Deletes the group and its committed offsets (DeleteGroups). A group that does not exist counts as deleted.
    ///
    /// # Errors
    ///
    /// The group has members, or the call failed.
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
