//! Decompression within a memory budget.
//!
//! A broker bounds the compressed size of a batch alone: a megabyte of zstd can become gigabytes. kafka-protocol's
//! codecs have no bound.

use std::io::Read;

use anyhow::{Context as _, bail, ensure};
use bytes::{Buf, Bytes};

/// The header of Java's snappy blocks: a name, then two versions of four bytes (`SnappyCodec` of snappy-java).
const XERIAL: &[u8] = b"\x82SNAPPY\0";
const XERIAL_SIZE: usize = XERIAL.len() + 8;
/// Three bytes of snappy make 64 at most: a block that claims more is corrupt.
const SNAPPY_MOST: usize = 22;

/// The memory that decoding may take, in bytes.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    most: usize,
    left: usize,
}

impl MemoryBudget {
    pub(super) fn new(most: usize) -> Self {
        Self { most, left: most }
    }

    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Takes that many bytes.
    ///
    /// # Errors
    ///
    /// Fewer bytes are left.
    pub(super) fn take(&mut self, bytes: usize) -> anyhow::Result<()> {
        let left = self.left.checked_sub(bytes);
        self.left = left.with_context(|| format!("unpacked it takes more than {} bytes", self.most))?;
        Ok(())
    }
}

/// Decompresses the records of a batch. `codec` is the id of `CompressionType` in Java.
pub(super) fn unpack(codec: i16, packed: Bytes, budget: &mut MemoryBudget) -> anyhow::Result<Bytes> {
    match codec {
        0 => Ok(packed),
        1 => read(flate2::read::GzDecoder::new(&packed[..]), budget).context("gzip"),
        2 => snappy(packed, budget).context("snappy"),
        3 => read(lz4::Decoder::new(&packed[..])?, budget).context("lz4"),
        4 => read(zstd::Decoder::with_buffer(&packed[..])?, budget).context("zstd"),
        unknown => bail!("its codec {unknown} is unknown"),
    }
}

fn read(unpacking: impl Read, budget: &mut MemoryBudget) -> anyhow::Result<Bytes> {
    let mut unpacked = Vec::new();
    // One byte more shows that the content does not fit.
    let most = u64::try_from(budget.left())?.saturating_add(1);
    unpacking.take(most).read_to_end(&mut unpacked)?;
    budget.take(unpacked.len())?;
    Ok(unpacked.into())
}

/// Blocks after their length, as Java frames them, or one block without a frame.
fn snappy(mut packed: Bytes, budget: &mut MemoryBudget) -> anyhow::Result<Bytes> {
    let mut unpacked = Vec::new();
    if packed.len() < XERIAL_SIZE || !packed.starts_with(XERIAL) {
        snappy_block(&packed, &mut unpacked, budget)?;
        return Ok(unpacked.into());
    }
    packed.advance(XERIAL_SIZE);
    while !packed.is_empty() {
        let length = packed.try_get_u32()? as usize;
        ensure!(length <= packed.len(), "a block of {length} bytes is cut short");
        snappy_block(&packed.split_to(length), &mut unpacked, budget)?;
    }
    Ok(unpacked.into())
}

fn snappy_block(block: &[u8], unpacked: &mut Vec<u8>, budget: &mut MemoryBudget) -> anyhow::Result<()> {
    let length = snap::raw::decompress_len(block)?;
    ensure!(length / SNAPPY_MOST <= block.len(), "a block of {} bytes promises {length}", block.len());
    budget.take(length)?;
    let start = unpacked.len();
    unpacked.resize(start + length, 0);
    snap::raw::Decoder::new().decompress(block, &mut unpacked[start..])?;
    Ok(())
}
