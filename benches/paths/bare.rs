//! The ceiling of everything that needs no database: actix-web with one route and nothing around it, in a process of its own as the server
//! is in one.

use std::{
    io::{BufRead, BufReader, Read, stdin},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Result;
use serde::Serialize;

/// What is asked.
pub const PATH: &str = "/api/v1/auth/session";
/// What is answered.
pub const NOBODY: &[u8] = br#"{"user":null}"#;

#[derive(Clone, Copy, Serialize)]
struct Nobody {
    user: Option<()>,
}

/// The ceiling, until it is dropped.
pub struct Bare {
    process: Child,
    pub address: SocketAddr,
}

impl Bare {
    pub fn start() -> Result<Bare> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("--bare")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let said = process.stdout.as_mut().expect("piped");
        BufReader::new(said).read_line(&mut line)?;
        Ok(Bare {
            process,
            address: line.trim().parse()?,
        })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves one short document as JSON, says where, and ends with standard input.
pub fn serve() -> Result<()> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", socket.local_addr()?);
    std::thread::spawn(|| {
        let _ = stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let answer = || async { HttpResponse::Ok().json(Nobody { user: None }) };
    let app = move || App::new().route(PATH, web::get().to(answer));
    let server = HttpServer::new(app).listen(socket)?;
    Ok(actix_web::rt::System::new().block_on(server.disable_signals().run())?)
}
