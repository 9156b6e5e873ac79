//! Rewrites the brokers' addresses in answers to those of the proxies.
//!
//! Among the requests of an instance, Metadata and FindCoordinator have such answers.

use anyhow::{Context as _, Result};
use bytes::{Buf as _, Bytes, BytesMut};
use kafka_protocol::{
    messages::{ApiKey, FindCoordinatorResponse, MetadataResponse, ResponseHeader},
    protocol::{Decodable, Encodable, HeaderVersion},
};

/// The API and version that a request's answer is read by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    key: i16,
    version: i16,
}

impl Asked {
    pub(crate) fn of(mut request: &[u8]) -> Result<Self> {
        Ok(Self {
            key: request.try_get_i16().context("a request's key")?,
            version: request.try_get_i16().context("a request's version")?,
        })
    }
}

/// The answer as the instance is to get it. `stand_ins` are pairs: a broker's port, and the proxy's.
pub(crate) fn replace(answer: Bytes, asked: Asked, stand_ins: &[(u16, u16)]) -> Result<Bytes> {
    let stand_in = |port: &mut i32| {
        if let Some((_, proxy)) = stand_ins.iter().find(|(broker, _)| i32::from(*broker) == *port) {
            *port = i32::from(*proxy);
        }
    };
    if asked.key == ApiKey::Metadata as i16 {
        return rewrite::<MetadataResponse>(answer, asked.version, |answer| {
            answer.brokers.iter_mut().for_each(|broker| stand_in(&mut broker.port));
        });
    }
    if asked.key == ApiKey::FindCoordinator as i16 {
        return rewrite::<FindCoordinatorResponse>(answer, asked.version, |answer| {
            stand_in(&mut answer.port);
            answer.coordinators.iter_mut().for_each(|coordinator| stand_in(&mut coordinator.port));
        });
    }
    Ok(answer)
}

fn rewrite<A: Decodable + Encodable + HeaderVersion>(
    mut answer: Bytes,
    version: i16,
    change: impl FnOnce(&mut A),
) -> Result<Bytes> {
    let header = ResponseHeader::decode(&mut answer, A::header_version(version))?;
    let mut body = A::decode(&mut answer, version)?;
    change(&mut body);
    let mut rewritten = BytesMut::new();
    header.encode(&mut rewritten, A::header_version(version))?;
    body.encode(&mut rewritten, version)?;
    Ok(rewritten.freeze())
}
