//! The event log on real databases: DynamoDB (or DynamoDB Local) at TEST_DYNAMODB_URL, and SQL Server (or Babelfish)
//! at TEST_SQLSERVER_URL. A test without its database is skipped.

mod dynamodb;
mod service;
mod settings;
mod severed;
mod sql_server;
