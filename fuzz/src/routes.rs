//! One request of any kind to the activity service.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Method, Request, StatusCode, header::HeaderName, http::HeaderValue};

use crate::service::Service;

/// A request as text: method and target, headers, a blank line, the body.
pub fn routes(data: &[u8]) {
    let Some((line, rest)) = line(data) else { return };
    let Some((method, target)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(' ')) else {
        return;
    };
    let (headers, body) = headers(rest);
    let Ok(method) = method.parse::<Method>() else { return };
    // Others are answered before the tree.
    if !target.starts_with('/') {
        return;
    }
    let request = Request::builder().method(&method).uri(target);
    let Ok(mut request) = request.body(Full::new(Bytes::copy_from_slice(body))) else { return };
    *request.headers_mut() = headers;

    let service = Service::new();
    let status = service.ask(request).status;
    // An erasure is no event.
    if method == Method::POST {
        let taken = service.taken().len();
        match status {
            StatusCode::CREATED | StatusCode::ACCEPTED => assert_eq!(taken, 1),
            // In a batch, some may be.
            StatusCode::OK | StatusCode::MULTI_STATUS | StatusCode::BAD_REQUEST => {}
            _ => assert_eq!(taken, 0, "{status}"),
        }
    }
}

fn line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    Some((&text[..end], &text[end + 1..]))
}

/// The headers of a text, up to a blank line, and what is after it. Lines that are no headers are passed over.
pub(crate) fn headers(mut text: &[u8]) -> (HeaderMap, &[u8]) {
    let mut headers = HeaderMap::new();
    while let Some((header, rest)) = line(text) {
        text = rest;
        if header.is_empty() {
            break;
        }
        let Some(colon) = header.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&header[..colon], header[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    (headers, text)
}
