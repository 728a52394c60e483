use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

/// A provider's keys, one of each kind that ring makes.
struct Signer {
    ed25519: Ed25519KeyPair,
    p256: EcdsaKeyPair,
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self {
            ed25519: Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).unwrap(),
            p256: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, p256.as_ref(), &random).unwrap(),
        }
    }

    /// The public ones.
    fn keys(&self) -> Vec<u8> {
        let point = self.p256.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        let set = json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "x": encoded(self.ed25519.public_key())},
            {"kty": "EC", "crv": "P-256", "kid": "ec", "x": encoded(x), "y": encoded(y)},
            {"kty": "OKP", "crv": "X25519", "kid": "other", "x": encoded([7; 32])},
            {"kty": "oct", "kid": "secret", "k": encoded("a secret")},
        ]});
        serde_json::to_vec(&set).unwrap()
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let signature = match header["alg"].as_str() {
            Some("ES256") => self.p256.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
            _ => self.ed25519.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", encoded(signature))
    }
}

fn settings() -> ProviderSettings {
    let grant = |claim: &str, value: &str, scopes: &[&str]| ClaimScopes {
        claim: claim.to_owned(),
        value: value.to_owned(),
        scopes: scopes.iter().map(|scope| scope.parse().unwrap()).collect(),
    };
    ProviderSettings {
        issuer: "https://id.example".to_owned(),
        audience: "descry".to_owned(),
        keys_file: PathBuf::from("keys.json"),
        name_claim: "sub".to_owned(),
        grants: vec![
            grant("groups", "guards", &["search:lobby", "search:yard"]),
            grant("realm_access.roles", "importer", &["index:*", "search:lobby"]),
            grant("scope", "descry.admin", &["admin"]),
        ],
    }
}

fn claims() -> Value {
    json!({"iss": "https://id.example", "aud": ["other", "descry"], "sub": "alice", "exp": now_s() + 600})
}

fn with(changes: &Value) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    claims
}

fn ed() -> Value {
    json!({"alg": "EdDSA", "kid": "ed", "typ": "JWT"})
}

#[test]
fn claims_become_scopes() {
    let signer = Signer::new();
    let provider = IdentityProvider::of(&settings(), &signer.keys()).unwrap();
    let identify = |changes: Value| provider.identify(&signer.sign(&ed(), &with(&changes))).unwrap();
    let scopes = |changes: Value| {
        let Identity { principal, .. } = identify(changes);
        principal.scopes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let alice = identify(json!({}));
    assert_eq!(alice.principal.name, "https://id.example#alice");
    let left_ms = alice.expires_at_ms - i64::try_from(now_s()).unwrap() * 1_000;
    assert!((620_000..=631_000).contains(&left_ms), "{left_ms}");
    assert_eq!(scopes(json!({})), Vec::<String>::new());
    assert_eq!(scopes(json!({"groups": ["x", "guards"]})), ["search:lobby", "search:yard"]);
    assert_eq!(
        scopes(json!({"groups": "guards", "realm_access": {"roles": ["importer"]}})),
        ["search:lobby", "search:yard", "index:*"]
    );
    assert_eq!(scopes(json!({"scope": "openid descry.admin"})), ["admin"]);
    assert_eq!(scopes(json!({"scope": "openid descry.administrator", "groups": {"guards": 1}})), Vec::<String>::new());
}

#[test]
fn what_the_provider_did_not_sign_for_us_now_is_refused() {
    let (signer, other) = (Signer::new(), Signer::new());
    let provider = IdentityProvider::of(&settings(), &signer.keys()).unwrap();
    let p256 = json!({"alg": "ES256", "kid": "ec"});
    for header in [ed(), p256.clone(), json!({"alg": "ES256"})] {
        provider.identify(&signer.sign(&header, &claims())).unwrap();
        assert!(matches!(provider.identify(&other.sign(&header, &claims())), Err(TrustError::WrongToken)));
    }
    let refused = |header: &Value, claims: &Value| provider.identify(&signer.sign(header, claims)).unwrap_err();
    let expired = refused(&ed(), &with(&json!({"exp": now_s() - 60})));
    assert!(matches!(expired, TrustError::ExpiredToken), "{expired}");
    for changes in [
        json!({"iss": "https://id.example.evil"}),
        json!({"aud": "another"}),
        json!({"nbf": now_s() + 600}),
        json!({"sub": ""}),
        json!({"sub": "a\nb"}),
        json!({"sub": 5}),
        json!({"exp": null}),
    ] {
        let error = refused(&ed(), &with(&changes));
        assert!(matches!(error, TrustError::WrongToken), "{changes}: {error}");
    }
    for without in ["iss", "aud", "exp", "sub"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(without);
        assert!(matches!(refused(&ed(), &claims), TrustError::WrongToken), "{without}");
    }
    // The kind of signature is not the caller's to choose.
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "HS256", "kid": "secret"}),
        json!({"alg": "EdDSA", "kid": "ec"}),
        json!({"alg": "ES256", "kid": "ed"}),
        json!({"alg": "EdDSA", "kid": "nobody"}),
    ] {
        assert!(matches!(refused(&header, &claims()), TrustError::WrongToken), "{header}");
    }
    let token = signer.sign(&ed(), &claims());
    let (message, _) = token.rsplit_once('.').unwrap();
    for torn in [message, &format!("{message}."), &token[1..], "", "..", &format!("{token}.x")] {
        assert!(provider.identify(torn).is_err(), "{torn}");
    }
}

#[test]
fn a_provider_needs_keys_of_which_it_can_be_told() {
    for keys in ["", "{}", r#"{"keys": []}"#, r#"{"keys": [{"kty": "oct", "k": "YQ"}]}"#] {
        let error = IdentityProvider::of(&settings(), keys.as_bytes()).err().unwrap().to_string();
        assert!(error.contains("keys.json"), "{error}");
    }
    let without = ProviderSettings { audience: String::new(), ..settings() };
    assert!(IdentityProvider::of(&without, &Signer::new().keys()).is_err());
}
