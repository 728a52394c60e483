//! Encoding and decoding of messages for tonic, with a look at what comes in.

use crate::{Shaped, check};
use bytes::Buf as _;
use prost::Message;
use std::marker::PhantomData;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

/// tonic's codec for protocol buffers, which refuses what has not the shape that its `.proto` file allows.
#[derive(Debug)]
pub struct CheckedCodec<Outgoing, Incoming> {
    messages: PhantomData<(Outgoing, Incoming)>,
}

impl<Outgoing, Incoming> Default for CheckedCodec<Outgoing, Incoming> {
    fn default() -> Self {
        Self { messages: PhantomData }
    }
}

impl<Outgoing, Incoming> Codec for CheckedCodec<Outgoing, Incoming>
where
    Outgoing: Message + Send + 'static,
    Incoming: Message + Default + Shaped + Send + 'static,
{
    type Encode = Outgoing;
    type Decode = Incoming;
    type Encoder = ProstEncoder<Outgoing>;
    type Decoder = CheckedDecoder<Incoming>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<Outgoing, Incoming>::raw_encoder(BufferSettings::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        CheckedDecoder { message: PhantomData }
    }
}

/// Decodes one message after the other.
#[derive(Debug)]
pub struct CheckedDecoder<Incoming> {
    message: PhantomData<Incoming>,
}

impl<Incoming: Message + Default + Shaped> Decoder for CheckedDecoder<Incoming> {
    type Item = Incoming;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Incoming>, Status> {
        let Some(shape) = Incoming::SHAPE else {
            // What a service answers: that it cannot be read is nothing its caller did.
            return Incoming::decode(buffer).map(Some).map_err(|error| Status::internal(error.to_string()));
        };
        let invalid = |error: &dyn std::error::Error| Status::invalid_argument(error.to_string());
        let length = buffer.remaining();
        // tonic gathers a message in one piece.
        if buffer.chunk().len() == length {
            check(shape, buffer.chunk()).map_err(|error| invalid(&error))?;
            return Incoming::decode(buffer).map(Some).map_err(|error| invalid(&error));
        }
        let bytes = buffer.copy_to_bytes(length);
        check(shape, &bytes).map_err(|error| invalid(&error))?;
        Incoming::decode(bytes).map(Some).map_err(|error| invalid(&error))
    }
}
