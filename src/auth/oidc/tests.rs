//! Tokens against an issuer that runs in the test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Long enough for a machine with other things to do, and short enough to wait for.
const SHORT: Duration = Duration::from_millis(300);

/// An issuer on this machine, and what it answers.
struct Id {
    address: SocketAddr,
    answers: Arc<Mutex<Answers>>,
}

#[derive(Default)]
struct Answers {
    keys: Vec<Value>,
    /// Instead of what it should say.
    about: Option<String>,
    silent: bool,
    asked: usize,
}

impl Id {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, answers) = (listener.local_addr().unwrap(), Arc::<Mutex<Answers>>::default());
        let shared = Arc::clone(&answers);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let answers = Arc::clone(&shared);
                tokio::spawn(async move {
                    let mut asked = vec![0; 4096];
                    let read = socket.read(&mut asked).await.unwrap();
                    let asked = String::from_utf8_lossy(&asked[..read]).into_owned();
                    let answer = answers.lock().unwrap().to(&asked, address);
                    let Some(answer) = answer else { return std::future::pending().await };
                    socket.write_all(answer.as_bytes()).await.unwrap();
                });
            }
        });
        Self { address, answers }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn has(&self, keys: &[&Signer]) {
        self.answers.lock().unwrap().keys = keys.iter().map(|key| key.public.clone()).collect();
    }

    fn asked(&self) -> usize {
        self.answers.lock().unwrap().asked
    }
}

impl Answers {
    fn to(&mut self, request: &str, address: SocketAddr) -> Option<String> {
        self.asked += 1;
        let about = json!({ "issuer": format!("http://{address}"), "jwks_uri": format!("http://{address}/keys") });
        let body = match request.split(' ').nth(1).unwrap() {
            _ if self.silent => return None,
            "/.well-known/openid-configuration" => self.about.clone().unwrap_or_else(|| about.to_string()),
            "/keys" => json!({ "keys": self.keys }).to_string(),
            _ => return Some("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned()),
        };
        Some(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()))
    }
}

/// A key pair, and what of it the issuer shows.
struct Signer {
    pair: Ed25519KeyPair,
    public: Value,
}

impl Signer {
    fn new(id: &str) -> Self {
        let bytes = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(bytes.as_ref()).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key());
        let public = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": id, "use": "sig", "alg": "EdDSA" });
        Self { pair, public }
    }

    fn header(&self) -> Value {
        json!({ "alg": "EdDSA", "kid": self.public["kid"], "typ": "JWT" })
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims(issuer: &str) -> Value {
    json!({ "iss": issuer, "aud": "polder", "sub": "jo", "exp": now() + 600, "iat": now(), "groups": ["analysts", "x"] })
}

/// A mesh with the identity providers `a`, `b`, …
fn mesh(issuers: &[&str]) -> Arc<Served> {
    let mut text = "mesh: m\ngroups: [analysts]\nauth:\n  oidc:\n".to_owned();
    for (name, issuer) in ["a", "b", "c"].iter().zip(issuers) {
        text.push_str(&format!(
            "    - {{ name: {name}, issuer: \"{issuer}\", audience: polder, groups_allowed: [analysts] }}\n"
        ));
    }
    Served::new(Mesh::from_files(&BTreeMap::from([("mesh.yaml".to_owned(), text)])).unwrap())
}

fn providers(pause: Duration) -> Providers {
    Providers { pause, known: Mutex::default() }
}

#[tokio::test]
async fn a_token_that_its_issuer_signed_is_its_user() {
    let (id, signer) = (Id::start().await, Signer::new("1"));
    id.has(&[&signer]);
    let (served, providers) = (mesh(&[&id.url()]), providers(SHORT));
    for _ in 0..3 {
        let jo = providers.principal(&served, &signer.token(&claims(&id.url()))).await.unwrap();
        assert_eq!((jo.id.as_str(), jo.groups.into_iter().collect::<Vec<_>>()), ("a:jo", vec!["analysts".to_owned()]));
    }
    assert_eq!(id.asked(), 2, "the keys are kept");
}

#[tokio::test]
async fn a_token_by_a_curve_without_type_and_key_id_is_taken_too() {
    let id = Id::start().await;
    let random = SystemRandom::new();
    let bytes = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes.as_ref(), &random).unwrap();
    let point = pair.public_key().as_ref();
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
    id.answers.lock().unwrap().keys = vec![json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })];
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#),
        URL_SAFE_NO_PAD.encode(claims(&id.url()).to_string())
    );
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(&random, signed.as_bytes()).unwrap());
    let (served, providers) = (mesh(&[&id.url()]), providers(SHORT));
    assert!(providers.principal(&served, &format!("{signed}.{signature}")).await.is_ok());
}

#[tokio::test]
async fn a_malformed_token_is_refused() {
    let (id, signer, other) = (Id::start().await, Signer::new("1"), Signer::new("1"));
    id.has(&[&signer]);
    let (url, served, providers) = (id.url(), mesh(&[&id.url()]), providers(SHORT));
    let good = signer.token(&claims(&url));
    assert!(providers.principal(&served, &good).await.is_ok());
    let (head, body) = (signer.header().to_string(), claims(&url).to_string());
    let parts: Vec<&str> = good.split('.').collect();
    let headed = |name: &str, value: Value| {
        let mut header = signer.header();
        header[name] = value;
        signer.sign(&header.to_string(), &body)
    };
    let claimed = |name: &str, value: Value| {
        let mut claims = claims(&url);
        claims[name] = value;
        signer.token(&claims)
    };
    let mut last = parts[2].to_owned();
    // The last letter of 64 bytes has four bits that mean nothing.
    let end = last.pop().unwrap();
    let slack = char::from(u8::try_from(end).unwrap() + 1);
    let malformed = [
        String::from("."),
        String::from(".."),
        String::from("..."),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{good}."),
        format!("{good}.{}", parts[2]),
        format!(".{good}"),
        format!("{good} "),
        format!("{good}="),
        format!("{}.{}.{last}{slack}", parts[0], parts[1]),
        format!("{}.{}.{last}", parts[0], parts[1]),
        format!("{}.{}.{}", parts[1], parts[0], parts[2]),
        other.token(&claims(&url)),
        signer.sign("", &body),
        signer.sign("{}", &body),
        signer.sign("[]", &body),
        signer.sign(&head, ""),
        signer.sign(&head, "{}"),
        signer.sign(&head, "[]"),
        signer.sign(&head, "\"jo\""),
        signer.sign(&head, &body.replacen('{', "{\"sub\":\"root\",", 1)),
        signer.sign(&head.replacen('{', "{\"alg\":\"none\",", 1), &body),
        signer.sign(&head, &format!("{body}{body}")),
        signer.sign(&head, &body.replace("\"jo\"", "\"\u{0}\"")),
        headed("alg", json!("none")),
        headed("alg", json!("None")),
        headed("alg", json!("HS256")),
        headed("alg", json!("ES256")),
        headed("alg", json!("RS256")),
        headed("alg", json!("eddsa")),
        headed("alg", Value::Null),
        headed("alg", json!(["EdDSA"])),
        headed("kid", json!("2")),
        headed("kid", json!(1)),
        headed("typ", json!("logout+jwt")),
        headed("crit", json!(["exp"])),
        headed("crit", json!([])),
        headed("b64", json!(false)),
        headed("jwk", other.public.clone()),
        headed("jku", json!(format!("{url}/keys"))),
        claimed("iss", json!("https://elsewhere.example")),
        claimed("iss", json!(format!("{url}/"))),
        claimed("iss", json!([url])),
        claimed("iss", Value::Null),
        claimed("exp", json!(now() - 1)),
        claimed("exp", Value::Null),
        claimed("exp", json!("9999999999")),
        claimed("nbf", json!(now() + 3600)),
        claimed("aud", json!("others")),
        claimed("aud", Value::Null),
        claimed("sub", Value::Null),
        claimed("pad", json!("x".repeat(16 * 1024))),
        // Without a signature, in the name of an algorithm that has none.
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), parts[1]),
    ];
    for (at, token) in malformed.iter().enumerate() {
        let refused = providers.principal(&served, token).await;
        assert!(matches!(refused, Err(Refusal::Invalid(_))), "{at}: {refused:?} {token:.120}");
    }
    assert!(malformed.len() >= 30);
}

#[tokio::test]
async fn each_byte_of_a_token_counts() {
    let (id, signer) = (Id::start().await, Signer::new("1"));
    id.has(&[&signer]);
    // A pause that does not end: keys that nobody has are not asked for each time.
    let (served, providers) = (mesh(&[&id.url()]), providers(Duration::from_secs(60)));
    let good = signer.token(&claims(&id.url()));
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] ^= 1;
        let flipped = String::from_utf8(bytes).unwrap();
        let refused = providers.principal(&served, &flipped).await;
        assert!(matches!(refused, Err(Refusal::Invalid(_))), "byte {at}: {refused:?}");
    }
    assert!(providers.principal(&served, &good).await.is_ok());
}

#[tokio::test]
async fn a_key_of_one_issuer_never_speaks_for_another() {
    let (a, b) = (Id::start().await, Id::start().await);
    let (of_a, of_b) = (Signer::new("1"), Signer::new("1"));
    a.has(&[&of_a]);
    b.has(&[&of_b]);
    let (served, providers) = (mesh(&[&a.url(), &b.url()]), providers(SHORT));
    assert_eq!(providers.principal(&served, &of_b.token(&claims(&b.url()))).await.unwrap().id, "b:jo");
    let forged = providers.principal(&served, &of_b.token(&claims(&a.url()))).await;
    assert!(matches!(forged, Err(Refusal::Invalid(_))), "{forged:?}");
}

#[tokio::test]
async fn a_new_key_is_asked_for_once_and_an_old_one_is_gone() {
    let (id, old, new) = (Id::start().await, Signer::new("1"), Signer::new("2"));
    id.has(&[&old]);
    let (served, providers) = (mesh(&[&id.url()]), Arc::new(providers(SHORT)));
    let (before, after) = (old.token(&claims(&id.url())), new.token(&claims(&id.url())));
    assert!(providers.principal(&served, &before).await.is_ok());
    id.has(&[&new]);
    tokio::time::sleep(SHORT).await;
    let asked = id.asked();
    let mut at_once = Vec::new();
    for _ in 0..20 {
        let (providers, served, after) = (Arc::clone(&providers), Arc::clone(&served), after.clone());
        at_once.push(tokio::spawn(async move { providers.principal(&served, &after).await }));
    }
    for answer in at_once {
        assert_eq!(answer.await.unwrap().unwrap().id, "a:jo");
    }
    assert_eq!(id.asked(), asked + 2, "all wait for one question");
    assert!(providers.principal(&served, &before).await.is_err(), "its key was withdrawn");
}

#[tokio::test]
async fn made_up_key_ids_do_not_become_questions() {
    let (id, signer, unknown) = (Id::start().await, Signer::new("1"), Signer::new("2"));
    id.has(&[&signer]);
    let (served, providers) = (mesh(&[&id.url()]), providers(Duration::from_secs(60)));
    for _ in 0..20 {
        assert!(providers.principal(&served, &unknown.token(&claims(&id.url()))).await.is_err());
    }
    assert_eq!(id.asked(), 2);
    assert!(providers.principal(&served, &signer.token(&claims(&id.url()))).await.is_ok());
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_holds_up_nobody_else() {
    let (down, up) = (Id::start().await, Id::start().await);
    let signer = Signer::new("1");
    down.has(&[&signer]);
    up.has(&[&signer]);
    down.answers.lock().unwrap().silent = true;
    let (served, providers) = (mesh(&[&down.url(), &up.url()]), Arc::new(providers(SHORT)));
    let waiting = {
        let (providers, served, token) =
            (Arc::clone(&providers), Arc::clone(&served), signer.token(&claims(&down.url())));
        tokio::spawn(async move { providers.principal(&served, &token).await })
    };
    while down.asked() == 0 {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    assert_eq!(providers.principal(&served, &signer.token(&claims(&up.url()))).await.unwrap().id, "b:jo");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(waiting.await.unwrap(), Err(Refusal::Unreachable), "and who waits for it is told");

    // It comes back, and is asked again.
    down.answers.lock().unwrap().silent = false;
    assert_eq!(providers.principal(&served, &signer.token(&claims(&down.url()))).await.unwrap().id, "a:jo");
}

#[tokio::test]
async fn what_an_issuer_must_not_say_of_itself() {
    let signer = Signer::new("1");
    for about in [
        String::from("{}"),
        String::from("not JSON"),
        json!({ "issuer": "https://elsewhere.example", "jwks_uri": "URL/keys" }).to_string(),
        json!({ "issuer": "URL", "jwks_uri": "http://elsewhere.example/keys" }).to_string(),
        json!({ "issuer": "URL", "jwks_uri": "file:///etc/passwd" }).to_string(),
        json!({ "issuer": "URL" }).to_string(),
        json!({ "issuer": "URL", "jwks_uri": "URL/elsewhere" }).to_string(),
        json!({ "issuer": "URL", "jwks_uri": "URL/keys", "pad": "x".repeat(300_000) }).to_string(),
    ] {
        let id = Id::start().await;
        id.has(&[&signer]);
        id.answers.lock().unwrap().about = Some(about.replace("URL", &id.url()));
        let refused = providers(SHORT).principal(&mesh(&[&id.url()]), &signer.token(&claims(&id.url()))).await;
        assert_eq!(refused, Err(Refusal::Unreachable), "{about:.100}");
    }
}

#[tokio::test]
async fn an_issuer_that_is_declared_no_more_is_forgotten() {
    let (id, signer) = (Id::start().await, Signer::new("1"));
    id.has(&[&signer]);
    let (served, providers) = (mesh(&[&id.url()]), providers(SHORT));
    let token = signer.token(&claims(&id.url()));
    let jo = providers.principal(&served, &token).await.unwrap();
    assert_eq!(served.now().principal(&jo), Some(jo.clone()));
    let text = "mesh: m\nauth: {}\n".to_owned();
    served.swap(Mesh::from_files(&BTreeMap::from([("mesh.yaml".to_owned(), text)])).unwrap());
    assert!(matches!(providers.principal(&served, &token).await, Err(Refusal::Invalid(_))));
    assert_eq!(served.now().principal(&jo), None);
}
