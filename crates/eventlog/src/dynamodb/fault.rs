//! Translates errors of DynamoDB.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::DatabaseError;

/// Translates an error of the SDK.
pub(super) fn store_error<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E>) -> DatabaseError {
    let SdkError::ServiceError(answered) = error else {
        let said = said(error);
        return match error {
            SdkError::ConstructionFailure(_) => DatabaseError::Refused(said),
            _ => DatabaseError::Away(said),
        };
    };
    let code = answered.err().code().unwrap_or("no code");
    let message = answered.err().message().unwrap_or("no message");
    let said = format!("{message} ({code})");
    match code {
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "LimitExceededException"
        | "TransactionConflictException" => DatabaseError::Throttled(said),
        "ValidationException" if message.contains("size has exceeded") => DatabaseError::TooLarge,
        "ResourceNotFoundException" => {
            DatabaseError::Refused(format!("{said}; highwater eventlog migrate makes the table"))
        }
        // DynamoDB failed, and may have carried the request out.
        "InternalServerError" | "InternalFailure" | "ServiceUnavailable" => DatabaseError::Away(said),
        _ if answered.raw().status().is_server_error() => DatabaseError::Away(said),
        _ => DatabaseError::Refused(said),
    }
}

/// An error with its causes: the SDK's own text names none of them.
fn said(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said.push_str(": ");
        said.push_str(&error.to_string());
        cause = error.source();
    }
    said
}
