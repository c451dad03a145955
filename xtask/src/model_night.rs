//! `cargo xtask model-server` and `cargo xtask model-night`: a real model server, asked first by the client alone, then by a night.
//!
//! The model is far too small to write an answer that is one. So the night shows what must come of nonsense: every call is counted, nothing
//! of it is run that did not parse, apply and pass the policy, and the night ends as any other.

use crate::model_server::{MODEL, Server};
use crate::steps;

/// Asks the server by the client that nights use.
pub fn server() -> Result<(), String> {
    let server = Server::start()?;
    ask(&server)
}

fn ask(server: &Server) -> Result<(), String> {
    let test = ["test", "--quiet", "--locked", "--package", "nocturne", "--test", "model_server"];
    steps::run(
        "Ask the model server",
        steps::cargo()?
            .args(test)
            .args(["--", "--ignored", "--nocapture", "--test-threads", "1"])
            .env("NOCTURNE_MODEL_SERVER", server.endpoint())
            .env("NOCTURNE_MODEL", MODEL),
    )
}
