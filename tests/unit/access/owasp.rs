//! The attacks of OWASP's API Security Top 10 (2023) that apply here, each by its name, and those on tokens that RFC 8725
//! tells of. Not here: API6 (sensitive business flows: there are none) and API10 (unsafe consumption of APIs), of which
//! the issuer is the only one; `tokens.rs` has what is not believed of it.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use highwater_web::{
    auth::{AuthConfig, LimitConfig, Rates, Scope},
    http::client::Request,
};
use ring::hmac;
use serde_json::json;

use super::{
    Guarded, Keyring, refused,
    tokens::{Issuer, RSA_MODULUS, Signer, claims, now, unsigned},
};
use crate::rest::service::{Service, event};

/// The status of the answer to that token, where only those of a fresh issuer with these keys are good.
async fn status(keys: &[&Signer], token: &str) -> u16 {
    let guarded = Guarded::by(Issuer::with(keys).await.auth()).await;
    guarded.get("/api/events", token).await.status
}

#[tokio::test]
async fn api1_broken_object_level_authorization_an_id_of_another_user_opens_nothing() {
    let keys = Keyring::new();
    let ann = keys.add("ann", &[Scope::ReadOwn]);
    let service = Service::new();
    let of_bob = event(1, "bob", "LOGIN");
    let path = format!("/events/processed/{}", of_bob.id());
    service.processed(of_bob).await;
    let guarded = Guarded::with(service, keys.auth(), |_| ()).await;
    assert_eq!(guarded.get(&path, &ann).await.status, 404);
    assert_eq!(guarded.get("/api/events/user/bob", &ann).await.status, 403);
    // Nor another way of writing it, nor a second parameter.
    assert_eq!(guarded.get("/api/events/user/%62ob", &ann).await.status, 403);
    assert_eq!(guarded.get("/api/events?userId=ann&userId=bob", &ann).await.status, 400);
}

#[tokio::test]
async fn api2_broken_authentication_a_token_without_a_signature_is_none() {
    let key = Signer::ed("ed");
    for header in [json!({ "alg": "none" }), json!({ "alg": "None", "kid": "ed" }), json!({ "kid": "ed" })] {
        let token = unsigned(&header, &claims(json!({})));
        assert_eq!(status(&[&key], &format!("{token}.")).await, 401);
        assert_eq!(status(&[&key], &token).await, 401);
    }
    let good = key.sign(&claims(json!({})));
    let (message, _) = good.rsplit_once('.').unwrap();
    assert_eq!(status(&[&key], &good).await, 200);
    assert_eq!(status(&[&key], &format!("{message}.")).await, 401, "its signature is cut off");
    assert_eq!(status(&[&key], &format!("{message}.{}", BASE64.encode([0; 64]))).await, 401);
}

#[tokio::test]
async fn api2_broken_authentication_a_public_key_is_no_secret_to_sign_with() {
    let key = Signer::ec("ec");
    let jwk = key.jwk();
    let rsa = BASE64.decode(RSA_MODULUS).unwrap();
    let point = BASE64.decode(jwk["x"].as_str().unwrap()).unwrap();
    for secret in [jwk.to_string().into_bytes(), point, rsa, RSA_MODULUS.as_bytes().to_vec(), Vec::new()] {
        for (algorithm, by) in [("HS256", hmac::HMAC_SHA256), ("HS512", hmac::HMAC_SHA512)] {
            let message = unsigned(&json!({ "alg": algorithm, "kid": "ec" }), &claims(json!({})));
            let signature = hmac::sign(&hmac::Key::new(by, &secret), message.as_bytes());
            let token = format!("{message}.{}", BASE64.encode(signature));
            assert_eq!(status(&[&key], &token).await, 401, "{algorithm}");
        }
    }
}

#[tokio::test]
async fn api2_broken_authentication_a_key_that_the_token_brings_or_points_to_is_not_believed() {
    let (known, own) = (Signer::ed("ed"), Signer::ed("own"));
    let elsewhere = Issuer::with(&[&own]).await;
    for more in [
        json!({ "jwk": own.jwk() }),
        json!({ "jku": format!("{}/keys", elsewhere.url()) }),
        json!({ "x5u": elsewhere.url() }),
        json!({ "kid": "../../../../dev/null" }),
        json!({ "kid": "ed' OR '1'='1" }),
        json!({ "kid": null }),
        json!({ "crit": ["exp"], "kid": "ed" }),
        json!({ "crit": [], "kid": "ed" }),
    ] {
        let mut header = own.header();
        for (name, value) in more.as_object().unwrap() {
            header[name] = value.clone();
        }
        assert_eq!(status(&[&known], &own.sign_as(&header, &claims(json!({})))).await, 401, "{more}");
    }
    let mut critical = known.header();
    critical["crit"] = json!(["made-up"]);
    assert_eq!(status(&[&known], &known.sign_as(&critical, &claims(json!({})))).await, 401);
}

#[tokio::test]
async fn api2_broken_authentication_a_token_for_another_purpose_or_changed_in_part_is_none() {
    let (key, other) = (Signer::ed("ed"), Signer::ec("ed"));
    // Another key of the same name and another algorithm.
    assert_eq!(status(&[&key], &other.sign(&claims(json!({})))).await, 401);
    let mut of_login = key.header();
    of_login["typ"] = json!("logout+jwt");
    assert_eq!(status(&[&key], &key.sign_as(&of_login, &claims(json!({})))).await, 401);
    let good = key.sign(&claims(json!({})));
    let parts: Vec<&str> = good.split('.').collect();
    let admin = BASE64.encode(claims(json!({ "scope": "admin events:read" })).to_string());
    assert_eq!(status(&[&key], &format!("{}.{admin}.{}", parts[0], parts[2])).await, 401);
    assert_eq!(status(&[&key], &format!("{good}.{}", parts[2])).await, 401);
    assert_eq!(status(&[&key], &format!("{good}=")).await, 401);
    assert_eq!(status(&[&key], &good.repeat(30)).await, 401);
    // The key signs for this issuer alone: its token for another audience is not valid here.
    let elsewhere = key.sign(&claims(json!({ "aud": "payments" })));
    assert_eq!(status(&[&key], &elsewhere).await, 401);
}

#[tokio::test]
async fn api2_broken_authentication_a_weak_key_of_an_issuer_is_not_taken() {
    // RS256 with 1024 bits.
    let modulus = concat!(
        "1HoPJ_D0QbgtL91rRGZzoWqGOAfstMA2yv3BaCuattnSUtJS4dlnR3aKxbvgLx3Pgm_ExsN2FXmfVt23KwnWlvWoGrcdpRj_92X4xT4IYtHAN-",
        "hdQTpYaqGGXO8IG5MoEwIwYV1L_bYqZOZCjdaLMSggLC1UVyOMrLU32VQkLV0",
    );
    let token = concat!(
        "eyJhbGciOiJSUzI1NiIsImtpZCI6IndlYWsifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwiYXVkIjoiaGlnaHdhdGVyIiwiZXh",
        "wIjo0MTAyNDQ0ODAwLCJzY29wZSI6ImV2ZW50czpyZWFkIn0.W23ZaZv-TffKfyLh3R0YYt6ba8yZnYALjdHNt4KWHyntNNE_Y25L6fmPFqKek",
        "TUIGjHeuegqoHkD2T9emSIzCl3n1THVXitRcDXywNV6DuMPCRVSZ9wewxglpoN0_xA1_FLeJxn4e1u00geaQIlSQNL0Lcjf_i2WT3jIqklcwOU",
    );
    let issuer = Issuer::with(&[]).await;
    issuer.adds(json!({ "kty": "RSA", "kid": "weak", "n": modulus, "e": "AQAB" }));
    let guarded = Guarded::by(issuer.auth()).await;
    assert_eq!(guarded.get("/api/events", token).await.status, 401);
}

#[tokio::test]
async fn api2_broken_authentication_a_credential_in_an_address_is_none() {
    let keys = Keyring::new();
    let key = keys.add("shop", &[Scope::Read]);
    let guarded = Guarded::by(keys.auth()).await;
    for path in ["access_token", "api_key", "key"] {
        assert_eq!(guarded.get(&format!("/api/events?{path}={key}"), "").await.status, 401);
    }
}

#[tokio::test]
async fn api3_broken_object_property_level_authorization_a_posted_user_is_the_clients_own() {
    let keys = Keyring::new();
    let ann = keys.add("ann", &[Scope::WriteOwn]);
    let guarded = Guarded::by(keys.auth()).await;
    for body in [
        json!({ "userId": "bob", "eventType": "LOGIN" }).to_string(),
        r#"{"userId":"ann","userId":"bob","eventType":"LOGIN"}"#.to_owned(),
        json!({ "userId": "ann ", "eventType": "LOGIN" }).to_string(),
        json!({ "userId": "Ann", "eventType": "LOGIN" }).to_string(),
    ] {
        let post = Request::post("/api/events", body).with("x-api-key", ann.clone());
        let status = guarded.ask(post).await.status;
        assert!([400, 403].contains(&status), "{status}");
    }
    assert!(guarded.service.sent().is_empty());
}

#[tokio::test]
async fn api4_unrestricted_resource_consumption_a_client_that_floods_is_limited_and_others_are_not() {
    let keys = Keyring::new();
    let (flood, calm) = (keys.add("flood", &[Scope::Read]), keys.add("calm", &[Scope::Read]));
    let limits = LimitConfig {
        client: Rates { requests: Some(5.try_into().unwrap()), events: None },
        ..LimitConfig::default()
    };
    let guarded = Guarded::by(AuthConfig { limits, ..keys.auth() }).await;
    let mut statuses = Vec::new();
    for _ in 0..30 {
        statuses.push(guarded.get("/api/events", &flood).await.status);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(guarded.get("/api/events", &calm).await.status, 200);
}

#[tokio::test]
async fn api5_broken_function_level_authorization_what_is_for_admins_needs_their_scope_by_any_method() {
    let keys = Keyring::new();
    let shop = keys.add("shop", &[Scope::Read, Scope::Write, Scope::ReadOwn, Scope::WriteOwn]);
    let guarded = Guarded::by(keys.auth()).await;
    for (method, path) in [
        ("GET", "/group"),
        ("HEAD", "/group"),
        ("GET", "/group/"),
        ("GET", "/metrics"),
        ("GET", "/dead-letters"),
        ("POST", "/dead-letters/redrive"),
        ("DELETE", "/dead-letters"),
    ] {
        let asked = Request::new(method, path).with("x-api-key", shop.clone());
        assert_eq!(guarded.ask(asked).await.status, 403, "{method} {path}");
    }
    // Headers that a proxy in front might take for the method or the path are not looked at.
    for name in ["x-http-method-override", "x-original-url", "x-rewrite-url"] {
        let asked = Request::get("/group").with(name, "/health").with("x-api-key", shop.clone());
        assert_eq!(guarded.ask(asked).await.status, 403, "{name}");
    }
    assert_eq!(guarded.get("/GROUP", &shop).await.status, 404);
}

#[tokio::test]
async fn api7_server_side_request_forgery_no_token_makes_the_service_ask_elsewhere() {
    let (known, own) = (Signer::ed("ed"), Signer::ed("own"));
    let victim = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", victim.local_addr().unwrap());
    let guarded = Guarded::by(Issuer::with(&[&known]).await.auth()).await;
    let mut header = own.header();
    (header["jku"], header["x5u"]) = (json!(url.clone()), json!(url.clone()));
    let token = own.sign_as(&header, &claims(json!({ "iss": url, "exp": now() + 60 })));
    assert_eq!(guarded.get("/api/events", &token).await.status, 401);
    let asked = tokio::time::timeout(std::time::Duration::from_millis(300), victim.accept()).await;
    assert!(asked.is_err(), "nobody came");
}

#[tokio::test]
async fn api8_security_misconfiguration_refusals_tell_nothing_of_what_is_inside_and_are_kept_by_no_cache() {
    let keys = Keyring::new();
    let reader = keys.add("reader", &[Scope::Read]);
    let guarded = Guarded::by(keys.auth()).await;
    for answer in [
        guarded.post("ann", "").await,
        guarded.post("ann", &reader).await,
        guarded.get("/metrics", "x").await,
    ] {
        let (problem, challenge) = refused(&answer, answer.status);
        let text = format!("{problem}{challenge}");
        assert!(!text.contains("reader") && !text.contains("kafka") && !text.contains("/tmp"), "{text}");
        assert!(answer.header("server").is_none());
    }
}

/// `routes.rs` walks those of the other services, and tries one that the table of needs forgot.
#[tokio::test]
async fn api9_improper_inventory_management_what_no_table_names_is_open_to_nobody() {
    let keys = Keyring::new();
    let all = keys.add("all", &Scope::ALL);
    let guarded = Guarded::by(keys.auth()).await;
    for path in
        ["/v1/api/events", "/api/v2/events", "/debug", "/actuator", "//api/events", "/api/events/", "/*"]
    {
        let status = guarded.get(path, "").await.status;
        // One `/` at the end makes no difference.
        assert_eq!(status, if path == "/api/events/" { 401 } else { 404 }, "{path}");
        assert_eq!(
            guarded.get(path, &all).await.status,
            if path == "/api/events/" { 200 } else { 404 },
            "{path}"
        );
    }
}
