//! A connection with TLS: HTTP/1.1 or HTTP/2, as the client prefers (ALPN, RFC 7301).

use std::{pin::Pin, sync::Arc};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_rustls::server::TlsStream;

use super::{
    Https,
    access::Access,
    budget::{BUFFER, HTTP2, WINDOW},
    connection::{Serving, drive, serve_http1},
    handshake::{Secured, shake_hands},
    service::ConnectionContext,
    socket::Socket,
    streams::{MOST, StreamService, Streams},
    tree::Tree,
};

/// Answers a connection's requests after the handshake.
pub(super) async fn serve(https: &Https, socket: Socket, tree: Tree, mut context: ConnectionContext) {
    let secured = shake_hands(https, socket, &context.deadlines, context.stop.clone()).await;
    let Some(Secured { stream, is_http2, is_known }) = secured else { return };
    if https.knows_its_clients() && !is_known && context.access == Access::All {
        context.access = Access::Stranger;
    }
    if is_http2 {
        serve_http2(stream, tree, context).await;
    } else {
        serve_http1(stream, tree, context).await;
    }
}

/// Answers up to [`MOST`] requests at a time.
async fn serve_http2(stream: TlsStream<Socket>, tree: Tree, context: ConnectionContext) {
    if !context.deadlines.keep(HTTP2) {
        return;
    }
    context.deadlines.multiplex();
    let context = Arc::new(context);
    let streams = Streams::of(&context.deadlines);
    let service = StreamService::new(tree, Arc::clone(&context), Arc::clone(&streams));
    let mut connection = http2::Builder::new(TokioExecutor::new());
    connection
        .max_concurrent_streams(MOST)
        .max_header_list_size(BUFFER as u32)
        .max_send_buf_size(BUFFER)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    let mut connection = Box::pin(connection.serve_connection(TokioIo::new(stream), service));
    // GOAWAY tells the client what no answer tells it.
    let _ = drive(&mut connection, &context, Some(&streams)).await;
}

impl Serving for Pin<Box<http2::Connection<TokioIo<TlsStream<Socket>>, StreamService, TokioExecutor>>> {
    fn finish(&mut self) {
        self.as_mut().graceful_shutdown();
    }
}
