//! A DNS server with a few TXT records, on a loopback address. It asks nobody else: what it does not have
//! does not exist.

#![allow(dead_code, reason = "each test uses its own part")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};

/// What is said of a name, whatever type was asked for.
#[derive(Debug, Clone)]
pub enum Answer {
    /// There is a TXT record with this text.
    Txt(String),
    /// There are two, with these texts.
    Two(String, String),
    /// It is another name for this one, whose TXT record has this text.
    Alias(&'static str, String),
    /// The same as [`Answer::Txt`], but only over TCP: it is too long for a datagram.
    Long(String),
    /// There is no such name.
    NoName,
    /// There is nothing of the kind.
    NoData,
    /// The server cannot say (SERVFAIL).
    Failure,
    /// Nothing, ever.
    Silence,
}

/// A running server. It ends with the test's process.
pub struct Dns {
    /// Where it listens.
    pub address: Ipv4Addr,
    /// At which port there.
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Dns {
    /// Serves these names, in lower case, with the text of each, on port 53 of an address of its own.
    ///
    /// # Panics
    /// When it may not listen there; see [`missing`].
    pub fn start(records: BTreeMap<String, String>) -> Self {
        let answers = records.into_iter().map(|(name, text)| (name, Answer::Txt(text)));
        Self::serve(bind().expect("a port 53 on loopback"), answers.collect())
    }

    /// Says this of these names, in lower case, on a port that anybody may have.
    ///
    /// # Panics
    /// When there is none.
    pub fn scripted(answers: &[(&str, Answer)]) -> Self {
        let free = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
            let listener = TcpListener::bind(socket.local_addr().ok()?).ok()?;
            Some((socket, listener))
        };
        let (socket, listener) = (0..100).find_map(|_| free()).expect("a port for UDP and TCP");
        let long = answers.iter().filter_map(|(name, answer)| match answer {
            Answer::Long(text) => Some(((*name).to_owned(), text.clone())),
            _ => None,
        });
        let long: BTreeMap<String, String> = long.collect();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let _ = client.and_then(|client| over_tcp(client, &long));
            }
        });
        let answers = answers.iter().map(|(name, answer)| ((*name).to_owned(), answer.clone()));
        Self::serve((Ipv4Addr::LOCALHOST, socket), answers.collect())
    }

    fn serve((address, socket): (Ipv4Addr, UdpSocket), answers: BTreeMap<String, Answer>) -> Self {
        let port = socket.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let memory = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut query) {
                let Some((question, name)) = question(&query[..length]) else { continue };
                let said = answers.get(&name).unwrap_or(&Answer::NoName);
                memory.lock().unwrap().push(name);
                if let Some(answer) = answer(&query[..length], question, said) {
                    let _ = socket.send_to(&answer, client);
                }
            }
        });
        Self { address, port, asked }
    }

    /// Where it listens, for a configuration that names a port.
    pub fn socket(&self) -> SocketAddr {
        (self.address, self.port).into()
    }

    /// The names asked for so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Why there can be no DNS server on port 53 here, if so.
pub fn missing() -> Option<&'static str> {
    bind().is_none().then_some("a DNS server wants root, and port 53 of a loopback address")
}

/// All of 127/8 is this machine, so another server on 127.0.0.1 or 127.0.0.53 is not in the way.
fn bind() -> Option<(Ipv4Addr, UdpSocket)> {
    let addresses = (1..=250).map(|last| Ipv4Addr::new(127, 53, 53, last));
    addresses.into_iter().find_map(|address| Some((address, UdpSocket::bind((address, 53)).ok()?)))
}

/// The question's bytes and its name in lower case (RFC 1035 section 4.1.2).
fn question(query: &[u8]) -> Option<(&[u8], String)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    Some((query.get(12..at + 4)?, labels.join(".")))
}

/// Answers questions that come with their length in front (RFC 1035 section 4.2.2).
fn over_tcp(mut client: TcpStream, long: &BTreeMap<String, String>) -> std::io::Result<()> {
    loop {
        let mut length = [0; 2];
        client.read_exact(&mut length)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        client.read_exact(&mut query)?;
        let Some((question, name)) = question(&query) else { return Ok(()) };
        let said = long.get(&name).map_or(Answer::NoName, |text| Answer::Txt(text.clone()));
        let answer = answer(&query, question, &said).unwrap_or_default();
        client.write_all(&[&u16::try_from(answer.len()).unwrap().to_be_bytes(), &answer[..]].concat())?;
    }
}

/// What is said, if anything is.
fn answer(query: &[u8], question: &[u8], said: &Answer) -> Option<Vec<u8>> {
    // It is an answer, and an authority's; 2 more means that it was cut (RFC 1035 section 4.1.1). For the
    // question's name see section 4.1.4.
    let (flags, code, records) = match said {
        Answer::Txt(text) => (0x85, 0x80, vec![record(&[0xc0, 12], 16, &pieces(text))]),
        Answer::Two(one, other) => {
            let both = [one, other].map(|text| record(&[0xc0, 12], 16, &pieces(text)));
            (0x85, 0x80, both.to_vec())
        }
        Answer::Alias(other, text) => {
            let other = name(other);
            (0x85, 0x80, vec![record(&[0xc0, 12], 5, &other), record(&other, 16, &pieces(text))])
        }
        Answer::Long(_) => (0x87, 0x80, vec![]),
        Answer::NoData => (0x85, 0x80, vec![]),
        Answer::Failure => (0x85, 0x82, vec![]),
        Answer::NoName => (0x85, 0x83, vec![]),
        Answer::Silence => return None,
    };
    let mut answer = query[..2].to_vec();
    answer.extend([flags, code, 0, 1, 0, u8::try_from(records.len()).unwrap(), 0, 0, 0, 0]);
    answer.extend(question);
    answer.extend(records.concat());
    Some(answer)
}

/// A record of this owner and type, IN, for no time.
fn record(owner: &[u8], kind: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [owner, &[0, kind, 0, 1, 0, 0, 0, 0], &length, data].concat()
}

/// A name as it stands in a message.
fn name(text: &str) -> Vec<u8> {
    let labels =
        text.split('.').map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat());
    labels.chain([vec![0]]).collect::<Vec<_>>().concat()
}

/// A text in pieces of up to 255 bytes.
fn pieces(text: &str) -> Vec<u8> {
    let pieces = text.as_bytes().chunks(255);
    pieces.flat_map(|piece| [&[u8::try_from(piece.len()).unwrap()], piece].concat()).collect()
}
