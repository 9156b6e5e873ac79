//! The embedded broker over TCP: asked by hand-made requests and by other clients.

mod clients;
mod failing;
mod membership;
mod protocol;
mod raw;
mod records;
