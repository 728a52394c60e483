use super::*;
use crate::access::{AccessConfig, CertificateScopes};
use crate::guard::Guard;
use crate::method_names::MethodNames;
use crate::request::{MessageSizes, RequestLayer};
use std::convert::Infallible;
use std::sync::Mutex;
use tonic::body::Body;
use tower::{Layer as _, ServiceExt as _};

#[derive(Default)]
struct Told(Mutex<Vec<Refused>>);

impl RefusalObserver for Told {
    fn refused(&self, refused: Refused) {
        self.0.lock().unwrap().push(refused);
    }
}

const CHECK: &str = "/grpc.health.v1.Health/Check";
const REFLECT: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// What is told of a request, and what it is answered. The service behind the door records what it answers if it `records`.
async fn told(guard: bool, path: &str, content: &str, records: bool) -> (Vec<Refused>, Option<Code>) {
    let observer = Arc::new(Told::default());
    let certificate = CertificateScopes { name: "camera".to_owned(), scopes: vec![] };
    let access = AccessConfig { certificates: vec![certificate], ..AccessConfig::default() };
    let told = Arc::clone(&observer) as Arc<dyn RefusalObserver>;
    let layer = RequestLayer {
        methods: MethodNames::read(&[
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        ])
        .unwrap(),
        timeout: None,
        sizes: Some(MessageSizes { with_data: 100, plain: 10 }),
        admission: None,
        guard: if guard { Guard::open(&access).unwrap() } else { None },
        refusals: Refusals(Some(told)),
    };
    let service = tower::service_fn(move |_: http::Request<Body>| async move {
        let mut answer: http::Response<Body> = Status::unimplemented("").into_http();
        if records {
            answer.extensions_mut().insert(Recorded);
        }
        Ok::<_, Infallible>(answer)
    });
    let request = http::Request::builder().uri(path).header("content-type", content).body(Body::empty()).unwrap();
    let answer = layer.layer(service).oneshot(request).await.unwrap();
    let code = Status::from_header_map(answer.headers()).map(|status| status.code());
    let told = observer.0.lock().unwrap().clone();
    (told, code)
}

fn refused(method: &str, code: Code, reason: &'static str) -> Vec<Refused> {
    vec![Refused { principal: None, address: None, method: method.to_owned(), code, reason }]
}

#[tokio::test]
async fn what_does_not_reach_a_service_is_told() {
    const GRPC: &str = "application/grpc";
    for (guard, path, content, expected) in [
        (
            true,
            REFLECT,
            GRPC,
            refused("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Code::Unauthenticated, "missing"),
        ),
        (true, "/any/Path?of=theirs", GRPC, refused("unknown", Code::Unauthenticated, "missing")),
        (false, CHECK, "text/html", refused("grpc.health.v1.Health/Check", Code::InvalidArgument, CONTENT)),
        (false, "/any/Path?of=theirs", GRPC, refused("unknown", Code::Unimplemented, NO_METHOD)),
        // What a method answers is no refusal at the door.
        (false, REFLECT, GRPC, vec![]),
        (true, CHECK, GRPC, vec![]),
    ] {
        let (told, code) = told(guard, path, content, false).await;
        assert!(code.is_some_and(|code| code != Code::Ok));
        assert_eq!(told, expected, "{path} {content}");
    }
}

#[tokio::test]
async fn what_a_service_recorded_is_not_told_again() {
    let (told, code) = told(false, "/descry.search.v1.SearchService/Nothing", "application/grpc", true).await;
    assert_eq!((told, code), (vec![], Some(Code::Unimplemented)));
}
