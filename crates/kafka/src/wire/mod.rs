//! Our own connection to a broker: requests and responses of the Kafka protocol, with the messages of the kafka-protocol
//! crate. [`rskafka_client`](crate::rskafka_client) says what goes through rskafka instead.

mod advice;
mod authenticate;
mod batch_head;
mod batches;
mod bounded;
mod connection;
mod error;
mod fetch;
mod list_offsets;
mod message_set;
mod produce;
mod records;
mod stream;
mod unpack;

pub use batches::{Decoded, decode_batches};
pub use bounded::decode;
pub use connection::Connection;
pub(crate) use connection::LONGEST_IDLE;
pub use error::WireError;
pub use fetch::{Fetched, decode_fetch};
pub use produce::{Produced, encode_batch};
