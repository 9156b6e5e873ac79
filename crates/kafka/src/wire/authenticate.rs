//! SASL: SaslHandshake, then SaslAuthenticate until both sides are done (KIP-152), and again before the session ends
//! (KIP-368).

use bytes::Bytes;
use futures::future::BoxFuture;
use kafka_protocol::{
    messages::{SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest},
    protocol::StrBytes,
};

use super::{Connection, WireError};
use crate::security::{HandshakeError, Sasl, Session, SessionFault};

impl Connection {
    /// Authenticates the connection. Until then a broker answers ApiVersions alone.
    pub(super) async fn authenticate(&mut self, sasl: &Sasl) -> Result<(), WireError> {
        let mechanism = sasl.mechanism();
        let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
        let response = self.call(&handshake, 1..=1).await?;
        if response.error_code != 0 {
            let others: Vec<&str> = response.mechanisms.iter().map(|name| name.as_str()).collect();
            let reason = format!("it does not take {mechanism}, but {}", others.join(", "));
            return Err(self.refused(sasl, reason));
        }
        let mut session = sasl.session().await.map_err(|fault| match fault {
            SessionFault::Token(error) => WireError::Handshake(HandshakeError::Token(error)),
            SessionFault::Credentials(reason) => self.refused(sasl, reason),
        })?;
        let mut received: Option<Bytes> = None;
        let mut lifetime_ms = 0;
        loop {
            let mut token = Vec::new();
            let state = session
                .step(received.as_deref(), &mut token)
                .map_err(|error| self.refused(sasl, format!("{mechanism} failed: {error}")))?;
            if state.has_sent_message() {
                let response = self.exchange_token(sasl, token).await?;
                lifetime_ms = response.session_lifetime_ms;
                received = Some(response.auth_bytes);
            }
            if state.is_finished() {
                self.session = Session::begin(lifetime_ms);
                return Ok(());
            }
        }
    }

    /// Authenticates again, as the session is nearly over.
    ///
    /// Boxed, as authentication consists of requests, which renew the session themselves.
    pub(super) fn renew_session(&mut self) -> BoxFuture<'_, Result<(), WireError>> {
        Box::pin(async move {
            // The requests that follow are part of the renewal.
            self.session = None;
            let Some(sasl) = self.sasl.clone() else { return Ok(()) };
            let renewed = self.authenticate(&sasl).await;
            // The broker has ended the connection, or is about to.
            self.unusable |= renewed.is_err();
            renewed
        })
    }

    async fn exchange_token(
        &mut self,
        sasl: &Sasl,
        token: Vec<u8>,
    ) -> Result<SaslAuthenticateResponse, WireError> {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(token.into());
        let response = self.call(&request, 0..=2).await?;
        let Err(error) = WireError::check("SaslAuthenticate", response.error_code) else {
            return Ok(response);
        };
        let said = response.error_message.filter(|said| !said.is_empty());
        Err(self.refused(sasl, said.map_or_else(|| error.to_string(), |said| said.as_str().to_owned())))
    }

    fn refused(&self, sasl: &Sasl, reason: String) -> WireError {
        let (address, user) = (self.address().to_owned(), sasl.name().to_owned());
        WireError::Handshake(HandshakeError::Sasl { address, user, reason })
    }
}
