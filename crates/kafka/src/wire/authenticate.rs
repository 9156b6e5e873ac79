//! Who a connection says it is: SaslHandshake, and SaslAuthenticate until both sides are content (KIP-152).

use bytes::Bytes;
use kafka_protocol::{
    messages::{SaslAuthenticateRequest, SaslHandshakeRequest},
    protocol::StrBytes,
};

use super::{Connection, WireError};
use crate::security::{HandshakeError, Sasl};

impl Connection {
    /// Proves who the client is; before that a broker answers nothing but ApiVersions.
    pub(super) async fn authenticate(&mut self, sasl: &Sasl) -> Result<(), WireError> {
        let mechanism = sasl.mechanism.name();
        let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
        let answer = self.call(&handshake, 1..=1).await?;
        if answer.error_code != 0 {
            let others: Vec<&str> = answer.mechanisms.iter().map(|name| name.as_str()).collect();
            let reason = format!("it does not take {mechanism}, but {}", others.join(", "));
            return Err(self.refused(sasl, reason));
        }
        let mut session = sasl.session().map_err(|reason| self.refused(sasl, reason))?;
        let mut received: Option<Bytes> = None;
        loop {
            let mut token = Vec::new();
            let state = session
                .step(received.as_deref(), &mut token)
                .map_err(|error| self.refused(sasl, format!("{mechanism} failed: {error}")))?;
            if state.has_sent_message() {
                received = Some(self.exchange_token(sasl, token).await?);
            }
            if state.is_finished() {
                return Ok(());
            }
        }
    }

    async fn exchange_token(&mut self, sasl: &Sasl, token: Vec<u8>) -> Result<Bytes, WireError> {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(token.into());
        let answer = self.call(&request, 0..=2).await?;
        let Err(error) = WireError::check("SaslAuthenticate", answer.error_code) else {
            return Ok(answer.auth_bytes);
        };
        let said = answer.error_message.filter(|said| !said.is_empty());
        Err(self.refused(sasl, said.map_or_else(|| error.to_string(), |said| said.as_str().to_owned())))
    }

    fn refused(&self, sasl: &Sasl, reason: String) -> WireError {
        let (address, user) = (self.address().to_owned(), sasl.username.clone());
        WireError::Handshake(HandshakeError::Sasl { address, user, reason })
    }
}
