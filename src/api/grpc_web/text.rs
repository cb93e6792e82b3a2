//! Base64 as gRPC-Web clients write it: in chunks, each with its own padding, cut anywhere on the way.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// Letters that are decoded together.
const QUANTUM: usize = 4;

/// The usual alphabet, with or without padding.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The text is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Decodes text that comes piece by piece.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What does not make a quantum yet.
    rest: Vec<u8>,
}

impl Decoder {
    /// Takes a piece, and gives the bytes that are complete with it.
    ///
    /// # Errors
    /// [`Malformed`] at the first letter that cannot be, or padding out of place.
    pub fn take(&mut self, piece: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut held = std::mem::take(&mut self.rest);
        let text = if held.is_empty() {
            piece
        } else {
            held.extend_from_slice(piece);
            &held
        };
        let (whole, rest) = text.split_at(text.len() - text.len() % QUANTUM);
        self.rest = rest.to_vec();
        decoded(whole)
    }

    /// Gives the last bytes, when the text is over.
    ///
    /// # Errors
    /// [`Malformed`] when it ends with half a byte.
    pub fn finish(&mut self) -> Result<Vec<u8>, Malformed> {
        decoded(&std::mem::take(&mut self.rest))
    }
}

/// Whole quanta, or the last few letters; wherever there is padding, a chunk ends.
fn decoded(mut text: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut bytes = Vec::with_capacity(text.len() / QUANTUM * 3 + 3);
    while !text.is_empty() {
        let padding = memchr::memchr(b'=', text).unwrap_or(text.len());
        let end = text.len().min((padding / QUANTUM + 1) * QUANTUM);
        let (chunk, rest) = text.split_at(end);
        ENGINE.decode_vec(chunk, &mut bytes).map_err(|_| Malformed)?;
        text = rest;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str, piece: usize) -> Result<Vec<u8>, Malformed> {
        let (mut decoder, mut bytes) = (Decoder::default(), Vec::new());
        for piece in text.as_bytes().chunks(piece) {
            bytes.extend(decoder.take(piece)?);
        }
        bytes.extend(decoder.finish()?);
        Ok(bytes)
    }

    #[test]
    fn chunks_may_be_padded_and_cut_anywhere() {
        let cases: [(&str, Result<&[u8], Malformed>); 10] = [
            ("", Ok(b"")),
            ("AAECAw==", Ok(&[0, 1, 2, 3])),
            ("AAECAw", Ok(&[0, 1, 2, 3])),
            ("AA==AQ==AgM=", Ok(&[0, 1, 2, 3])),
            ("AAEC/+8=AAEC", Ok(&[0, 1, 2, 255, 239, 0, 1, 2])),
            ("A", Err(Malformed)),
            ("AAAAA", Err(Malformed)),
            ("====", Err(Malformed)),
            ("A=AA", Err(Malformed)),
            ("AA-_", Err(Malformed)),
        ];
        for (text, expected) in cases {
            for piece in 1..=text.len().max(1) {
                assert_eq!(
                    whole(text, piece).as_deref(),
                    expected.as_ref().map(|bytes| *bytes),
                    "{text} in {piece}"
                );
            }
        }
    }

    #[test]
    fn nothing_is_held_back_that_is_complete() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.take(b"AAECAwQ"), Ok(vec![0, 1, 2]));
        assert_eq!(decoder.take(b"="), Ok(vec![3, 4]));
    }
}
