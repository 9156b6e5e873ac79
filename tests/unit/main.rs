//! Pieces, no sockets. One module a room; all in one binary, so that it links once.

mod messaging;
mod rest;
