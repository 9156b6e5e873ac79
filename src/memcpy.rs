//! `memcpy` and `memmove` for the static binary. Those of musl on x86-64 copy up to seven bytes at either end one by one and
//! the rest by `rep movsq`, which takes dozens of cycles to begin: a fifth of the time of an event that is consumed.
//!
//! Most copies are short. They load everything before they store anything, and the last load overlaps the one before it, so
//! there is no loop and no case for each length. This is also why source and destination may overlap.

#![allow(unsafe_code, reason = "C's functions take pointers")]

use std::{
    arch::{asm, x86_64::__m128i},
    ptr::{read_unaligned, write_unaligned},
};

/// From this length on `rep movsb` is faster than a loop, on processors that have it for strings (ERMS).
const LONG: usize = 1024;

/// Copies bytes that do not overlap, as C's.
///
/// # Safety
///
/// `n` bytes can be read from `from` and written to `to`.
#[cfg_attr(target_env = "musl", unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    // SAFETY: the caller's.
    unsafe { copy(to, from, n) }
}

/// Copies bytes that may overlap, as C's.
///
/// # Safety
///
/// `n` bytes can be read from `from` and written to `to`.
#[cfg_attr(target_env = "musl", unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    // SAFETY: the caller's.
    unsafe { copy(to, from, n) }
}

#[inline(always)]
unsafe fn copy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    // SAFETY: each case copies at most as many bytes as there are.
    unsafe {
        match n {
            0 => {}
            1 => *to = *from,
            2..4 => both_ends::<u16>(to, from, n),
            4..8 => both_ends::<u32>(to, from, n),
            8..16 => both_ends::<u64>(to, from, n),
            16..=32 => both_ends::<__m128i>(to, from, n),
            33..=64 => both_ends::<[__m128i; 2]>(to, from, n),
            65..=128 => both_ends::<[__m128i; 4]>(to, from, n),
            // The destination begins within the source.
            _ if (to as usize).wrapping_sub(from as usize) < n => backwards(to, from, n),
            129..LONG => forwards(to, from, n),
            _ => asm!(
                "rep movsb",
                inout("rcx") n => _, inout("rdi") to => _, inout("rsi") from => _,
                options(nostack, preserves_flags)
            ),
        }
    }
    to
}

/// Copies from one to two times the size of `T`.
#[inline(always)]
unsafe fn both_ends<T>(to: *mut u8, from: *const u8, n: usize) {
    let last = n - size_of::<T>();
    // SAFETY: `n` is at least the size of `T`.
    unsafe {
        let (head, tail) = (read_unaligned(from.cast::<T>()), read_unaligned(from.add(last).cast::<T>()));
        write_unaligned(to.cast(), head);
        write_unaligned(to.add(last).cast(), tail);
    }
}

/// 64 bytes.
type Block = [__m128i; 4];
const BLOCK: usize = size_of::<Block>();

/// Copies more than a block, the first byte first.
#[inline(always)]
unsafe fn forwards(to: *mut u8, from: *const u8, n: usize) {
    let last = n - BLOCK;
    let mut at = 0;
    // SAFETY: `at` is less than `last`, at which the last block begins.
    unsafe {
        let tail = read_unaligned(from.add(last).cast::<Block>());
        while at < last {
            write_unaligned(to.add(at).cast(), read_unaligned(from.add(at).cast::<Block>()));
            at += BLOCK;
        }
        write_unaligned(to.add(last).cast(), tail);
    }
}

/// Copies more than a block, the last byte first.
#[inline(always)]
unsafe fn backwards(to: *mut u8, from: *const u8, n: usize) {
    let mut end = n;
    // SAFETY: `end` is more than a block.
    unsafe {
        let head = read_unaligned(from.cast::<Block>());
        while end > BLOCK {
            end -= BLOCK;
            write_unaligned(to.add(end).cast(), read_unaligned(from.add(end).cast::<Block>()));
        }
        write_unaligned(to.cast(), head);
    }
}
