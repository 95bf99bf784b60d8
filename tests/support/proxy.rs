//! A TCP proxy that spoils one command of a dialogue, for faults between privacyd and a real server. It
//! knows lines, and of the protocols only where an answer ends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What happens to a command.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// It never arrives, and the connection is gone.
    Cut,
    /// It is carried out; the answer is lost with the connection.
    CutAfter,
    /// It is carried out; a few bytes of the answer come, and then the connection is gone.
    Torn,
    /// It never arrives, and the line is dead, which nobody is told.
    Stall,
    /// It is carried out, and the line is dead from there on, which nobody is told.
    BlackHole,
    /// The answer comes one byte at a time.
    Slow,
    /// It never arrives; this is answered, with `$1` for the command's first word.
    Say(&'static str),
    /// The same, and then the connection is gone.
    SayLast(&'static str),
    /// It never arrives; this is answered again and again, without an end.
    Flood(&'static str),
}

/// A proxy in front of a server. Its threads end with the test process.
pub struct Proxy {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    plan: Mutex<Option<Plan>>,
    fired: AtomicUsize,
    connections: AtomicUsize,
    bytes: AtomicUsize,
}

struct Plan {
    /// Part of the command's line; behind a '^' its beginning.
    at: &'static str,
    /// Such lines that pass before it.
    before: usize,
    fault: Fault,
    /// How often it happens.
    times: usize,
}

/// What becomes of what the server says.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Open,
    Slow,
    Torn,
    Dead,
    /// Nothing gets through; closed once a whole answer has come, of a command with a tag or without.
    ClosedAfter {
        tagged: bool,
    },
}

impl Proxy {
    /// A proxy that passes everything on.
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let carried = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                carried.connections.fetch_add(1, Ordering::Relaxed);
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let shared = Arc::clone(&carried);
                thread::spawn(move || carry(client, server, &shared));
            }
        });
        Self { port, shared }
    }

    /// Spoils the next line that holds `at`, or begins so if there is a '^' before it, after `before` of them
    /// have passed, so many `times`.
    pub fn spoil(&self, at: &'static str, before: usize, fault: Fault, times: usize) {
        *self.shared.plan.lock().unwrap() = Some(Plan { at, before, fault, times });
        self.shared.fired.store(0, Ordering::SeqCst);
    }

    /// How often a fault has happened since it was planned.
    pub fn fired(&self) -> usize {
        self.shared.fired.load(Ordering::SeqCst)
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Bytes from the server so far.
    pub fn bytes(&self) -> usize {
        self.shared.bytes.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn fault_for(&self, line: &[u8]) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap();
        let Plan { at, before, fault, times } = plan.as_mut()?;
        let is_it = match at.strip_prefix('^') {
            Some(beginning) => line.starts_with(beginning.as_bytes()),
            None => line.windows(at.len()).any(|part| part == at.as_bytes()),
        };
        if *times == 0 || !is_it {
            return None;
        }
        if *before > 0 {
            *before -= 1;
            return None;
        }
        *times -= 1;
        Some(*fault)
    }
}

fn carry(client: TcpStream, mut server: TcpStream, shared: &Arc<Shared>) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let way = Arc::new(Mutex::new(Way::Open));
    let answers = {
        let (server, client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let (way, shared) = (Arc::clone(&way), Arc::clone(shared));
        thread::spawn(move || carry_answers(server, client, &way, &shared))
    };
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut line = Vec::new();
    while *way.lock().unwrap() != Way::Dead {
        line.clear();
        if !matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
            break;
        }
        let fault = shared.fault_for(&line);
        if let Some(fault) = fault {
            spoil(fault, &line, &client, &server, &way);
            // Only now, so that whoever waits for it finds it done.
            shared.fired.fetch_add(1, Ordering::SeqCst);
        }
        let is_passed_on =
            matches!(fault, None | Some(Fault::CutAfter | Fault::Torn | Fault::BlackHole | Fault::Slow));
        if is_passed_on && server.write_all(&line).is_err() {
            break;
        }
    }
    if *way.lock().unwrap() == Way::Dead {
        // Nobody is told anything until the client gives up.
        while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
            line.clear();
        }
    }
    let _ = server.shutdown(Shutdown::Both);
    let _ = answers.join();
    let _ = client.shutdown(Shutdown::Both);
}

fn spoil(fault: Fault, line: &[u8], mut client: &TcpStream, server: &TcpStream, way: &Mutex<Way>) {
    let tag = String::from_utf8_lossy(line).split(' ').next().unwrap_or_default().trim_end().to_owned();
    let close = || {
        let _ = server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
    };
    match fault {
        Fault::Cut => close(),
        Fault::CutAfter => {
            let tagged = tag.starts_with('t');
            *way.lock().unwrap() = Way::ClosedAfter { tagged };
        }
        Fault::Torn => *way.lock().unwrap() = Way::Torn,
        Fault::Stall | Fault::BlackHole => *way.lock().unwrap() = Way::Dead,
        Fault::Slow => *way.lock().unwrap() = Way::Slow,
        Fault::Say(text) | Fault::SayLast(text) => {
            let _ = client.write_all(text.replace("$1", &tag).as_bytes());
            if matches!(fault, Fault::SayLast(_)) {
                close();
            }
        }
        Fault::Flood(text) => {
            // Ends when the client closes, which it must.
            while client.write_all(text.as_bytes()).is_ok() {}
            close();
        }
    }
}

fn carry_answers(mut server: TcpStream, mut client: TcpStream, way: &Mutex<Way>, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    let mut swallowed = Vec::new();
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        shared.bytes.fetch_add(length, Ordering::Relaxed);
        let bytes = &buffer[..length];
        let way = *way.lock().unwrap();
        let passed = match way {
            Way::Open => client.write_all(bytes),
            Way::Slow => bytes.chunks(1).try_for_each(|byte| {
                thread::sleep(Duration::from_micros(500));
                client.write_all(byte)
            }),
            Way::Dead => Ok(()),
            Way::Torn => {
                let _ = client.write_all(&bytes[..length.min(5)]);
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            Way::ClosedAfter { tagged } => {
                swallowed.extend_from_slice(bytes);
                match is_whole(&swallowed, tagged) {
                    true => Err(std::io::ErrorKind::BrokenPipe.into()),
                    false => Ok(()),
                }
            }
        };
        if passed.is_err() {
            break;
        }
    }
    if *way.lock().unwrap() != Way::Dead {
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }
}

/// Whether an answer has come to its end: IMAP's by a tag or a "+", SMTP's by a code with a space behind it.
fn is_whole(bytes: &[u8], tagged: bool) -> bool {
    bytes.ends_with(b"\n")
        && bytes.split(|byte| *byte == b'\n').any(|line| match tagged {
            true => line.starts_with(b"t") || line.starts_with(b"+"),
            false => line.get(3) == Some(&b' '),
        })
}
