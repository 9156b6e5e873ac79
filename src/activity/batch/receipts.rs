//! The receipts of a batch, as the answer has them.

use bytes::{BufMut as _, Bytes, BytesMut};
use highwater_web::http::{JSON, NDJSON, Problem};
use serde::Serialize;
use uuid::Uuid;

use super::intake::IntakeOutcome;

/// The format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReceiptFormat {
    /// `{"receipts": […], …}`. Events have an `index`, from 0.
    Object,
    /// A receipt a line. Events have a `line`, from 1.
    Lines,
}

/// The receipts that the answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ReceiptFilter {
    /// All.
    #[default]
    All,
    /// Those of events that are not known to be stored; and the sums, in lines too.
    Errors,
}

/// The number of events with each outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sums {
    /// All of them.
    pub(super) events: u64,
    /// Kafka has them.
    pub(super) stored: u64,
    /// They are at fault, or the client may not publish them.
    pub(super) refused: u64,
    /// They can be sent again: too many came, or Kafka did not take them.
    pub(super) not_written: u64,
    /// Kafka did not say whether it has them.
    pub(super) possibly_written: u64,
}

impl Sums {
    fn add(&mut self, outcome: &IntakeOutcome) {
        self.events += 1;
        *match outcome {
            IntakeOutcome::Stored { .. } => &mut self.stored,
            IntakeOutcome::Failed(_, true) => &mut self.possibly_written,
            IntakeOutcome::Refused(problem) | IntakeOutcome::Failed(problem, _)
                if problem.may_succeed_later() =>
            {
                &mut self.not_written
            }
            IntakeOutcome::Refused(_) | IntakeOutcome::Failed(..) => &mut self.refused,
        } += 1;
    }
}

/// Writes receipts.
#[derive(Debug)]
pub(super) struct Receipts {
    format: ReceiptFormat,
    wanted: ReceiptFilter,
    sums: Sums,
    buffer: BytesMut,
    is_first: bool,
}

impl Receipts {
    pub(super) fn new(format: ReceiptFormat, wanted: ReceiptFilter) -> Self {
        let mut buffer = BytesMut::new();
        if format == ReceiptFormat::Object {
            buffer.put_slice(b"{\"receipts\":[");
        }
        Self { format, wanted, sums: Sums::default(), buffer, is_first: true }
    }

    pub(super) fn media_type(&self) -> &'static str {
        match self.format {
            ReceiptFormat::Object => JSON,
            ReceiptFormat::Lines => NDJSON,
        }
    }

    pub(super) fn sums(&self) -> Sums {
        self.sums
    }

    /// The number of bytes that are written and not taken.
    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Takes the bytes that are written.
    pub(super) fn split(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }

    /// Adds the receipt of the event that has that number.
    pub(super) fn add(&mut self, number: u64, outcome: &IntakeOutcome) {
        self.sums.add(outcome);
        match outcome {
            IntakeOutcome::Stored { id, receipt, violations } => {
                if self.wanted == ReceiptFilter::All {
                    self.begin();
                    self.number(number);
                    self.buffer.put_slice(b",\"status\":201,\"eventId\":\"");
                    self.buffer
                        .put_slice(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
                    self.push("\",\"partition\":", receipt.partition);
                    if let Some(offset) = receipt.offset {
                        self.push(",\"offset\":", offset);
                    }
                    if *violations > 0 {
                        self.push(",\"schemaViolations\":", *violations);
                    }
                    self.buffer.put_u8(b'}');
                    self.end();
                }
            }
            IntakeOutcome::Refused(problem) | IntakeOutcome::Failed(problem, _) => {
                self.begin();
                self.number(number);
                self.buffer.put_u8(b',');
                self.buffer.put_slice(&problem.item_json()[1..]);
                self.end();
            }
        }
    }

    /// Ends them; with a problem, that ended the batch before all of it was read.
    pub(super) fn close(&mut self, fault: Option<&Problem>) {
        if let Some(fault) = fault {
            self.begin();
            self.buffer.put_slice(&fault.item_json());
            self.end();
        }
        // Numbers cannot fail to serialize.
        let sums = serde_json::to_vec(&self.sums).unwrap_or_default();
        match (self.format, self.wanted) {
            (ReceiptFormat::Object, _) => {
                self.buffer.put_slice(b"],");
                self.buffer.put_slice(&sums[1..]);
            }
            (ReceiptFormat::Lines, ReceiptFilter::Errors) => {
                self.buffer.put_slice(&sums);
                self.buffer.put_u8(b'\n');
            }
            (ReceiptFormat::Lines, ReceiptFilter::All) => {}
        }
    }

    fn begin(&mut self) {
        if self.format == ReceiptFormat::Object && !self.is_first {
            self.buffer.put_u8(b',');
        }
        self.is_first = false;
    }

    fn number(&mut self, number: u64) {
        let before = if self.format == ReceiptFormat::Lines { "{\"line\":" } else { "{\"index\":" };
        self.push(before, number);
    }

    fn push(&mut self, before: &str, number: impl itoa::Integer) {
        self.buffer.put_slice(before.as_bytes());
        self.buffer.put_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    fn end(&mut self) {
        if self.format == ReceiptFormat::Lines {
            self.buffer.put_u8(b'\n');
        }
    }
}
