//! `nocturne serve`.

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::output::outln;
use super::{Fault, ServeArgs, here};
use crate::layout::Layout;
use crate::repo::Repo;
use crate::serve::{ServeError, Server};

/// Sets the token that whoever opens the pages has to show.
const TOKEN: &str = "NOCTURNE_SERVE_TOKEN";

pub(super) async fn serve(args: ServeArgs) -> Result<(), Fault> {
    let layout = Layout::new(Repo::discover(&here()?).map_err(Fault::usage)?.root());
    let given = match std::env::var(TOKEN) {
        Ok(token) => Some(token),
        Err(std::env::VarError::NotPresent) => None,
        Err(std::env::VarError::NotUnicode(_)) => return Err(fault(ServeError::BadToken)),
    };
    let own = given.is_some();
    let server = Server::bind(layout, args.listen, given).await.map_err(fault)?;
    let listen = |kind| signal(kind).map_err(|error| Fault::environment(format!("cannot listen for signals: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    // The person knows a token of their own, and it need not stand in the terminal's history.
    let drawn = server.token().filter(|_| !own).map(str::to_owned);
    let url = match &drawn {
        Some(token) => format!("{}?token={token}", server.url()),
        None => server.url(),
    };
    if args.json {
        let token_needed = server.token().is_some();
        let listens = server.address();
        outln!("{}", json!({ "url": url, "listen": listens, "token_needed": token_needed, "token": drawn }))?;
    } else {
        outln!("{url}")?;
        if own {
            outln!("open it with ?token= and what {TOKEN} says")?;
        }
        outln!("Ctrl-C ends it; a night that runs goes on")?;
    }
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    server.run(stop).await.map_err(fault)
}

fn fault(error: ServeError) -> Fault {
    match error {
        ServeError::Taken(address) => Fault::environment(ServeError::Taken(address))
            .with_help(format!("take another: nocturne serve --listen {}:0 picks a free one", shown(address))),
        ServeError::BadToken => Fault::usage(ServeError::BadToken).with_help(
            "for example: NOCTURNE_SERVE_TOKEN=$(openssl rand -hex 32); without it one is made where it is needed",
        ),
        other => Fault::environment(other),
    }
}

/// The address as it stands in a URL.
fn shown(address: std::net::SocketAddr) -> String {
    match address {
        std::net::SocketAddr::V4(address) => address.ip().to_string(),
        std::net::SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}
