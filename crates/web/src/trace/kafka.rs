//! The context in records, and the spans of sending and processing them, by the semantic conventions of messaging.

use std::sync::Arc;

use highwater_kafka::{
    BatchOutcome, Interceptor, Message, OnAcknowledgement, ProcessedBatch, PublishError, Receipt, Record,
    dead_letter,
};

use super::{
    TRACEPARENT, TRACESTATE, Tracer,
    context::{self, TraceContext},
    otlp::{Kind, Span, Status},
};

/// Carries the context from the sender of a record to its processing. With a tracer it makes the spans of both.
#[derive(Debug, Clone)]
pub struct RecordTraces(Option<Tracer>);

impl RecordTraces {
    /// Traces by that tracer, if there is one.
    pub fn new(tracer: Option<Tracer>) -> Self {
        Self(tracer)
    }
}

/// The context in a record's headers.
pub fn context_of(record: &Record) -> Option<TraceContext> {
    if record.headers.is_empty() {
        return None;
    }
    TraceContext::parse(record.headers.last(TRACEPARENT)?, record.headers.last(TRACESTATE))
}

fn context_in(message: &Message) -> Option<TraceContext> {
    let header =
        |name: &str| message.headers.iter().rev().find(|(known, _)| known == name).map(|(_, value)| &**value);
    TraceContext::parse(header(TRACEPARENT)?, header(TRACESTATE))
}

/// Adds the context to the headers.
fn carry(context: &TraceContext, message: &mut Message) {
    // Exact: `push` would make room for four, and most records have no other header.
    message.headers.reserve_exact(1 + usize::from(context.state().is_some()));
    message.headers.push((TRACEPARENT.to_owned(), context.traceparent().to_vec()));
    if let Some(state) = context.state() {
        message.headers.push((TRACESTATE.to_owned(), state.as_bytes().to_vec()));
    }
}

impl Interceptor for RecordTraces {
    /// A message that has a context keeps it: everything about a record is below its first sender. A dead letter and a
    /// redrive have the headers of their record, and get no others.
    fn on_send(&self, topic: &Arc<str>, message: &mut Message) -> Option<OnAcknowledgement> {
        let given = if message.headers.is_empty() { None } else { context_in(message) };
        let is_given = given.is_some();
        let parent = given.or_else(context::current);
        let context = match &self.0 {
            Some(tracer) => tracer.next(parent.as_ref()),
            None => parent.clone()?,
        };
        if !is_given {
            if message
                .headers
                .iter()
                .any(|(name, _)| name == dead_letter::ERROR || name == dead_letter::REDRIVES)
            {
                return None;
            }
            carry(&context, message);
        }
        let tracer = self.0.as_ref().filter(|_| context.is_sampled())?;
        let mut span = tracer.begin(Kind::Producer, format!("send {topic}"), &context, parent.as_ref());
        let is_tombstone = message.value.is_none();
        span.update(|span| describe(span, "send", topic, is_tombstone));
        Some(Box::new(move |sent| span.update(|span| acknowledged(span, sent))))
    }

    fn on_processed(&self, batch: ProcessedBatch<'_>) {
        let Some(tracer) = &self.0 else { return };
        // The handler gets the records after a failure again.
        let retried = batch.outcome.retry_from.as_ref().map_or(usize::MAX, |retry| retry.index);
        for (index, record) in batch.records.iter().enumerate().take_while(|(index, _)| *index <= retried) {
            let parent = context_of(record);
            let context = tracer.next(parent.as_ref());
            if context.is_sampled() {
                tracer.ended(processed(&batch, (index, record), (&context, parent.as_ref())));
            }
        }
    }
}

/// The span of a processed record. It is below the record's sender and also has a link to it: tools follow links from a
/// batch, or from a trace of its own for the processing.
fn processed(
    batch: &ProcessedBatch<'_>,
    (index, record): (usize, &Record),
    (context, parent): (&TraceContext, Option<&TraceContext>),
) -> Span {
    let mut span = Span::new(Kind::Consumer, format!("process {}", batch.topic), context, parent);
    span.start = span.end - batch.took;
    span.links = parent.into_iter().map(Into::into).collect();
    describe(&mut span, "process", batch.topic, record.value.is_none());
    span.set("messaging.consumer.group.name", batch.group);
    span.set("messaging.destination.partition.id", record.partition.to_string());
    span.set("messaging.kafka.offset", record.offset);
    let BatchOutcome { poison, retry_from, .. } = batch.outcome;
    let poison = poison.iter().find(|poison| poison.index == index);
    let failure = match retry_from.as_ref().filter(|retry| retry.index == index) {
        Some(retry) => Some(("retry", retry.error.to_string())),
        // The reason quotes the record. The dead letter has it.
        None => poison.map(|_| ("dead_letter", String::new())),
    };
    if let Some((kind, reason)) = failure {
        span.set("error.type", kind);
        span.status = Some(Status::error(&reason));
    }
    span
}

/// Sets the attributes that spans of sending and of processing have in common.
fn describe(span: &mut Span, operation: &'static str, topic: &Arc<str>, is_tombstone: bool) {
    span.set("messaging.system", "kafka");
    span.set("messaging.operation.name", operation);
    span.set("messaging.operation.type", operation);
    span.set("messaging.destination.name", topic);
    if is_tombstone {
        span.set("messaging.kafka.message.tombstone", true);
    }
}

fn acknowledged(span: &mut Span, sent: &Result<Receipt, PublishError>) {
    match sent {
        Ok(receipt) => {
            span.set("messaging.destination.partition.id", receipt.partition.to_string());
            receipt.offset.into_iter().for_each(|offset| span.set("messaging.kafka.offset", offset));
        }
        Err(error) => {
            span.set("error.type", error.reason());
            span.status = Some(Status::error(&error.to_string()));
        }
    }
}
