//! Thrift's binary protocol, as much of it as asking for a table takes.
//!
//! ```text
//! call:  80 01 00 01  name  number  { 1: { 1: database, 2: table } }
//! reply: 80 01 00 02  name  number  { field… }   what nobody wants is passed over, not kept
//! ```
//!
//! An answer is not trusted: it has a longest length and a greatest depth, nothing is set aside for what it only announces,
//! and no answer makes this call itself.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// How deep what is passed over may be nested.
const DEPTH: usize = 32;
const VERSION: u32 = 0x8001_0000;
const CALL: u32 = 1;
const REPLY: u32 = 2;
const EXCEPTION: u32 = 3;

pub(super) const I32: u8 = 8;
pub(super) const STRING: u8 = 11;
pub(super) const STRUCT: u8 = 12;
pub(super) const MAP: u8 = 13;
const SET: u8 = 14;
const LIST: u8 = 15;
/// What a struct ends with.
const STOP: u8 = 0;

/// Why an answer was not read.
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection failed.
    Lost(io::Error),
    /// What came is no answer.
    Garbled(&'static str),
}

impl From<io::Error> for Fault {
    fn from(cause: io::Error) -> Self {
        Self::Lost(cause)
    }
}

/// What a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// To what was asked.
    Answer,
    /// That it could not be asked.
    Exception,
}

/// The call of `method` with one argument: a struct whose fields are these texts, the first one of number one.
pub(super) fn call(method: &str, number: u32, texts: &[&str]) -> Result<Vec<u8>, Fault> {
    let mut out = (VERSION | CALL).to_be_bytes().to_vec();
    text(&mut out, method)?;
    out.extend(number.to_be_bytes());
    field(&mut out, STRUCT, 1);
    for (at, value) in (1_u16..).zip(texts) {
        field(&mut out, STRING, at);
        text(&mut out, value)?;
    }
    // The struct, and the arguments.
    out.extend([STOP, STOP]);
    Ok(out)
}

fn field(out: &mut Vec<u8>, kind: u8, number: u16) {
    out.push(kind);
    out.extend(number.to_be_bytes());
}

fn text(out: &mut Vec<u8>, text: &str) -> Result<(), Fault> {
    let length = i32::try_from(text.len()).map_err(|_| Fault::Garbled("the name of the table is too long"))?;
    out.extend(length.to_be_bytes());
    out.extend(text.as_bytes());
    Ok(())
}

/// Something whose end is awaited while it is passed over.
enum Open {
    Struct,
    /// The elements of a list, or in turn the keys and the values of a map.
    Elements {
        kinds: [u8; 2],
        left: u64,
    },
}

/// An answer while it comes.
pub(super) struct Answer<R> {
    from: R,
    /// How much more of it is read.
    left: usize,
}

impl<R: AsyncRead + Unpin> Answer<R> {
    pub(super) fn new(from: R, most: usize) -> Self {
        Self { from, left: most }
    }

    fn take(&mut self, length: usize) -> Result<(), Fault> {
        self.left = self.left.checked_sub(length).ok_or(Fault::Garbled("it is longer than any that is read"))?;
        Ok(())
    }

    async fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.take(N)?;
        let mut bytes = [0; N];
        self.from.read_exact(&mut bytes).await?;
        Ok(bytes)
    }

    async fn byte(&mut self) -> Result<u8, Fault> {
        self.bytes().await.map(|[byte]| byte)
    }

    pub(super) async fn number(&mut self) -> Result<i32, Fault> {
        self.bytes().await.map(i32::from_be_bytes)
    }

    /// How long something is, or how many there are of it.
    async fn length(&mut self) -> Result<usize, Fault> {
        usize::try_from(self.number().await?).map_err(|_| Fault::Garbled("a part of it has no length"))
    }

    /// Reads on without keeping anything.
    async fn pass(&mut self, mut length: usize) -> Result<(), Fault> {
        self.take(length)?;
        let mut bytes = [0; 4096];
        while length > 0 {
            let next = bytes.get_mut(..length.min(4096)).unwrap_or_default();
            self.from.read_exact(next).await?;
            length = length.saturating_sub(4096);
        }
        Ok(())
    }

    /// A text, or nothing where it is longer than that.
    pub(super) async fn text(&mut self, most: usize) -> Result<Option<String>, Fault> {
        let length = self.length().await?;
        if length > most {
            self.pass(length).await?;
            return Ok(None);
        }
        self.take(length)?;
        let mut bytes = vec![0; length];
        self.from.read_exact(&mut bytes).await?;
        String::from_utf8(bytes).map(Some).map_err(|_| Fault::Garbled("a text in it is none"))
    }

    /// How a reply to the call with this number begins.
    pub(super) async fn begin(&mut self, number: u32) -> Result<Reply, Fault> {
        let version = u32::from_be_bytes(self.bytes().await?);
        let reply = match (version & 0xffff_0000, version & 0xff) {
            (VERSION, REPLY) => Reply::Answer,
            (VERSION, EXCEPTION) => Reply::Exception,
            // The byte that SASL refuses with.
            (0x0300_0000 | 0x0400_0000, _) => {
                return Err(Fault::Garbled(
                    "it wants its readers to log in by SASL or Kerberos, which is not done here",
                ));
            }
            _ => return Err(Fault::Garbled("it speaks another protocol")),
        };
        let length = self.length().await?;
        self.pass(length).await?;
        match u32::from_be_bytes(self.bytes().await?) == number {
            true => Ok(reply),
            false => Err(Fault::Garbled("it answers another question")),
        }
    }

    /// The kind and the number of the next field of a struct; nothing at its end.
    pub(super) async fn field(&mut self) -> Result<Option<(u8, i16)>, Fault> {
        match self.byte().await? {
            STOP => Ok(None),
            kind => Ok(Some((kind, i16::from_be_bytes(self.bytes().await?)))),
        }
    }

    /// How many pairs of texts a map has; nothing where it has others, which are passed over then.
    pub(super) async fn texts(&mut self) -> Result<Option<usize>, Fault> {
        let (kinds, length) = ([self.byte().await?, self.byte().await?], self.length().await?);
        if kinds == [STRING; 2] {
            return Ok(Some(length));
        }
        self.pass_over(Open::pairs(kinds, length)).await?;
        Ok(None)
    }

    /// Passes over a value of this kind.
    pub(super) async fn skip(&mut self, kind: u8) -> Result<(), Fault> {
        self.pass_over(Open::Elements { kinds: [kind; 2], left: 1 }).await
    }

    async fn pass_over(&mut self, first: Open) -> Result<(), Fault> {
        let mut open = vec![first];
        while let Some(inner) = open.last_mut() {
            let kind = match inner {
                Open::Struct => self.field().await?.map(|(kind, _)| kind),
                Open::Elements { left: 0, .. } => None,
                Open::Elements { kinds: [key, value], left } => {
                    *left -= 1;
                    Some(if *left % 2 == 0 { *value } else { *key })
                }
            };
            let Some(kind) = kind else {
                open.pop();
                continue;
            };
            match kind {
                // A truth value and a byte; then numbers by their lengths.
                2 | 3 => self.pass(1).await?,
                6 => self.pass(2).await?,
                I32 => self.pass(4).await?,
                4 | 10 => self.pass(8).await?,
                STRING => {
                    let length = self.length().await?;
                    self.pass(length).await?;
                }
                STRUCT => open.push(Open::Struct),
                MAP => {
                    let kinds = [self.byte().await?, self.byte().await?];
                    open.push(Open::pairs(kinds, self.length().await?));
                }
                SET | LIST => {
                    let kind = self.byte().await?;
                    let left = u64::try_from(self.length().await?).unwrap_or(u64::MAX);
                    open.push(Open::Elements { kinds: [kind; 2], left });
                }
                _ => return Err(Fault::Garbled("a part of it is of no known kind")),
            }
            if open.len() > DEPTH {
                return Err(Fault::Garbled("it is nested too deep"));
            }
        }
        Ok(())
    }
}

impl Open {
    fn pairs(kinds: [u8; 2], length: usize) -> Self {
        Self::Elements { kinds, left: u64::try_from(length).unwrap_or(u64::MAX).saturating_mul(2) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    async fn skipped(kind: u8, bytes: &[u8], most: usize) -> Result<usize, &'static str> {
        let mut answer = Answer::new(bytes, most);
        match answer.skip(kind).await {
            Ok(()) => Ok(answer.from.len()),
            Err(Fault::Garbled(what)) => Err(what),
            Err(Fault::Lost(_)) => Err("lost"),
        }
    }

    #[tokio::test]
    async fn what_nobody_wants_is_passed_over_whatever_it_is() {
        let map: &[u8] = &[MAP, 0, 1, STRING, LIST, 0, 0, 0, 1, 0, 0, 0, 1, b'k', 3, 0, 0, 0, 2, 7, 8];
        let nested = [&[2, 0, 1, 1, 4, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0][..], map, &[STOP, 99]].concat();
        assert_eq!(skipped(STRUCT, &nested, 1000).await, Ok(1));
        for (kind, length) in [(2, 1), (3, 1), (6, 2), (8, 4), (10, 8), (4, 8)] {
            assert_eq!(skipped(kind, &[1; 9], 1000).await, Ok(9 - length));
        }
        assert_eq!(skipped(MAP, &[0, 0, 0, 0, 0, 0, 9], 1000).await, Ok(1), "an empty map has elements of no kind");
    }

    #[tokio::test]
    async fn an_answer_cannot_take_more_than_it_brings() {
        assert_eq!(skipped(LIST, &[3, 0x7f, 0xff, 0xff, 0xff, 1], 1 << 20).await, Err("lost"));
        assert_eq!(skipped(LIST, &[STRUCT, 0x7f, 0xff, 0xff, 0xff], 1 << 20).await, Err("lost"));
        assert_eq!(
            skipped(STRING, &[0x7f, 0xff, 0xff, 0xff], 1 << 20).await,
            Err("it is longer than any that is read")
        );
        assert_eq!(skipped(STRING, &[0xff; 4], 1 << 20).await, Err("a part of it has no length"));
        assert_eq!(skipped(LIST, &[1, 0x7f, 0xff, 0xff, 0xff], 1 << 20).await, Err("a part of it is of no known kind"));
        assert_eq!(skipped(LIST, &[0, 0x7f, 0xff, 0xff, 0xff], 1 << 20).await, Err("a part of it is of no known kind"));
        let deep: Vec<u8> = [LIST, 0, 0, 0, 1].repeat(100_000);
        assert_eq!(skipped(LIST, &deep, 1 << 20).await, Err("it is nested too deep"));
        assert_eq!(skipped(LIST, &[3; 100], 50).await, Err("it is longer than any that is read"));
        let mut announced = Answer::new(&[0x7f, 0xff, 0xff, 0xff][..], 1 << 30);
        assert!(matches!(announced.text(1 << 10).await, Err(Fault::Garbled(_))));
    }

    #[tokio::test]
    async fn a_reply_is_one_to_the_question_in_this_protocol() {
        let begin = async |bytes: &[u8]| Answer::new(bytes, 1000).begin(7).await;
        let reply = |kind: u8, number: u8| [0x80, 1, 0, kind, 0, 0, 0, 1, b'm', 0, 0, 0, number];
        assert_eq!(begin(&reply(2, 7)).await.unwrap(), Reply::Answer);
        assert_eq!(begin(&reply(3, 7)).await.unwrap(), Reply::Exception);
        let sasl = [&[4, 0, 0, 0, 18][..], b"Invalid status -128"].concat();
        for (bytes, said) in [
            (&reply(2, 8)[..], "another question"),
            (&reply(1, 7)[..], "another protocol"),
            (&b"HTTP/1.1 400 Bad Request"[..], "another protocol"),
            (&sasl[..], "SASL"),
        ] {
            let Err(Fault::Garbled(what)) = begin(bytes).await else { unreachable!() };
            assert!(what.contains(said), "{what}");
        }
    }

    #[test]
    fn a_call_is_written_as_thrift_has_it() {
        let call = call("get_table_req", 1, &["ns", "t"]).unwrap();
        let expect: &[&[u8]] = &[
            &[0x80, 1, 0, 1, 0, 0, 0, 13],
            b"get_table_req",
            &[0, 0, 0, 1, STRUCT, 0, 1, STRING, 0, 1, 0, 0, 0, 2],
            b"ns",
            &[STRING, 0, 2, 0, 0, 0, 1],
            b"t",
            &[STOP, STOP],
        ];
        assert_eq!(call, expect.concat());
    }
}
