//! Server-sent events, from bytes that may be split anywhere.
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>

use memchr::memchr2;

/// The longest event that is taken, in bytes; a line cannot be longer either.
pub(super) const EVENT_LIMIT_BYTES: usize = 8 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    /// The event's name; empty when it has none.
    pub(super) name: &'a [u8],
    /// Its data lines, joined by line feeds. Not necessarily UTF-8.
    pub(super) data: &'a [u8],
}

/// An event longer than [`EVENT_LIMIT_BYTES`].
#[derive(Debug, thiserror::Error)]
#[error("an event of the stream is longer than {EVENT_LIMIT_BYTES} bytes")]
pub(super) struct TooLong;

/// Cuts a byte stream into events.
#[derive(Clone, Debug, Default)]
pub(super) struct Decoder {
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    name: Vec<u8>,
    /// The data of the event so far, each line with a line feed behind it.
    data: Vec<u8>,
    /// The last piece ended in a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    /// The first line is over, and with it the place where a byte order mark may stand.
    begun: bool,
}

impl Decoder {
    /// Takes the next bytes and hands out every event that they complete.
    ///
    /// # Errors
    /// [`TooLong`], or what `on_event` gives; the decoder is of no use any more then.
    pub(super) fn feed<E: From<TooLong>>(
        &mut self,
        mut bytes: &[u8],
        mut on_event: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.after_return && bytes[0] == b'\n' {
            bytes = &bytes[1..];
        }
        self.after_return = false;
        while let Some(end) = memchr2(b'\n', b'\r', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = match (bytes[end], rest.first()) {
                (b'\r', Some(b'\n')) => &rest[1..],
                (b'\r', None) => {
                    self.after_return = true;
                    rest
                }
                _ => rest,
            };
            if self.partial.is_empty() {
                self.line(line, &mut on_event)?;
            } else {
                self.check(line.len())?;
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.line(&whole, &mut on_event)?;
                whole.clear();
                self.partial = whole;
            }
        }
        self.check(bytes.len())?;
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    /// Says that the stream is over. An event without the blank line behind it counts, unlike in a browser:
    /// servers forget that line, and a cut is found out by the JSON that does not parse.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    pub(super) fn finish<E: From<TooLong>>(
        &mut self,
        on_event: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.after_return = false;
        self.feed(b"\n\n", on_event)
    }

    fn check(&self, more: usize) -> Result<(), TooLong> {
        if self.partial.len() + self.data.len() + more > EVENT_LIMIT_BYTES {
            return Err(TooLong);
        }
        Ok(())
    }

    fn line<E: From<TooLong>>(
        &mut self,
        mut line: &[u8],
        on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.begun {
            self.begun = true;
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            return self.dispatch(on_event);
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &line[line.len()..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if self.data.len() + value.len() > EVENT_LIMIT_BYTES {
                    return Err(TooLong.into());
                }
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            // No field of server-sent events: llama.cpp's servers wrote errors so before late 2025.
            b"error" => {
                self.name = b"error".to_vec();
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            // Comments have an empty field name; ids and retry times mean nothing for one answer.
            _ => {}
        }
        Ok(())
    }

    fn dispatch<E>(&mut self, on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let outcome = match self.data.split_last() {
            Some((_, data)) => on_event(Event {
                name: &self.name,
                data,
            }),
            None => Ok(()),
        };
        self.name.clear();
        self.data.clear();
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Events = Vec<(String, String)>;

    fn decode(pieces: &[&[u8]]) -> Result<Events, TooLong> {
        let mut decoder = Decoder::default();
        let mut events = Events::new();
        let mut keep = |event: Event<'_>| {
            events.push((
                String::from_utf8_lossy(event.name).into_owned(),
                String::from_utf8_lossy(event.data).into_owned(),
            ));
            Ok::<_, TooLong>(())
        };
        for piece in pieces {
            decoder.feed(piece, &mut keep)?;
        }
        decoder.finish(&mut keep)?;
        Ok(events)
    }

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_split() {
        let table: &[(&str, &[(&str, &str)])] = &[
            ("data: a\n\ndata: b\n\n", &[("", "a"), ("", "b")]),
            ("data:a\r\n\r\ndata:b\r\n\r\n", &[("", "a"), ("", "b")]),
            ("data: a\r\rdata: b\r\r", &[("", "a"), ("", "b")]),
            ("\u{feff}data: a\n\n", &[("", "a")]),
            ("event: x\ndata: a\n\ndata: b\n\n", &[("x", "a"), ("", "b")]),
            ("data: a\ndata\ndata:  b\n\n", &[("", "a\n\n b")]),
            (": hello\n\n:\ndata: a\n\nid: 7\nretry: 1\n\n", &[("", "a")]),
            ("event: only\n\ndata: a\n\n", &[("", "a")]),
            ("data: no end", &[("", "no end")]),
            ("data: one end\n", &[("", "one end")]),
            ("data: é☃\n\n", &[("", "é☃")]),
            ("nonsense\n\n\n\n", &[]),
            ("", &[]),
        ];
        for (text, expected) in table {
            let bytes = text.as_bytes();
            let expected: Events = expected
                .iter()
                .map(|(name, data)| ((*name).to_owned(), (*data).to_owned()))
                .collect();
            for at in 0..=bytes.len() {
                let (head, tail) = bytes.split_at(at);
                assert_eq!(decode(&[head, tail]).unwrap(), expected, "{text:?} at {at}");
            }
            let singles: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(decode(&singles).unwrap(), expected, "{text:?} byte by byte");
        }
    }

    #[test]
    fn an_endless_line_or_event_is_an_error() {
        let line = vec![b'x'; 1 << 20];
        let mut decoder = Decoder::default();
        let fed = (0..9).try_for_each(|_| decoder.feed(&line, |_| Ok::<_, TooLong>(())));
        assert!(fed.is_err());

        let mut data = b"data: ".to_vec();
        data.extend_from_slice(&line);
        data.push(b'\n');
        let mut decoder = Decoder::default();
        let fed = (0..9).try_for_each(|_| decoder.feed(&data, |_| Ok::<_, TooLong>(())));
        assert!(fed.is_err());
    }
}
