//! Our own connection to a broker, for what rskafka does not speak: groups, offsets, topic settings,
//! and fetching logs that rskafka cannot read. Messages are the kafka-protocol crate's.

mod advice;
mod answer;
mod authenticate;
mod batch_head;
mod batches;
mod connection;
mod error;
mod fetch;
mod list_offsets;
mod message_set;
mod produce;
mod records;
mod stream;
mod unpack;

pub use answer::decode;
pub use batches::{Decoded, decode_batches};
pub use connection::Connection;
pub(crate) use connection::LONGEST_IDLE;
pub use error::WireError;
pub use fetch::{Fetched, decode_fetch};
pub use produce::{Produced, encode_batch};
