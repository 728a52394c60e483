//! The shape that both services share: a table of what is served and what is refused.

use tonic::Status;

/// Implements a generated service trait. Served methods call the method of the same name on the type itself, which
/// takes and returns plain messages; refused ones answer `UNIMPLEMENTED` with their name. The type has `faults`, which
/// every request meets first.
macro_rules! implement_service {
    (
        $service:path, for $type:ident,
        served: [$($served:ident($served_request:ident) -> $served_reply:ident),* $(,)?],
        refused: [$($refused:ident($refused_request:ident) -> $refused_reply:ident),* $(,)?] $(,)?
    ) => {
        #[tonic::async_trait]
        impl $service for $type {
            $(
                async fn $served(
                    &self,
                    request: tonic::Request<qdrant_client::qdrant::$served_request>,
                ) -> Result<tonic::Response<qdrant_client::qdrant::$served_reply>, tonic::Status> {
                    self.faults.meet(stringify!($type), stringify!($served)).await?;
                    let answer = $type::$served(self, request.into_inner())?;
                    self.faults.note_answer(prost::Message::encoded_len(&answer));
                    Ok(tonic::Response::new(answer))
                }
            )*
            $(
                async fn $refused(
                    &self,
                    _request: tonic::Request<qdrant_client::qdrant::$refused_request>,
                ) -> Result<tonic::Response<qdrant_client::qdrant::$refused_reply>, tonic::Status> {
                    self.faults.meet(stringify!($type), stringify!($refused)).await?;
                    Err(tonic::Status::unimplemented(concat!("the test server has no ", stringify!($refused))))
                }
            )*
        }
    };
}
pub(crate) use implement_service;

/// Refuses what is left of a request after the known fields were taken out: ignoring a field would be a lie.
pub(crate) fn refuse_unknown_fields<Message: Default + PartialEq>(name: &str, rest: &Message) -> Result<(), Status> {
    if *rest == Message::default() {
        return Ok(());
    }
    Err(Status::unimplemented(format!("the test server does not know all fields of this {name} request")))
}
