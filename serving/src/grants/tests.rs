use super::*;
use crate::access::CertificateScopes;
use crate::standing::wall_clock_ms;
use descry_trust::{ClaimScopes, NewToken, ProviderSettings};

fn add(file: &mut TokenFile, name: &str, expires_at_ms: Option<i64>) -> Token {
    let scopes = vec!["search:lobby".parse().unwrap()];
    file.add(NewToken { name: name.to_owned(), scopes, expires_at_ms, limits: Limits::default() }, 0).unwrap()
}

fn refusal(grants: &Grants, token: &str) -> Option<Refusal> {
    grants.find(token).err()
}

#[test]
fn a_token_grants_until_it_expires_or_is_revoked() {
    let (mut file, config) = (TokenFile::empty(), AccessConfig::default());
    let valid = add(&mut file, "guard", Some(wall_clock_ms() + 1_000_000));
    let expired = add(&mut file, "guard", Some(wall_clock_ms() - 1));
    let revoked = add(&mut file, "guard", None);
    file.revoke(revoked.id(), 1).unwrap();
    let grants = Grants::default().replaced_by(&file, None, &config).unwrap();
    assert_eq!(grants.find(&valid.reveal()).unwrap().principal.name, "guard");
    let id = |token: &Token| token.id().to_owned();
    assert_eq!(refusal(&grants, &expired.reveal()), Some(Refusal::Expired(id(&expired))));
    assert_eq!(refusal(&grants, &revoked.reveal()), Some(Refusal::Revoked(id(&revoked))));
    let other = Token::generate().unwrap();
    assert_eq!(refusal(&grants, &other.reveal()), Some(Refusal::Unknown));
    let mixed = other.reveal().replace(other.id(), valid.id());
    assert_eq!(refusal(&grants, &mixed), Some(Refusal::Wrong(id(&valid))));
    assert_eq!(refusal(&grants, "descry_"), Some(Refusal::Malformed));
}

#[test]
fn what_a_changed_token_let_in_ends_and_nothing_else() {
    let (mut file, config) = (TokenFile::empty(), AccessConfig::default());
    let tokens = ["first", "second", "third"].map(|name| add(&mut file, name, None));
    let before = Grants::default().replaced_by(&file, None, &config).unwrap();
    let standing = tokens.each_ref().map(|token| before.find(&token.reveal()).unwrap().standing.clone());
    let is_over = || standing.each_ref().map(|standing| standing.ended.is_cancelled());
    file.revoke("second", 1).unwrap();
    add(&mut file, "fourth", None);
    let after = before.replaced_by(&file, None, &config).unwrap();
    assert_eq!(is_over(), [false, true, false]);
    // What one has used up stays used up.
    let kept = &after.find(&tokens[0].reveal()).unwrap().standing.allowances;
    assert!(Arc::ptr_eq(kept, &standing[0].allowances));
    after.replaced_by(&TokenFile::empty(), None, &config).unwrap();
    assert_eq!(is_over(), [true, true, true]);
}

/// A key of Ed25519, and a token that was signed with it: of alice, of the group "guards", until the year 2100.
const KEYS: &str = r#"{"keys": [
    {"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "oLOlqe7dQniuj7tqsSSC1Sui1-IUF68cEHvAqdQoVaw"}
]}"#;
const SIGNED: [&str; 3] = [
    "eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ",
    "eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJkZXNjcnkiLCJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMCwi\
     Z3JvdXBzIjpbImd1YXJkcyJdfQ",
    "lez4zuvKmNA_m8o2AYuSu7_yCaL1_5NCjb5vInWoiiUq8oCRgmgZf4dhrKA7cdHTPv_BKtHK9gNo4qhrPc3HBQ",
];

#[test]
fn a_providers_token_grants_beside_our_own() {
    let grant = ClaimScopes {
        claim: "groups".to_owned(),
        value: "guards".to_owned(),
        scopes: vec!["search:lobby".parse().unwrap()],
    };
    let settings = ProviderSettings {
        issuer: "https://id.example".to_owned(),
        audience: "descry".to_owned(),
        name_claim: "sub".to_owned(),
        grants: vec![grant],
        ..ProviderSettings::default()
    };
    let config = AccessConfig { max_requests_per_minute: 2, ..AccessConfig::default() };
    let mut file = TokenFile::empty();
    let own = add(&mut file, "guard", None);
    let provider = || Some(IdentityProvider::of(&settings, KEYS.as_bytes()).unwrap());
    let grants = Grants::default().replaced_by(&file, provider(), &config).unwrap();
    assert_eq!(grants.find(&own.reveal()).unwrap().principal.name, "guard");
    let signed = SIGNED.join(".");
    let alice = grants.find(&signed).unwrap();
    assert_eq!(alice.principal.name, "https://id.example#alice");
    assert_eq!(alice.principal.scopes[0].to_string(), "search:lobby");
    // What she has used is remembered from request to request, and when keys change.
    let again = grants.replaced_by(&file, provider(), &config).unwrap().find(&signed).unwrap();
    assert!(Arc::ptr_eq(&alice.standing.allowances, &again.standing.allowances));
    alice.standing.take_request().unwrap();
    again.standing.take_request().unwrap();
    assert!(grants.find(&signed).unwrap().standing.take_request().is_err());
    let torn = [SIGNED[0], SIGNED[1], &SIGNED[2].replace("HBQ", "HBg")].join(".");
    assert_eq!(refusal(&grants, &torn), Some(Refusal::Wrong(String::new())));
    let without = grants.replaced_by(&file, None, &config).unwrap();
    assert_eq!(refusal(&without, &signed), Some(Refusal::Malformed));
}

#[test]
fn a_certificate_is_known_by_its_name_and_stays_what_it_is() {
    let certificate =
        |name: &str| CertificateScopes { name: name.to_owned(), scopes: vec!["index:yard".parse().unwrap()] };
    let config = AccessConfig { certificates: vec![certificate("camera-7")], ..AccessConfig::default() };
    let before = Grants::default().replaced_by(&TokenFile::empty(), None, &config).unwrap();
    let grant = before.find_certificate("camera-7").unwrap();
    assert_eq!((grant.principal.name.as_str(), grant.principal.scopes.len()), ("camera-7", 1));
    for other in ["camera-8", "", "Camera-7", "*"] {
        assert_eq!(before.find_certificate(other).err(), Some(Refusal::Missing), "{other}");
    }
    let after = before.replaced_by(&TokenFile::empty(), None, &config).unwrap();
    assert!(!grant.standing.ended.is_cancelled());
    assert!(Arc::ptr_eq(&after.find_certificate("camera-7").unwrap().principal, &grant.principal));
}
