//! How messages become bytes: as tonic's own codec does it, but from small buffers.
//!
//! tonic begins each message with 8 KiB for reading and 8 KiB for writing. Most of our messages are far smaller, and
//! thousands of streams may be open that say little: memory that is not used is not taken.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// What a buffer begins with, and how much may be written before it is sent on, in bytes.
const BUFFER_BYTES: usize = 1024;
const YIELD_THRESHOLD_BYTES: usize = 32 * 1024;

/// Protobuf with small buffers.
#[derive(Debug)]
pub struct LeanCodec<T, U> {
    types: PhantomData<(T, U)>,
}

impl<T, U> Default for LeanCodec<T, U> {
    fn default() -> Self {
        Self { types: PhantomData }
    }
}

impl<T, U> Codec for LeanCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BUFFER_BYTES, YIELD_THRESHOLD_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BUFFER_BYTES, YIELD_THRESHOLD_BYTES))
    }
}
