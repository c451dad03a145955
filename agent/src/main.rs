//! The `nocturne` command.

fn main() {}
