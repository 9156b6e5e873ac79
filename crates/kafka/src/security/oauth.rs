//! Tokens for OAUTHBEARER, by the client credentials grant (RFC 6749, section 4.4), as Java's
//! `OAuthBearerLoginCallbackHandler` asks for them (KIP-768).

use std::{
    fmt, str,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use highwater_net::client::{
    self, Method, Trust, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::{Credential, Secret};

/// The part of a token's validity after which another is asked for, as `sasl.login.refresh.window.factor`.
const RENEWED_AFTER: f64 = 0.8;
/// The assumed validity of a token that does not state it.
const UNSAID: Duration = Duration::from_secs(60);
/// The longest wait for an answer of the authorization server.
const PATIENCE: Duration = Duration::from_secs(5);
/// The number of attempts, and the wait before the second one, which is twice as long before the third.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);
/// The characters that `application/x-www-form-urlencoded` does not escape, beside letters and digits.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

/// A request for a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    /// The token endpoint of the authorization server.
    pub url: Url,
    /// The client's name at the server.
    pub client_id: String,
    /// The secret that proves the client's identity.
    pub client_secret: Credential,
    /// The scope of the token, as the server names it.
    pub scope: Option<String>,
    /// The extensions for brokers beside the token (KIP-342), such as a `logicalCluster`.
    pub extensions: Vec<(String, String)>,
}

/// A client of an authorization server. It keeps its token, and asks for another before that expires.
pub struct OauthBearer {
    request: TokenRequest,
    trust: Option<Trust>,
    kept: Mutex<Option<Token>>,
    /// Held by the task that asks for a token. Other tasks wait for its result.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Token {
    secret: Secret,
    renewed_at: Instant,
    ends: Instant,
}

/// The authorization server gives no token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no token from {url} for client {client_id}: {reason}")]
#[non_exhaustive]
pub struct TokenError {
    /// The token endpoint.
    pub url: String,
    /// The client that asked.
    pub client_id: String,
    /// The server's word, or the system's.
    pub reason: String,
}

/// RFC 6749, sections 5.1 and 5.2.
#[derive(Deserialize)]
struct Said {
    access_token: Option<String>,
    expires_in: Option<f64>,
    error: Option<String>,
    error_description: Option<String>,
}

impl OauthBearer {
    /// A client without a token yet. `trust` has the authorities that may certify an `https` endpoint.
    pub fn new(request: TokenRequest, trust: Option<Trust>) -> Self {
        Self { request, trust, kept: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// The client's name at the authorization server.
    pub fn client_id(&self) -> &str {
        &self.request.client_id
    }

    /// The extensions for brokers beside the token.
    pub(crate) fn extensions(&self) -> &[(String, String)] {
        &self.request.extensions
    }

    /// The remaining validity of the kept token, if there is one.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.kept().as_ref().map(|token| token.ends.saturating_duration_since(Instant::now()))
    }

    /// A token that is valid for a while. If there is no new one to be had, the last one is returned as long as it is valid.
    ///
    /// # Errors
    ///
    /// No valid token is left, and the authorization server gives no other.
    pub async fn token(&self) -> Result<Secret, TokenError> {
        if let Some(secret) = self.fresh() {
            return Ok(secret);
        }
        let _asking = self.asking.lock().await;
        if let Some(secret) = self.fresh() {
            return Ok(secret);
        }
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            match self.ask().await {
                Ok(token) => {
                    let secret = token.secret.clone();
                    *self.kept() = Some(token);
                    return Ok(secret);
                }
                Err((reason, is_passing)) => {
                    if is_passing && attempt < ATTEMPTS {
                        (attempt, pause) = (attempt + 1, pause * 2);
                        sleep(pause / 2).await;
                        continue;
                    }
                    let (url, client_id) = (self.request.url.to_string(), self.request.client_id.clone());
                    let error = TokenError { url, client_id, reason };
                    let last = self.kept().clone().filter(|token| token.ends > Instant::now());
                    let Some(last) = last else { return Err(error) };
                    log::warn!("{error}; the last one is valid for a while");
                    return Ok(last.secret);
                }
            }
        }
    }

    fn fresh(&self) -> Option<Secret> {
        let kept = self.kept();
        kept.as_ref().filter(|token| token.renewed_at > Instant::now()).map(|token| token.secret.clone())
    }

    /// Asks once. The error is the reason, and whether another attempt may soon succeed.
    async fn ask(&self) -> Result<Token, (String, bool)> {
        let TokenRequest { url, client_id, client_secret, scope, .. } = &self.request;
        let secret = client_secret.current();
        // RFC 6749, section 2.3.1: both are encoded before they are joined.
        let user = format!("{}:{}", form_encoded(client_id), form_encoded(secret.reveal()));
        let mut basic = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(user)))
            .map_err(|error| (error.to_string(), false))?;
        basic.set_sensitive(true);
        let mut form = "grant_type=client_credentials".to_owned();
        if let Some(scope) = scope {
            form.push_str("&scope=");
            form.push_str(&form_encoded(scope));
        }
        let headers = [
            (ACCEPT, HeaderValue::from_static("application/json")),
            (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
            (AUTHORIZATION, basic),
        ];
        let asked = Instant::now();
        let answer =
            client::send(Method::POST, url, &headers, Bytes::from(form), self.trust.as_ref(), PATIENCE);
        let answer = answer.await.map_err(|error| (error.to_string(), true))?;
        let said: Option<Said> = serde_json::from_slice(&answer.body).ok();
        let status = answer.status;
        match said {
            Some(Said { access_token: Some(token), expires_in, .. })
                if status.is_success() && is_bearer(&token) =>
            {
                let valid = expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                let valid = valid.or_else(|| valid_by_itself(&token)).unwrap_or(UNSAID);
                let secret = Secret::new(token);
                Ok(Token { secret, renewed_at: asked + valid.mul_f64(RENEWED_AFTER), ends: asked + valid })
            }
            Some(Said { error: Some(error), error_description, .. }) => {
                let about = error_description.map(|about| format!(": {about}")).unwrap_or_default();
                Err((format!("{status}: {error}{about}"), status.is_server_error()))
            }
            _ if status.is_success() => Err(("the answer has no access_token".to_owned(), false)),
            _ => Err((status.to_string(), status.is_server_error())),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Option<Token>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn form_encoded(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string().replace("%20", "+")
}

/// `b64token` (RFC 6750, section 2.1): the characters that the message to a broker can hold.
fn is_bearer(token: &str) -> bool {
    let is_of_one = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    !token.is_empty() && token.bytes().all(is_of_one)
}

/// The remaining validity of a JWT by its `exp`; `None` for any other token.
fn valid_by_itself(token: &str) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(Duration::try_from_secs_f64(exp).ok()?.saturating_sub(now))
}

/// Equal if they are the same client.
impl PartialEq for OauthBearer {
    fn eq(&self, other: &Self) -> bool {
        self.request == other.request
    }
}

impl Eq for OauthBearer {}

impl fmt::Debug for OauthBearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthBearer").field("request", &self.request).finish_non_exhaustive()
    }
}
