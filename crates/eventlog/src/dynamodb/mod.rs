//! The details in DynamoDB, by the AWS SDK.
//!
//! An item has all of an event, so its row can be made of it at any time. Reads are consistent: an event with a row is never
//! shown without details that were put before the row.

mod attempts;
mod fault;
mod item;
mod table;

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::{
    Client,
    config::{BehaviorVersion, Config, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::SdkError,
    operation::{delete_item::DeleteItemError, put_item::PutItemError},
    types::{AttributeValue, KeysAndAttributes, ReturnValuesOnConditionCheckFailure},
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    Bucket, DatabaseError, DatabaseResult, Details, DetailsPage, DetailsStore, DynamoDb, LoggedEvent,
    PutOutcome, RecordedPage,
};
use attempts::Attempts;
use fault::store_error;
use item::{BUCKET, DETAILS, EVENT_ID, RECORDED_AT, timestamp};
use table::INDEX;

/// The longest time of connecting.
const CONNECT: Duration = Duration::from_secs(1);
/// The longest time of one attempt: a connection that died while the process was frozen gives no answer.
const ATTEMPT: Duration = Duration::from_secs(3);

/// Items in a table.
#[derive(Debug)]
pub struct DynamoDbStore {
    attempts: Attempts,
    table: String,
}

impl DynamoDbStore {
    /// Connects at the first call.
    pub fn new(config: &DynamoDb) -> Self {
        Self { attempts: Attempts::new(config), table: config.table.clone() }
    }

    /// Makes the table and its index, unless they exist; returns whether they were made.
    ///
    /// # Errors
    ///
    /// DynamoDB cannot be reached, or refuses.
    pub async fn migrate(config: &DynamoDb) -> anyhow::Result<bool> {
        table::migrate(config).await
    }

    /// One attempt at [`DetailsStore::put`].
    async fn try_put(&self, client: Client, event: &LoggedEvent) -> DatabaseResult<PutOutcome> {
        let put = client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item::of(event)))
            .condition_expression("attribute_not_exists(#id)")
            .expression_attribute_names("#id", EVENT_ID)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match put {
            Ok(_) => Ok(PutOutcome::New),
            Err(SdkError::ServiceError(error))
                if matches!(error.err(), PutItemError::ConditionalCheckFailedException(_)) =>
            {
                let PutItemError::ConditionalCheckFailedException(failed) = error.into_err() else {
                    return Err(DatabaseError::Refused("a condition failed otherwise".to_owned()));
                };
                let earlier = failed.item().and_then(item::read);
                let strange =
                    || DatabaseError::Refused("there is an item of that id which is no event".to_owned());
                earlier.map(|event| PutOutcome::Already(Box::new(event))).ok_or_else(strange)
            }
            Err(error) => Err(store_error(&error)),
        }
    }

    /// One attempt at [`DetailsStore::take_back`].
    async fn try_take_back(&self, client: Client, event: &LoggedEvent) -> DatabaseResult<()> {
        let mut delete =
            client.delete_item().table_name(&self.table).set_key(Some(key(event.metadata.event_id)));
        let mut conditions = Vec::new();
        // The details are left out of the condition: they are large, and the other attributes identify the event.
        let told = item::of(event).into_iter().filter(|(name, _)| name != DETAILS);
        for (place, (name, value)) in told.enumerate() {
            conditions.push(format!("#n{place} = :v{place}"));
            delete = delete
                .expression_attribute_names(format!("#n{place}"), name)
                .expression_attribute_values(format!(":v{place}"), value);
        }
        let deleted = delete.condition_expression(conditions.join(" AND ")).send().await;
        match deleted {
            Ok(_) => Ok(()),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(DeleteItemError::is_conditional_check_failed_exception) =>
            {
                Ok(())
            }
            Err(error) => Err(store_error(&error)),
        }
    }
}

fn client(config: &DynamoDb) -> Client {
    let keys = &config.keys;
    let token = keys.session_token.as_ref().map(|token| token.reveal().to_owned());
    let secret = keys.secret_access_key.reveal();
    let credentials = Credentials::new(&keys.access_key_id, secret, token, None, "settings");
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
    let mut sdk = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(config.region.clone()))
        .credentials_provider(credentials)
        .http_client(http)
        // `Attempts` makes the second attempt. `EventLog::ask` handles throttling, since it has the deadline.
        .retry_config(RetryConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(ATTEMPT).build(),
        );
    if let Some(endpoint) = &config.endpoint {
        sdk = sdk.endpoint_url(endpoint);
    }
    Client::from_conf(sdk.build())
}

#[async_trait]
impl DetailsStore for DynamoDbStore {
    async fn put(&self, event: &LoggedEvent) -> DatabaseResult<PutOutcome> {
        self.attempts.change(|client| self.try_put(client, event)).await
    }

    async fn take_back(&self, event: &LoggedEvent) -> DatabaseResult<()> {
        self.attempts.change(|client| self.try_take_back(client, event)).await
    }

    async fn details(&self, ids: &[Uuid]) -> DatabaseResult<DetailsPage> {
        let keys = ids.iter().map(|id| key(*id)).collect();
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .consistent_read(true)
            .projection_expression("#id, #details")
            .expression_attribute_names("#id", EVENT_ID)
            .expression_attribute_names("#details", DETAILS)
            .build()
            .map_err(|error| DatabaseError::Refused(error.to_string()))?;
        let ask = |client: Client| {
            let asked = client.batch_get_item().request_items(&self.table, wanted.clone());
            async move { asked.send().await.map_err(|error| store_error(&error)) }
        };
        let batch = self.attempts.read(ask).await?;
        let items = batch.responses.unwrap_or_default().remove(&self.table).unwrap_or_default();
        let details = items.iter().filter_map(|item| {
            let details = Details::kept(item::text(item, DETAILS)?.to_owned())?;
            Some((item::id(item)?, details))
        });
        let left = batch.unprocessed_keys.unwrap_or_default().remove(&self.table);
        let unprocessed = left.map(|left| left.keys.iter().filter_map(item::id).collect());
        Ok(DetailsPage { details: details.collect(), unprocessed: unprocessed.unwrap_or_default() })
    }

    async fn event(&self, id: Uuid) -> DatabaseResult<Option<LoggedEvent>> {
        let ask = |client: Client| {
            let asked =
                client.get_item().table_name(&self.table).set_key(Some(key(id))).consistent_read(true);
            async move { asked.send().await.map_err(|error| store_error(&error)) }
        };
        let got = self.attempts.read(ask).await?;
        Ok(got.item().and_then(item::read))
    }

    async fn recorded(
        &self,
        bucket: Bucket,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        page: Option<String>,
    ) -> DatabaseResult<RecordedPage> {
        // BETWEEN includes both ends; times are whole milliseconds.
        let before = to - TimeDelta::milliseconds(1);
        let ask = |client: Client| {
            let mut asked = client
                .query()
                .table_name(&self.table)
                .index_name(INDEX)
                .key_condition_expression("#bucket = :bucket AND #at BETWEEN :from AND :to")
                .expression_attribute_names("#bucket", BUCKET)
                .expression_attribute_names("#at", RECORDED_AT)
                .expression_attribute_values(":bucket", AttributeValue::S(bucket.to_string()))
                .expression_attribute_values(":from", AttributeValue::S(timestamp(from)))
                .expression_attribute_values(":to", AttributeValue::S(timestamp(before.max(from))));
            if let Some((id, at)) = page.as_deref().and_then(|page| page.split_once('|')) {
                asked = asked
                    .exclusive_start_key(EVENT_ID, AttributeValue::S(id.to_owned()))
                    .exclusive_start_key(RECORDED_AT, AttributeValue::S(at.to_owned()))
                    .exclusive_start_key(BUCKET, AttributeValue::S(bucket.to_string()));
            }
            async move { asked.send().await.map_err(|error| store_error(&error)) }
        };
        let found = self.attempts.read(ask).await?;
        let next = found.last_evaluated_key().and_then(|key| {
            Some(format!("{}|{}", item::text(key, EVENT_ID)?, item::text(key, RECORDED_AT)?))
        });
        Ok(RecordedPage { ids: found.items().iter().filter_map(item::id).collect(), next })
    }

    async fn probe(&self) -> DatabaseResult<()> {
        self.event(Uuid::nil()).await.map(drop)
    }
}

fn key(id: Uuid) -> HashMap<String, AttributeValue> {
    HashMap::from([(EVENT_ID.to_owned(), AttributeValue::S(id.to_string()))])
}
