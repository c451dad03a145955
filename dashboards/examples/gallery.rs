//! Writes pictures and pages of made-up nights, for looking at: `cargo run -p dashboards --example gallery -- OUT_DIR`.

#[path = "../tests/fixture/mod.rs"]
mod fixture;

use std::path::PathBuf;
use std::{env, error::Error, fs};

use dashboards::{CurveAxis, NightPictures, Picture, experiment, losses, page, progress};

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::args_os().nth(1).ok_or("usage: gallery OUT_DIR")?);
    fs::create_dir_all(&out)?;
    for count in [0, 8, 40, 200] {
        let (night, curves) = fixture::night(count, 300);
        let mut pictures = NightPictures {
            progress: Some(progress(&night)?),
            loss_tokens: Some(losses(&night, &curves, CurveAxis::Tokens)?),
            loss_time: Some(losses(&night, &curves, CurveAxis::Time)?),
            ..NightPictures::default()
        };
        for view in night.experiments.iter().filter(|e| e.number <= 8) {
            let find = |number| curves.iter().find(|c| c.experiment == number);
            if let Some(curve) = find(view.number) {
                let picture = experiment(&night, view, curve, find(view.champion_number), CurveAxis::Time)?;
                pictures.experiments.insert(view.number, picture);
            }
        }
        let write = |name: &str, picture: &Option<Picture>| -> Result<(), Box<dyn Error>> {
            if let Some(picture) = picture {
                fs::write(out.join(format!("{count}-{name}.svg")), &picture.svg)?;
                fs::write(out.join(format!("{count}-{name}.png")), &picture.png)?;
            }
            Ok(())
        };
        write("progress", &pictures.progress)?;
        write("loss-tokens", &pictures.loss_tokens)?;
        write("loss-time", &pictures.loss_time)?;
        for (number, picture) in &pictures.experiments {
            write(&format!("experiment-{number}"), &Some(picture.clone()))?;
        }
        fs::write(out.join(format!("{count}-page.html")), page(&night, &pictures))?;
    }
    Ok(())
}
