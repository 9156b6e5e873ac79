//! A TCP stream that reports progress to its [`ConnectionDeadlines`], and closes without losing the answer.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

use super::deadlines::ConnectionDeadlines;

/// The longest silence of a peer after the goodbye, before the socket is closed.
const QUIET: Duration = Duration::from_millis(250);
/// The longest time for which the peer may go on sending.
const LINGER: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    deadlines: Arc<ConnectionDeadlines>,
    /// Whether the peer left bytes that it did not take at once.
    blocked: bool,
    closing: Option<Closing>,
}

#[derive(Debug)]
struct Closing {
    quiet: Pin<Box<Sleep>>,
    until: Instant,
}

impl Closing {
    fn new() -> Self {
        Self { quiet: Box::pin(tokio::time::sleep(QUIET)), until: Instant::now() + LINGER }
    }
}

impl Socket {
    pub(super) fn new(stream: TcpStream, deadlines: Arc<ConnectionDeadlines>) -> Self {
        Self { stream, deadlines, blocked: false, closing: None }
    }

    /// The first byte to come, which stays to be read.
    #[cfg(feature = "tls")]
    ///
    /// # Errors
    ///
    /// No byte comes.
    pub(super) async fn first_byte(&self) -> io::Result<u8> {
        let mut first = [0];
        match self.stream.peek(&mut first).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(first[0]),
        }
    }

    fn note(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => {
                self.blocked = true;
                self.deadlines.write_blocked();
            }
            Poll::Ready(Ok(bytes)) if self.blocked => self.deadlines.wrote(*bytes),
            Poll::Ready(_) => {}
        }
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.deadlines.bytes_came();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Called when nothing more is to be written just now.
        if std::mem::take(&mut self.blocked) {
            self.deadlines.all_written();
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Ends the sending side, then reads until the peer has ended too, or is silent.
    ///
    /// A socket that is closed with unread bytes sends a reset, which can take the answer away from a client that is still
    /// sending its body: RFC 9112, section 9.6.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.closing.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        let mut scratch = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    // The clock is read here as well: under a flood, the timer might never get a turn.
                    let now = Instant::now();
                    let closing = this.closing.get_or_insert_with(Closing::new);
                    if now >= closing.until {
                        return Poll::Ready(Ok(()));
                    }
                    closing.quiet.as_mut().reset((now + QUIET).min(closing.until));
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    let closing = this.closing.get_or_insert_with(Closing::new);
                    return closing.quiet.as_mut().poll(context).map(Ok);
                }
            }
        }
    }
}
