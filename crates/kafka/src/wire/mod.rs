//! Our own connection to a broker: requests and responses of the Kafka protocol, with the messages of the kafka-protocol
//! crate. `rskafka_client` lists the exceptions, which go through rskafka.

mod advice;
mod authenticate;
mod batch_head;
mod batches;
mod bounded;
mod connection;
mod epoch_end;
mod error;
mod fetch;
mod list_offsets;
mod message_set;
mod produce;
mod records;
mod stream;
mod unpack;

use std::ops::RangeInclusive;

/// Only for fuzzing and the tests of the workspace: decoders of data from the network. No part of the API.
pub(crate) mod internals {
    pub use super::{
        batches::{Decoded, decode_batches},
        bounded::decode,
        fetch::decode_fetch,
        produce::{BatchSequence, EncodedRecord, encode_batch},
    };
}

pub use connection::Connection;
pub(crate) use connection::LONGEST_IDLE;
pub use error::WireError;
pub use fetch::Fetched;
pub(crate) use internals::{BatchSequence, EncodedRecord, decode, encode_batch};
use internals::{Decoded, decode_batches};
pub(crate) use produce::{EMPTY_BATCH, put_varint};
pub(crate) use records::take_bytes;

/// The versions of Metadata. From 10 on they have topic ids.
pub(crate) const METADATA_VERSIONS: RangeInclusive<i16> = 4..=12;
