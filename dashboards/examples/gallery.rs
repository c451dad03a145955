//! Writes pictures and pages of made-up nights, for looking at: `cargo run -p dashboards --example gallery -- OUT_DIR`.

#[path = "../tests/fixture/mod.rs"]
mod fixture;

use std::path::PathBuf;
use std::{env, error::Error, fs};

use dashboards::page;

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::args_os().nth(1).ok_or("usage: gallery OUT_DIR")?);
    fs::create_dir_all(&out)?;
    for count in [0, 1, 8, 40, 200] {
        let (night, curves) = fixture::night(count, 300);
        let pictures = fixture::draw(&night, &curves, &fixture::Rest::of(&night), 8)?;
        for (which, picture) in pictures.iter() {
            let name = which.name();
            fs::write(out.join(format!("{count}-{name}.svg")), &picture.svg)?;
            fs::write(out.join(format!("{count}-{name}.png")), picture.png()?)?;
        }
        fs::write(out.join(format!("{count}-page.html")), page(&night, &pictures))?;
    }
    Ok(())
}
