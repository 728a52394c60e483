//! Every method of both services, as their descriptors list them: none is forgotten, because none is named here.

use super::{ALL, Tokens};
use crate::hostile_messages::Bytes;
use crate::stands::polling::until;
use descry_client::Connection;
use descry_proto::search::v1::CreateGalleryRequest;
use descry_tests::TestStack;
use descry_trust::Token;
use prost_reflect::{DescriptorPool, DynamicMessage, ExtensionDescriptor, Kind, MessageDescriptor, Value};
use prost_reflect::{MethodDescriptor, prost::Message as _};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// The marks of the `.proto` files.
struct Marks {
    needs: ExtensionDescriptor,
    names_gallery: ExtensionDescriptor,
    decided_by_item: ExtensionDescriptor,
}

impl Marks {
    fn of(pool: &DescriptorPool) -> Self {
        let extension = |name: &str| pool.get_extension_by_name(&format!("descry.access.v1.{name}")).unwrap();
        Self {
            needs: extension("needs"),
            names_gallery: extension("names_gallery"),
            decided_by_item: extension("decided_by_item"),
        }
    }

    /// What a method needs, by the name of the value.
    fn needed(&self, method: &MethodDescriptor) -> String {
        let Kind::Enum(values) = self.needs.kind() else { panic!() };
        let number = method.options().get_extension(&self.needs).as_enum_number().unwrap();
        values.get_value(number).unwrap().name().to_owned()
    }

    fn is_by_item(&self, method: &MethodDescriptor) -> bool {
        let is_by_item = |options: DynamicMessage| options.get_extension(&self.decided_by_item).as_bool() == Some(true);
        method.input().fields().any(|field| is_by_item(field.options()))
    }

    /// A request that names this gallery wherever it can name one, and else says as little as it can.
    fn request(&self, message: &MessageDescriptor, gallery: &str) -> Option<DynamicMessage> {
        let mut request = DynamicMessage::new(message.clone());
        let mut names_one = false;
        for field in message.fields() {
            let marked = field.options().get_extension(&self.names_gallery).as_bool() == Some(true);
            let mut value = marked.then(|| Value::String(gallery.to_owned()));
            if let Kind::Message(inner) = field.kind()
                && inner.full_name().starts_with("descry.")
                && inner != *message
            {
                value = self.request(&inner, gallery).map(Value::Message);
            }
            if let Some(value) = value {
                names_one = true;
                request.set_field(&field, if field.is_list() { Value::List(vec![value]) } else { value });
            }
        }
        names_one.then_some(request)
    }
}

/// A method, ready to be called.
struct Method<'marks> {
    marks: &'marks Marks,
    descriptor: MethodDescriptor,
    channel: Channel,
}

impl Method<'_> {
    async fn call(&self, gallery: &str, token: Option<&str>) -> Result<(), Status> {
        let input = self.descriptor.input();
        let request = self.marks.request(&input, gallery).unwrap_or_else(|| DynamicMessage::new(input));
        let mut request = Request::new(tokio_stream::iter([request.encode_to_vec()]));
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let path = format!("/{}/{}", self.descriptor.parent_service().full_name(), self.descriptor.name());
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        client.streaming(request, path.parse().unwrap(), Bytes).await.map(drop)
    }

    /// Calls it with a token that is not enough.
    async fn refused(&self, gallery: &str, token: &str) -> Status {
        let name = self.descriptor.full_name();
        self.call(gallery, Some(token)).await.expect_err(name)
    }

    /// Calls it with a token that is enough; that the request says too little does not matter.
    async fn allowed(&self, gallery: &str, token: &str) {
        let name = self.descriptor.full_name();
        if let Err(status) = self.call(gallery, Some(token)).await {
            let about_access = [Code::Unauthenticated, Code::PermissionDenied].contains(&status.code());
            assert!(!about_access, "{name}: {status}");
            // A generation or a watch may be missing, but not the gallery.
            assert!(!status.message().contains("no gallery named \"lobby\""), "{name}: {status}");
        }
    }
}

/// Tokens that prove nothing.
fn worthless(tokens: &Tokens) -> Vec<Option<String>> {
    let expired = tokens.add("someone", &ALL, Some(1)).reveal();
    let revoked = tokens.add("someone", &ALL, None);
    tokens.change(|file| file.revoke(revoked.id(), 1).unwrap());
    let valid = tokens.add("someone", &ALL, None);
    let other = Token::generate().unwrap();
    let wrong = other.reveal().replace(other.id(), valid.id());
    let given = [expired, revoked.reveal(), other.reveal(), wrong, "descry_".to_owned(), "x".to_owned()];
    given.into_iter().map(Some).chain([None]).collect()
}

#[tokio::test]
async fn each_is_done_for_those_who_may_and_for_nobody_else() {
    let tokens = Tokens::new();
    let worthless = worthless(&tokens);
    let all = tokens.allow(&ALL);
    let only = |scope: &str| (scope.to_owned(), tokens.allow(&[scope]));
    let of_service = ["encode", "admin", "audit"].map(only);
    let in_lobby = ["search:lobby", "index:lobby", "manage:lobby"].map(only);
    let elsewhere = tokens.allow(&["search:yard", "index:yard*", "manage:l", "encode", "admin", "audit"]);
    let (settings, encode) = (tokens.settings(), tokens.secret_file("encode", &of_service[0].1));
    let stack = TestStack::start_with(|encoder, search| {
        encoder.access = settings.clone();
        search.access = settings;
        search.encoder.token_file = encode;
    })
    .await;
    let owner = Connection::to(&stack.search_url).await.unwrap().with_token(&all).unwrap();
    let pool = DescriptorPool::decode(descry_proto::DESCRIPTOR_SET).unwrap();
    let marks = Marks::of(&pool);
    let mut called = 0;
    for descriptor in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let is_encoder = descriptor.parent_service().name() == "EncoderService";
        let url = if is_encoder { &stack.encoder_url } else { &stack.search_url };
        let channel = Channel::from_shared(url.clone()).unwrap().connect_lazy();
        let method = Method { marks: &marks, descriptor, channel };
        // Whatever the last one did to it. That there is a model to make it for, the service has asked with its own token.
        let lobby = || CreateGalleryRequest { name: "lobby".to_owned(), ..CreateGalleryRequest::default() };
        until("there is a gallery", async || owner.create_gallery(lobby()).await.ok()).await;
        called += 1;

        let mut messages = Vec::new();
        for token in &worthless {
            let status = method.call("lobby", token.as_deref()).await.unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated, "{}: {status}", method.descriptor.full_name());
            messages.push(status.message().to_owned());
        }
        messages.dedup();
        assert_eq!(messages.len(), 1, "nobody learns what is wrong with a token: {messages:?}");

        let needed = marks.needed(&method.descriptor);
        match needed.as_str() {
            "ENCODE" | "ADMIN" | "AUDIT" => {
                let scope = needed.to_lowercase();
                for (name, token) in of_service.iter().chain(&in_lobby) {
                    if *name == scope {
                        method.allowed("lobby", token).await;
                    } else {
                        assert_lacks(&method.refused("lobby", token).await, &scope);
                    }
                }
            }
            "ANYTHING" => {
                for (_, token) in of_service.iter().chain(&in_lobby) {
                    method.allowed("lobby", token).await;
                }
            }
            _ if marks.is_by_item(&method.descriptor) => {}
            verb => of_galleries(&method, verb, &in_lobby, &elsewhere).await,
        }
        method.allowed("lobby", &all).await;
    }
    assert!(called > 30, "{called}");
    stack.stop().await;
}

/// What concerns a gallery, for which there is each of the three scopes, and a token that is worth something elsewhere only.
async fn of_galleries(method: &Method<'_>, verb: &str, in_lobby: &[(String, String)], elsewhere: &str) {
    let name = method.descriptor.full_name();
    let makes = verb == "CREATE";
    let scope = format!("{}:lobby", if makes { "manage".to_owned() } else { verb.to_lowercase() });
    // A gallery that is there and one that is not are told of in the same words.
    let there = method.refused("lobby", elsewhere).await;
    let missing = method.refused("cellar", elsewhere).await;
    let expected = if makes { Code::PermissionDenied } else { Code::NotFound };
    assert_eq!((there.code(), missing.code()), (expected, expected), "{name}: {there} {missing}");
    assert_eq!(there.message().replace("lobby", "cellar"), missing.message(), "{name}");
    assert_eq!(there.details(), missing.details());
    let generation = method.refused("lobby.1", elsewhere).await;
    assert_eq!(generation.code(), expected, "{name}: {generation}");
    for (held, token) in in_lobby {
        if verb != "SIGHT" && *held != scope {
            assert_lacks(&method.refused("lobby", token).await, &scope);
            assert_lacks(&method.refused("lobby.1", token).await, &scope);
        } else if name.ends_with("DeleteGallery") {
            // Once is enough, and at the end.
        } else {
            method.allowed("lobby", token).await;
            method.allowed("lobby.7", token).await;
        }
    }
}

fn assert_lacks(status: &Status, scope: &str) {
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    assert!(status.message().contains(&format!("the scope {scope},")), "{scope}: {status}");
}
