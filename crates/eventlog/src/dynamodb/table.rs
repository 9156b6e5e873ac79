//! Makes a missing table. In the cloud, `template.yaml` makes it.

use std::time::Duration;

use anyhow::{Context as _, bail};
use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
        ProjectionType, ScalarAttributeType, TableStatus,
    },
};

use super::{
    client,
    fault::store_error,
    item::{BUCKET, EVENT_ID, RECORDED_AT},
};
use crate::DynamoDb;

/// The index by which a sweep finds the events of an hour.
pub(super) const INDEX: &str = "by-hour";
/// The most looks at a table that is being made.
const LOOKS: usize = 120;
/// The interval between two looks.
const BETWEEN: Duration = Duration::from_millis(500);

/// Makes the table and its index, unless they exist; returns whether they were made.
///
/// # Errors
///
/// DynamoDB cannot be reached, or refuses.
pub(super) async fn migrate(config: &DynamoDb) -> anyhow::Result<bool> {
    let client = client(config);
    let mut made = false;
    for _ in 0..LOOKS {
        match client.describe_table().table_name(&config.table).send().await {
            Ok(described) => {
                let table = described.table();
                if table.and_then(|table| table.table_status()) == Some(&TableStatus::Active) {
                    let indexes = table.map(|table| table.global_secondary_indexes()).unwrap_or_default();
                    if indexes.iter().any(|index| index.index_name() == Some(INDEX)) {
                        return Ok(made);
                    }
                    bail!("table {} is there, but without the index {INDEX}", config.table);
                }
            }
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) =>
            {
                create(&client, &config.table).await?;
                log::info!(table = config.table.as_str(); "made the table of DynamoDB");
                made = true;
            }
            Err(error) => return Err(store_error(&error)).context("DynamoDB cannot be used"),
        }
        tokio::time::sleep(BETWEEN).await;
    }
    bail!("table {} is not active after a minute", config.table)
}

async fn create(client: &Client, table: &str) -> anyhow::Result<()> {
    let text = |name: &str| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build()
    };
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let index = GlobalSecondaryIndex::builder()
        .index_name(INDEX)
        .key_schema(key(BUCKET, KeyType::Hash)?)
        .key_schema(key(RECORDED_AT, KeyType::Range)?)
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()?;
    let creating = client
        .create_table()
        .table_name(table)
        .attribute_definitions(text(EVENT_ID)?)
        .attribute_definitions(text(BUCKET)?)
        .attribute_definitions(text(RECORDED_AT)?)
        .key_schema(key(EVENT_ID, KeyType::Hash)?)
        .global_secondary_indexes(index)
        .billing_mode(BillingMode::PayPerRequest);
    match creating.send().await {
        Ok(_) => Ok(()),
        // Another process makes it.
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => {
            Ok(())
        }
        Err(error) => Err(store_error(&error)).context("the table cannot be made"),
    }
}
