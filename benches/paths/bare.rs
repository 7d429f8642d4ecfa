//! The ceiling of everything that needs no database: actix-web with one route and nothing around it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Result;
use serde::Serialize;

/// Serves one short document as JSON at this path on a thread of its own, until the process ends.
pub fn serve(path: &'static str, document: impl Serialize + Copy + Send + 'static) -> Result<SocketAddr> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = socket.local_addr()?;
    std::thread::spawn(move || {
        let answer = move || async move { HttpResponse::Ok().json(document) };
        let app = move || App::new().route(path, web::get().to(answer));
        let server = HttpServer::new(app).listen(socket).expect("a socket that listens");
        actix_web::rt::System::new().block_on(server.disable_signals().run())
    });
    Ok(address)
}
