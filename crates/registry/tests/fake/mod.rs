//! A registry in this process that misbehaves as a test says, and remembers what it was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What was asked.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What is answered.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Close the connection after so many bytes of the body.
    pub cut: Option<usize>,
    /// Say nothing more after the cut, but keep the connection.
    pub hang: bool,
}

impl Answer {
    pub fn new(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: Vec::new(), cut: None, hang: false }
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Answer {
        self.body = body.into();
        self
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Answer {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

pub struct FakeRegistry {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl FakeRegistry {
    /// Answers each request by `handler`, which gets the requests so far, the last one being new.
    pub fn start(handler: impl Fn(&str, &[Request]) -> Answer + Send + Sync + 'static) -> FakeRegistry {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("bound").to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (handler, seen, own) = (Arc::new(handler), requests.clone(), address.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (handler, seen, own) = (handler.clone(), seen.clone(), own.clone());
                std::thread::spawn(move || serve(stream, &*handler, &seen, &own));
            }
        });
        FakeRegistry { address, requests }
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }

    /// Requests that carried credentials.
    pub fn authorized(&self) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.header("authorization").is_some()).collect()
    }

    pub fn count(&self, method: &str, part: &str) -> usize {
        self.requests().iter().filter(|r| r.method == method && r.target.contains(part)).count()
    }
}

fn serve(
    stream: TcpStream,
    handler: &(dyn Fn(&str, &[Request]) -> Answer + Send + Sync),
    seen: &Mutex<Vec<Request>>,
    own: &str,
) {
    let mut writer = stream.try_clone().expect("clone");
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        let head = request.method == "HEAD";
        let answer = {
            let mut seen = seen.lock().expect("no panic");
            seen.push(request);
            handler(own, &seen)
        };
        let mut text = format!("HTTP/1.1 {} X\r\n", answer.status);
        let sized = answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        if !sized {
            text += &format!("Content-Length: {}\r\n", answer.body.len());
        }
        for (name, value) in &answer.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        let body = if head { &[][..] } else { &answer.body[..answer.cut.unwrap_or(answer.body.len())] };
        if writer.write_all(text.as_bytes()).and_then(|()| writer.write_all(body)).is_err() {
            return;
        }
        if answer.hang {
            // Until the other side gives up.
            let _ = reader.read_to_end(&mut Vec::new());
            return;
        }
        if answer.cut.is_some() {
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut parts = line.split_whitespace();
    let mut request =
        Request { method: parts.next()?.to_owned(), target: parts.next()?.to_owned(), ..Request::default() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    if let Some(length) = request.header("content-length").and_then(|text| text.parse::<usize>().ok()) {
        request.body = vec![0; length];
        reader.read_exact(&mut request.body).ok()?;
    } else if request.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            if size == 0 {
                break;
            }
            request.body.extend_from_slice(&chunk[..size]);
        }
    }
    Some(request)
}
