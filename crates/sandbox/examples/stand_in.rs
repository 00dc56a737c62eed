//! Stands in for the guest in this crate's tests: a static program that takes requests on the socket passed to it.
//!
//! One request per connection, one JSON line each way. It does what a test asks for, as the user that the test names.

#![expect(
    unsafe_code,
    reason = "takes over descriptor 3, and makes the system calls that a test asks for"
)]
#![allow(
    clippy::print_stdout,
    reason = "its output is what the tests of the guest's log read"
)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpStream, UdpSocket},
    os::{
        fd::{FromRawFd as _, OwnedFd},
        unix::{net::UnixListener, process::CommandExt as _},
    },
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};

fn main() -> std::process::ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("init") => serve(),
        // For the test of set-uid programs: who it runs as.
        Some("whoami") => {
            println!("{}", rustix::process::geteuid().as_raw());
            std::process::ExitCode::SUCCESS
        }
        Some("eat") => eat(),
        Some("greet") => greet(),
        _ => std::process::ExitCode::from(2),
    }
}

fn serve() -> std::process::ExitCode {
    println!("stand-in is up");
    // SAFETY: whoever starts this program passes the listening socket as descriptor 3, and nothing else here uses it.
    let listener = UnixListener::from(unsafe { OwnedFd::from_raw_fd(3) });
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else {
            return std::process::ExitCode::from(4);
        };
        std::thread::spawn(move || {
            let mut line = String::new();
            if BufReader::new(&stream).read_line(&mut line).is_err() || line.is_empty() {
                return;
            }
            let answer = match serde_json::from_str(&line) {
                Ok(request) => handle(&request),
                Err(error) => json!({ "error": error.to_string() }),
            };
            let _ = writeln!(stream, "{answer}");
        });
    }
    std::process::ExitCode::SUCCESS
}

fn handle(request: &Value) -> Value {
    if let Some(command) = request["run"].as_array() {
        return run(command, request["uid"].as_u64().unwrap_or(0));
    }
    if let Some(number) = request["syscall"].as_i64() {
        return system_call(number, &request["args"]);
    }
    if let Some(address) = request["connect"].as_str() {
        return connect(address);
    }
    if let Some(server) = request["resolve"].as_str() {
        let limit = Duration::from_secs(request["limit"].as_u64().unwrap_or(20));
        return resolve(server, request["tcp"].as_bool().unwrap_or(false), limit);
    }
    if let Some(line) = request["print"].as_str() {
        println!("{line}");
        return json!({});
    }
    if let Some(code) = request["exit"].as_i64() {
        // SAFETY: ends this process at once, which is what the test wants.
        unsafe { libc::_exit(i32::try_from(code).unwrap_or(1)) };
    }
    if request["eat"].is_boolean() {
        eat();
    }
    json!({ "error": "unknown request" })
}

fn run(command: &[Value], uid: u64) -> Value {
    let words: Vec<&str> = command.iter().filter_map(Value::as_str).collect();
    let id = u32::try_from(uid).unwrap_or(u32::MAX);
    match Command::new(words[0])
        .args(&words[1..])
        .uid(id)
        .gid(id)
        .env("HOME", "/")
        .output()
    {
        Ok(output) => json!({
            "code": output.status.code(),
            "stdout": String::from_utf8_lossy(&output.stdout),
            "stderr": String::from_utf8_lossy(&output.stderr),
        }),
        Err(error) => json!({ "error": error.to_string(), "errno": error.raw_os_error() }),
    }
}

/// Makes a system call with small numbers as arguments and says what it returned.
fn system_call(number: i64, args: &Value) -> Value {
    let arg = |index: usize| args[index].as_i64().unwrap_or(0);
    // SAFETY: the tests choose calls that a filter refuses, or whose arguments are numbers and null pointers, which the
    // kernel answers with an error where it would follow them.
    let result = unsafe { libc::syscall(number, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)) };
    match result {
        -1 => json!({ "errno": std::io::Error::last_os_error().raw_os_error() }),
        result => json!({ "result": result }),
    }
}

fn connect(address: &str) -> Value {
    let Ok(address) = address.parse() else {
        return json!({ "error": "no address" });
    };
    match TcpStream::connect_timeout(&address, Duration::from_secs(20)) {
        Ok(stream) => {
            let mut line = String::new();
            let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
            let _ = BufReader::new(stream).read_line(&mut line);
            json!({ "line": line })
        }
        Err(error) => json!({ "errno": error.raw_os_error(), "kind": format!("{:?}", error.kind()) }),
    }
}

/// Sends a query to a server and says what came back.
fn resolve(server: &str, tcp: bool, limit: Duration) -> Value {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend(b"\x07example\x04test\0\0\x01\0\x01");
    let asked = || -> std::io::Result<Vec<u8>> {
        let limit = Some(limit);
        let mut buffer = [0; 4096];
        if tcp {
            use std::io::Read as _;
            let mut stream = TcpStream::connect(server)?;
            stream.set_read_timeout(limit)?;
            stream.write_all(&[0, u8::try_from(query.len()).unwrap_or(0)])?;
            stream.write_all(&query)?;
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let length = usize::from(u16::from_be_bytes(length)).min(buffer.len());
            stream.read_exact(&mut buffer[..length])?;
            return Ok(buffer[..length].to_vec());
        }
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(limit)?;
        socket.connect(server)?;
        socket.send(&query)?;
        let length = socket.recv(&mut buffer)?;
        Ok(buffer[..length].to_vec())
    };
    match asked() {
        Ok(answer) => json!({ "answer": answer }),
        Err(error) => json!({ "errno": error.raw_os_error() }),
    }
}

/// Tells everybody who connects to port 7777 which address they come from.
fn greet() -> std::process::ExitCode {
    let Ok(listener) = std::net::TcpListener::bind("0.0.0.0:7777") else {
        return std::process::ExitCode::from(4);
    };
    println!("greeting");
    while let Ok((mut stream, caller)) = listener.accept() {
        let _ = writeln!(stream, "{}", caller.ip());
    }
    std::process::ExitCode::SUCCESS
}

/// Uses memory until there is none.
fn eat() -> std::process::ExitCode {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(vec![1; 8 << 20]);
        std::hint::black_box(&eaten);
    }
}
